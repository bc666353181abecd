/** @file A real browser for tests of the page: that of CHROMIUM_PATH, or a chromium that is installed. */

import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";

const ON_PATH = (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, "chromium"));

/** Its executable; undefined where there is none. */
export const BROWSER_PATH = [process.env.CHROMIUM_PATH, "/usr/bin/chromium", ...ON_PATH].find(
  (path) => path !== undefined && isExecutable(path),
);

/** What a skipped test says. */
export const WITHOUT_BROWSER = BROWSER_PATH ? "" : " (skipped: no chromium; set CHROMIUM_PATH)";

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export function launchBrowser(): Promise<Browser> {
  // The sandbox needs rights that containers do not give.
  return chromium.launch({ ...(BROWSER_PATH && { executablePath: BROWSER_PATH }), args: ["--no-sandbox"] });
}

/** An opened report, and what it did that it should not have done. */
export interface OpenedReport {
  readonly page: Page;
  /** Errors, warnings and broken policies on the console. */
  readonly complaints: readonly string[];
  /** Every address that was asked for. */
  readonly requests: readonly string[];
}

/** Opens a page from disk and waits until all of it is there. */
export async function openReport(
  browser: Browser,
  file: string,
  { hash = "", dark = false }: { readonly hash?: string; readonly dark?: boolean } = {},
): Promise<OpenedReport> {
  const page = await browser.newPage({ colorScheme: dark ? "dark" : "light" });
  const complaints: string[] = [];
  const requests: string[] = [];
  page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => requests.push(request.url()));
  await page.goto(pathToFileURL(file).href + hash);
  await page.waitForSelector('html[data-ready="all"]', { state: "attached" });
  return { page, complaints, requests };
}

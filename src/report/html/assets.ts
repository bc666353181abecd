/**
 * @file The scripts and styles that are put into a page: the libraries as they are published, and the page's own, which
 * lie beside this file both as source and as built.
 */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { scriptCode } from "./markup.js";

const require = createRequire(import.meta.url);

/** In the order in which they are run. */
const LIBRARIES = ["echarts/dist/echarts.min.js", "tabulator-tables/dist/js/tabulator.min.js"];

/** The page's own modules, each after those that it imports. */
const MODULES = [
  "data.js",
  "numbers.js",
  "theme.js",
  "table.js",
  "ranked-list.js",
  "sheets.js",
  "charts.js",
  "main.js",
];

const STYLES = [require.resolve("tabulator-tables/dist/css/tabulator.min.css"), pageFile("page.css")];

export interface PageAssets {
  readonly scripts: readonly string[];
  readonly style: string;
}

export async function readAssets(): Promise<PageAssets> {
  const libraries = LIBRARIES.map((name) => readFile(require.resolve(name), "utf8"));
  const modules = MODULES.map((name) => readFile(pageFile(name), "utf8"));
  const styles = STYLES.map((file) => readFile(file, "utf8"));
  return {
    scripts: [...(await Promise.all(libraries)), joined(await Promise.all(modules))].map(scriptCode),
    style: (await Promise.all(styles)).join("\n").replace(/\/\*# sourceMappingURL=.*?\*\//g, ""),
  };
}

function pageFile(name: string): URL {
  return new URL(`./page/${name}`, import.meta.url);
}

/** One script of modules that share no name: a page that is opened from disk cannot import from a file beside it. */
function joined(modules: readonly string[]): string {
  const bodies = modules.map((text) =>
    text.replace(/^import [^;]*;\n/gm, "").replace(/^export (?=(async )?function |const |class )/gm, ""),
  );
  return `"use strict";\n{\n${bodies.join("\n")}\n}\n`;
}

/** What a Content-Security-Policy lets through: exactly this text. */
export function cspHash(text: string): string {
  return `'sha256-${createHash("sha256").update(text, "utf8").digest("base64")}'`;
}

/** The page in a real browser: what it shows, that it asks for nothing, and that data cannot become code. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseString } from "fast-csv";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeReport } from "../../../src/report/html/write-report.js";
import { BROWSER_PATH, launchBrowser, type OpenedReport, openReport, WITHOUT_BROWSER } from "./browser.js";
import { FIGURE_IDS, METRICS_CSV, rankedList, writeResults } from "./results.js";

const rows = rankedList();

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "atpkit-page-"));
  await writeResults(folder, rows);
  ({ page: file } = await writeReport(folder));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Numbers with a minus that is one, and thousands apart. */
const numberIn = (text: string) => Number(text.replaceAll("−", "-").replaceAll(",", "").replace(" %", ""));

async function csvRows(text: string): Promise<Record<string, string>[]> {
  const records: Record<string, string>[] = [];
  for await (const record of parseString(text, { headers: true })) records.push(record);
  return records;
}

/** Texts and titles of a column's cells in sight. */
function column(page: Page, field: string, table = "#ranked-table") {
  return page.$$eval(`${table} .tabulator-row .tabulator-cell[tabulator-field="${field}"]`, (cells) =>
    cells.map((cell) => ({
      text: cell.textContent ?? "",
      title: cell.querySelector("[title]")?.getAttribute("title") ?? "",
    })),
  );
}

/** Waits until the page has been drawn so many times. */
function framesOf(page: Page, count: number) {
  return page.evaluate(
    `(async () => { for (let n = 0; n < ${count}; n++) await new Promise(requestAnimationFrame); })()`,
  );
}

describe.skipIf(!BROWSER_PATH)(`the page in a browser${WITHOUT_BROWSER}`, () => {
  let browser: Browser;
  let opened: OpenedReport;
  let page: Page;
  beforeAll(async () => {
    browser = await launchBrowser();
    opened = await openReport(browser, file);
    page = opened.page;
  });
  afterAll(() => browser?.close());

  it("asks for nothing but itself, complains of nothing, and runs nothing that came with data", async () => {
    expect(opened.requests).toEqual([pathToFileURL(file).href]);
    expect(opened.complaints).toEqual([]);
    expect(await page.evaluate("window.broken")).toBeUndefined();
    expect(await page.$$eval("main b", (all) => all.map(({ textContent }) => textContent))).not.toContain(
      "model",
    );
    expect(await page.textContent("h1")).toBe("logit-diff of <b>model</b>");
  });

  it("refuses a request and a script that someone puts into it", async () => {
    const { page: attacked, complaints } = await openReport(browser, file);
    const refused = await attacked.evaluate(`(async () => {
      const script = document.createElement("script");
      script.textContent = "window.broken = 5";
      document.body.append(script);
      try {
        await fetch("https://example.org/");
        return false;
      } catch {
        return window.broken === undefined;
      }
    })()`);
    expect(refused).toBe(true);
    expect(complaints.join("\n")).toMatch(/Content Security Policy/);
    await attacked.close();
  });

  it("shows the numbers of the CSV, all their digits where they are pointed at", async () => {
    const nodes = (await column(page, "node")).map(({ text }) => text);
    expect(nodes.length).toBeGreaterThan(15);
    expect(nodes).toEqual(rows.slice(0, nodes.length).map(({ node }) => node));
    for (const [field, read] of [
      ["contribution", (row: (typeof rows)[number]) => row.contribution],
      ["effect", (row: (typeof rows)[number]) => row.effectMean],
      ["estimate", (row: (typeof rows)[number]) => row.estimateMean],
    ] as const) {
      const cells = await column(page, field);
      const csv = await csvRows(await readFile(join(folder, "ranked.csv"), "utf8"));
      const name = { contribution: "contribution", effect: "effect_mean", estimate: "estimate_mean" }[field];
      cells.forEach(({ text, title }, place) => {
        expect(title).toBe(csv[place][name]);
        const value = read(rows[place]);
        if (value === undefined) expect(text).toBe("");
        else expect(Math.abs(numberIn(text) - value)).toBeLessThanOrEqual(0.0005 * Math.abs(value));
      });
    }
    const signs = (await column(page, "estimate")).map(({ text }) => text[0]);
    expect(new Set(signs)).toEqual(new Set(["+", "−"]));
  });

  it("shows hostile tokens as text, with what cannot be seen escaped", async () => {
    const tokens = new Set((await column(page, "token")).map(({ text }) => text));
    for (const token of tokens) expect(token).toMatch(/^("[^\n\u2028\u202e]*")?$/);
    const { page: filtered } = await openReport(browser, file);
    const seen = new Set<string>();
    for (const position of ["0", "4"]) {
      await filtered.selectOption("#filter-position", { label: position });
      for (const { text } of await column(filtered, "token")) seen.add(text);
    }
    await filtered.close();
    expect([...seen].sort()).toEqual(
      ['"</script><script>window.broken = 1</script>"', '"שלום \\u202eabc"'].sort(),
    );
  });

  it("sorts by any column from the keyboard; what was not computed comes last either way", async () => {
    const { page: sorted } = await openReport(browser, file);
    const heading = sorted.locator('#ranked-table [tabulator-field="effect"] button');
    await heading.focus();
    await sorted.keyboard.press("Enter");
    const effects = rows.flatMap(({ effectMean }) => (effectMean === undefined ? [] : [effectMean]));
    const down = (await column(sorted, "effect")).map(({ title }) => title);
    expect(down.slice(0, effects.length).map(Number)).toEqual(
      [...effects].sort((a, b) => b - a).map((effect) => Number(csvText(effect))),
    );
    expect(down.slice(effects.length).every((text) => text === "")).toBe(true);
    await sorted.keyboard.press("Enter");
    const up = (await column(sorted, "effect")).map(({ title }) => title);
    expect(up.slice(0, effects.length).map(Number)).toEqual(
      [...effects].sort((a, b) => a - b).map((effect) => Number(csvText(effect))),
    );
    await sorted.close();
  });

  it("filters by site, layer, position, text, verified and flags", async () => {
    const { page: filtered } = await openReport(browser, file);
    const count = async () => Number((await filtered.textContent("#list-count"))?.split(" ")[0]);
    const expected = (keep: (row: (typeof rows)[number]) => boolean) => rows.filter(keep).length;
    expect(await count()).toBe(rows.length);
    await filtered.selectOption("#filter-site", { label: "z" });
    expect(await count()).toBe(expected(({ site }) => site === "z"));
    await filtered.selectOption("#filter-layer", "1");
    expect(await count()).toBe(expected(({ site, layer }) => site === "z" && layer === 1));
    await filtered.selectOption("#filter-position", { label: "3" });
    expect(await count()).toBe(2);
    await filtered.click("#filter-none");
    await filtered.fill("#filter-node", "neuron[3]");
    expect(await count()).toBe(expected(({ node }) => node.includes("neuron[3]")));
    await filtered.click("#filter-none");
    await filtered.check("#filter-verified");
    expect(await count()).toBe(12);
    await filtered.click("#filter-none");
    await filtered.check("#filter-flagged");
    // Saturated are the q nodes, whose gap is their estimate; paths cancel where the ratio is infinite.
    expect(await count()).toBe(
      expected(
        ({ site, cancellationRatio }) => site === "q" || cancellationRatio === Number.POSITIVE_INFINITY,
      ),
    );
    await filtered.close();
  });

  it("leads from a row to its cell and back, with the keyboard", async () => {
    const { page: linked } = await openReport(browser, file);
    await linked.fill("#filter-node", "L1.z[1]@3");
    await linked.locator("#ranked-table a", { hasText: "L1.z[1]@3" }).first().focus();
    // The table has come into sight with the focus, which must not draw it anew.
    await framesOf(linked, 10);
    await linked.keyboard.press("Enter");
    await expect
      .poll(() => linked.evaluate('document.activeElement.contains(document.getElementById("figure-z"))'))
      .toBe(true);
    expect(await linked.locator("select.heads-position option:checked").textContent()).toBe("3");
    const row = rows.find(({ node }) => node === "L1.z[1]@3");
    const tip = await linked.locator("#figure-z").textContent();
    expect(tip).toContain("L1.z[1]@3");
    expect(tip).toContain(`rank ${row?.rank}`);
    await linked.evaluate('location.hash = "#row-L1.z[1]@3"');
    const found = linked.locator("#ranked-table .found");
    await found.waitFor();
    await framesOf(linked, 10);
    expect(await found.locator('[tabulator-field="node"]').textContent()).toBe("L1.z[1]@3");
    expect(await linked.evaluate("document.activeElement.textContent")).toBe("L1.z[1]@3");
    await linked.close();
  });

  it("keeps its place when it leaves the sight or the window changes its width", async () => {
    const { page: kept } = await openReport(browser, file, { hash: "#row-L1.z[1]@3" });
    const found = kept.locator("#ranked-table .found");
    await found.waitFor();
    for (const place of ["document.body.scrollHeight", "0"]) {
      await kept.evaluate(`scrollTo(0, ${place})`);
      await framesOf(kept, 10);
      expect(await found.count()).toBe(1);
    }
    const widths = () => kept.$eval("#ranked-table .tabulator-header", ({ clientWidth }) => clientWidth);
    const before = await widths();
    await kept.setViewportSize({ width: 700, height: 720 });
    await framesOf(kept, 10);
    expect(await widths()).toBeLessThan(before);
    expect(await found.count()).toBe(1);
    await kept.close();
  });

  it("draws every figure, in the dark and for paper too", async () => {
    for (const dark of [false, true]) {
      const { page: shown, complaints } = await openReport(browser, file, { dark });
      for (const id of FIGURE_IDS)
        expect(await shown.locator(`#figure-${id} svg path`).count()).toBeGreaterThan(5);
      for (const value of ["own", "root"]) await shown.selectOption("select.scale >> nth=0", value);
      await shown.emulateMedia({ media: "print" });
      expect(await shown.locator("table.static").isVisible()).toBe(true);
      expect(await shown.locator("#ranked-table").isVisible()).toBe(false);
      const pdf = await shown.pdf({ format: "A4" });
      expect(pdf.subarray(0, 5).toString()).toBe("%PDF-");
      expect(complaints).toEqual([]);
      await shown.close();
    }
  });

  it("exports all metrics as they are in metrics.csv", async () => {
    const downloading = page.waitForEvent("download");
    await page.click("#metrics-csv");
    const download = await downloading;
    const path = join(folder, "downloaded.csv");
    await download.saveAs(path);
    const numbers = (records: Record<string, string>[]) =>
      records.map((record) =>
        Object.entries(record).map(([name, cell]) => [
          name,
          cell !== "" && !Number.isNaN(Number(cell)) ? Number(cell) : cell,
        ]),
      );
    expect(numbers(await csvRows(await readFile(path, "utf8")))).toEqual(numbers(await csvRows(METRICS_CSV)));
  });

  it("has the same content without scripts as far as it can", async () => {
    const context = await browser.newContext({ javaScriptEnabled: false });
    const plain = await context.newPage();
    await plain.goto(pathToFileURL(file).href);
    expect(await plain.locator("table.static tbody tr").count()).toBe(40);
    expect(await plain.locator("table.static tbody tr:first-child td:nth-child(2)").textContent()).toBe(
      rows[0].node,
    );
    await context.close();
  });
});

/** A float32 as the CSV has it. */
function csvText(value: number): string {
  for (let digits = 6; ; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === Math.fround(value)) return text;
  }
}

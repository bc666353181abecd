/**
 * @file What a report costs: size and seconds to write it, and seconds until its ranked list can be used and until all of it
 * is drawn, in chromium (CHROMIUM_PATH, or one that is installed).
 *
 *   npx tsx bench/report-cost.ts [folder of results …]
 *
 * Without folders: lists of 1,000 and of 100,000 made-up rows.
 */

import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { formatNodeId } from "../src/nodes/node-id.js";
import type { RankedNode } from "../src/nodes/ranking.js";
import { writeReport } from "../src/report/html/write-report.js";
import { writeRankedCsv } from "../src/report/ranked-csv.js";

const REPEATS = 3;
const SIZES = [1_000, 100_000];

const LAYERS = 12;
const POSITIONS = 16;

/** Neurons and heads of a model of twelve layers, estimates only but for the first hundred. */
function* madeUpRows(count: number): Generator<RankedNode> {
  for (let place = 0; place < count; place++) {
    const isHead = place % 20 === 0;
    const node = {
      site: isHead ? ("z" as const) : ("neuron" as const),
      layer: place % LAYERS,
      index: isHead ? Math.floor(place / 240) % 12 : Math.floor(place / (LAYERS * POSITIONS)),
      position: Math.floor(place / LAYERS) % POSITIONS,
    };
    const estimate = Math.fround((place % 3 === 0 ? 1 : -1) * 10 * 0.9999 ** place);
    const contribution = Math.abs(estimate);
    const verified = place < 100;
    yield {
      rank: place + 1,
      node: formatNodeId(node),
      ...node,
      contribution,
      estimateContribution: contribution,
      estimateMean: estimate,
      estimateSe: Math.fround(contribution / 7),
      ...(verified && { effectContribution: contribution, effectMean: estimate, effectSe: 0.25 }),
      recovered: Math.fround(estimate / -11.3),
      verified,
      pairs: 64,
      saturationGap: 0,
      cancellationRatio: Math.fround(1 + 1 / (place + 3)),
    };
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

async function measure(name: string, folder: string): Promise<void> {
  const writing: number[] = [];
  let page = "";
  for (let run = 0; run < REPEATS; run++) {
    const start = performance.now();
    ({ page } = await writeReport(folder));
    writing.push(performance.now() - start);
  }
  const { size } = await stat(page);
  const usable: number[] = [];
  const drawn: number[] = [];
  const { CHROMIUM_PATH: executablePath = "/usr/bin/chromium" } = process.env;
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  try {
    for (let run = 0; run < REPEATS; run++) {
      const opened = await browser.newPage();
      const start = performance.now();
      await opened.goto(pathToFileURL(page).href, { waitUntil: "commit" });
      await opened.waitForSelector("html[data-ready]", { state: "attached" });
      usable.push(performance.now() - start);
      await opened.waitForSelector('html[data-ready="all"]', { state: "attached" });
      drawn.push(performance.now() - start);
      await opened.close();
    }
  } finally {
    await browser.close();
  }
  const seconds = (values: readonly number[]) => `${(median(values) / 1000).toFixed(2)} s`;
  console.log(
    `${name}: ${(size / 1e6).toFixed(2)} MB, written in ${seconds(writing)}, list usable after ${seconds(usable)}, all drawn after ${seconds(drawn)}`,
  );
}

const folders = process.argv.slice(2);
for (const folder of folders) await measure(folder, folder);
for (const rows of folders.length > 0 ? [] : SIZES) {
  const folder = await mkdtemp(join(tmpdir(), "atpkit-report-cost-"));
  try {
    await writeRankedCsv(join(folder, "ranked.csv"), madeUpRows(rows));
    await measure(`${rows.toLocaleString("en-US")} rows`, folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

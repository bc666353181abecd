/**
 * @file The truth that methods are measured by: exact contributions of every node at each position, noising.
 *
 * The effects of every pair are kept in atp-out/truth, a row per pair and site. So studies share what they have in common:
 * those of a single pair and of means over several, those of one site and of many.
 */

import { readFileSync } from "node:fs";
import { sweepNodes } from "../src/exact/sweep/sweep.js";
import type { Model } from "../src/model/model.js";
import { type Site, siteSize } from "../src/model/sites.js";
import { makeNodeSpace, type NodeSpace } from "../src/nodes/node-space.js";
import { positionLabels } from "../src/nodes/positions.js";
import { addScore, contribution, makeScoreTable } from "../src/nodes/score-table.js";
import type { OutputMetric } from "../src/prompts/metrics/metric.js";
import type { Pair } from "../src/prompts/pair.js";
import { digestOf, filesIn, keptRows } from "./kept-numbers.js";

/** Ignored by git. */
const TRUTH_FOLDER = "atp-out/truth";

/** The parts of the program that exact effects come from. */
const SOURCES = ["checkpoint", "engine", "exact", "model", "nodes", "prompts"].map((part) => `src/${part}`);

/** Patched prompts at once; larger batches are no faster. */
export const BATCH = 512;

/** Effects up to here are rounding: the metrics are float32 numbers of up to 32, 2e-6 apart there. */
export const NOISE = 1e-5;

/** What effects depend on beside pair, metric and node: what kept ones are told apart by. */
export interface TruthOrigin {
  readonly model: Model;
  /** Of model, engine and program, see `digestOfOrigin`. */
  readonly digest: string;
  /** Default: atp-out/truth. */
  readonly folder?: string;
}

/**
 * @param modelFiles a checkpoint's folder or file
 * @param backend of the engine
 */
export function digestOfOrigin(modelFiles: string, backend: string): string {
  return digestOf([
    backend,
    ...[modelFiles, ...SOURCES].flatMap(filesIn),
    readFileSync(new URL("./exact-contributions.ts", import.meta.url)),
  ]);
}

/**
 * Mean over the pairs that have it of the absolute exact effect, for every node of a space.
 * @param space nodes at each position: its labels are 0, 1, 2, …
 */
export async function exactContributions(
  origin: TruthOrigin,
  pairs: readonly Pair[],
  space: NodeSpace,
  metric: OutputMetric,
): Promise<Float64Array> {
  const scores = makeScoreTable(space.size);
  const sites = [...new Set(space.groups.map(({ site }) => site))];
  for (const site of sites) {
    const rows = await effectsOf(origin, pairs, site, metric);
    for (const { site: own, layer, indices, offset } of space.groups) {
      if (own !== site) continue;
      rows.forEach((row, at) => {
        // [layers, T, indices] there, [layers, positions of the longest pair, indices] here.
        const count = pairs[at].clean.length * indices;
        for (let i = 0; i < count; i++) addScore(scores, offset + i, row[layer * count + i]);
      });
    }
  }
  return Float64Array.from({ length: space.size }, (_, node) => contribution(scores, node));
}

/** Effects of all nodes of a site, for every pair: [layers, T, indices] flattened. */
async function effectsOf(
  { model, digest, folder = TRUTH_FOLDER }: TruthOrigin,
  pairs: readonly Pair[],
  site: Site,
  metric: OutputMetric,
): Promise<Float64Array[]> {
  const { layers } = model.config;
  const indices = siteSize(model.config, site);
  const rows = pairs.map((pair) => {
    const { clean, corrupted, answers, wrong, metricPosition } = pair;
    const numbers = { clean, corrupted, answers, wrong, metricPosition };
    return {
      size: layers * clean.length * indices,
      dependencies: [digest, JSON.stringify({ ...numbers, site, metric: metric.name })],
    };
  });
  return await keptRows(folder, rows, async (missing) => {
    const some = missing.map((place) => pairs[place]);
    const space = makeNodeSpace(model.config, [site], positionLabels("each", some));
    const nodes = Uint32Array.from({ length: space.size }, (_, node) => node);
    const control = { metrics: [metric], direction: "noising", batchSize: BATCH } as const;
    const { metrics } = await sweepNodes(model, some, space, nodes, control);
    const [{ patched, base }] = metrics;
    return some.map(({ clean: { length: T } }, pair) => {
      const effects = new Float64Array(layers * T * indices);
      space.groups.forEach(({ offset }, layer) => {
        for (let i = 0; i < T * indices; i++) {
          effects[layer * T * indices + i] = patched[pair * space.size + offset + i] - base[pair];
        }
      });
      return effects;
    });
  });
}

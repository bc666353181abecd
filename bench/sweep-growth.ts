/** @file How the time of a sweep of z nodes grows with the layers, the positions and the nodes, and the work with it. */

import Table from "cli-table3";
import type { Model } from "../src/model/model.js";
import { madeUpPairs } from "./made-up-pairs.js";
import { systematicSample } from "./systematic-sample.js";
import { nodesOfSite, type TimedSweep, timedSweep } from "./timed-sweep.js";
import { median, spread } from "./timing.js";

/** The smallest sweeps take a fraction of a second. */
const REPEATS = 3;

/** A sweep of every `every`-th z node in the first layers of a model. */
export interface SweepSize {
  readonly layers: number;
  readonly positions: number;
  readonly every: number;
}

/** Sizes that differ in one respect. */
export interface GrowthTable {
  /** In which. */
  readonly title: string;
  readonly sizes: readonly SweepSize[];
}

/** Three tables. What does not vary is small where it can be: time grows with the square of layers and of positions. */
export function growthTables(layers: readonly number[], positions: readonly number[]): GrowthTable[] {
  const fewLayers = Math.min(...layers);
  const mostLayers = Math.max(...layers);
  const fewPositions = Math.min(...positions);
  return [
    { title: "layers", sizes: layers.map((l) => ({ layers: l, positions: fewPositions, every: 1 })) },
    { title: "positions", sizes: positions.map((p) => ({ layers: fewLayers, positions: p, every: 1 })) },
    {
      title: "nodes",
      sizes: [4, 2, 1].map((every) => ({ layers: mostLayers, positions: fewPositions, every })),
    },
  ];
}

/** @returns the table, for people */
export async function measureGrowth(model: Model, { sizes }: GrowthTable): Promise<string> {
  const table = new Table({
    head: ["layers", "positions", "nodes", "runs", "s", "÷ first", "FLOPs ÷ first", "ms per node", "GFLOP/s"],
    style: { head: [], border: [], compact: true },
    colAligns: Array<"right">(9).fill("right"),
  });
  const repeats: TimedSweep[][] = [];
  for (let r = 0; r < REPEATS; r++) {
    const sweeps: TimedSweep[] = [];
    for (const size of sizes) sweeps.push(await sweepOfSize(model, size));
    repeats.push(sweeps);
  }
  const [[first]] = repeats;
  sizes.forEach(({ layers, positions }, s) => {
    const { nodes, runs, flops } = repeats[0][s];
    const seconds = median(repeats.map((sweeps) => sweeps[s].seconds));
    table.push([
      layers,
      positions,
      nodes,
      runs,
      seconds.toFixed(2),
      s === 0 ? "1" : spread(repeats.map((sweeps) => sweeps[s].seconds / sweeps[0].seconds)),
      (flops / first.flops).toFixed(2),
      ((1000 * seconds) / nodes).toFixed(2),
      (flops / seconds / 1e9).toFixed(0),
    ]);
  });
  return table.toString();
}

function sweepOfSize(model: Model, { layers, positions, every }: SweepSize): Promise<TimedSweep> {
  const part = { ...model, config: { ...model.config, layers } };
  const pairs = madeUpPairs(1, positions, model.config.vocabulary);
  const { space, nodes } = nodesOfSite(part, pairs, "z");
  return timedSweep(part, pairs, space, systematicSample(nodes, nodes.length / every));
}

/**
 * @file What a sweep of one site costs beside other ways to the same effects: edited full forward passes of this project,
 * and loops of one PyTorch pass per node. A pass of either costs the same whatever its node, so these are timed on a sample
 * of the nodes, before and after each sweep, and the faster of the two counts: what else the machine does in the meantime
 * must not make a sweep look good.
 */

import type { Model } from "../src/model/model.js";
import type { NodeSpace } from "../src/nodes/node-space.js";
import type { Pair } from "../src/prompts/pair.js";
import { largestError } from "../test/support/errors.js";
import { type EditedPasses, prepareEditedPasses } from "./edited-passes.js";
import { type ProductSize, productGigaflops } from "./large-product.js";
import type { HookLoop, LoopSite } from "./peers/hook-loop.js";
import { systematicSample } from "./systematic-sample.js";
import { DIRECTION, METRIC, nodesOfSite, type TimedSweep, timedSweep } from "./timed-sweep.js";
import { median, timed } from "./timing.js";

/** How much is swept and sampled. */
export interface Amounts {
  /** A systematic sample of neurons, because all of them are a million. */
  readonly neurons: number;
  /** Nodes on which edited passes are timed; a multiple of every number of rows. */
  readonly editedSample: number;
  /** Nodes on which loops are timed. */
  readonly loopSample: number;
  /** Rows of an edited pass that are tried. */
  readonly rows: readonly number[];
  readonly products: readonly ProductSize[];
}

/** One repeat. Times in seconds per node and pair. */
export interface Repeat {
  readonly sweep: TimedSweep;
  readonly sweepNode: number;
  readonly editedNode: number;
  /** One per loop. */
  readonly loopNodes: readonly number[];
  /** Of the fastest large product, in GFLOP/s. */
  readonly product: number;
}

export interface SiteCost {
  readonly site: LoopSite;
  readonly nodes: number;
  readonly repeats: readonly Repeat[];
  /** Largest difference between an effect by the sweep and by an edited pass, as a part of the metric's span, in the sample. */
  readonly difference: number;
}

/** What the ways are timed on. */
export interface Subject {
  readonly model: Model;
  /** Of one length. Sweeps are of all pairs, the others of the first. */
  readonly pairs: readonly Pair[];
  /** They have loaded a model of the same shape, and the first pair. */
  readonly loops: readonly HookLoop[];
}

/** The number of rows with which edited passes are fastest. */
export async function fastestRows({ model, pairs }: Subject, amounts: Amounts): Promise<number> {
  const { space, nodes } = nodesOfSite(model, pairs, "z");
  const passes = await prepare(model, pairs[0], space);
  const sample = systematicSample(nodes, amounts.editedSample);
  const seconds: number[] = [];
  for (const rows of amounts.rows) {
    await passes.patched(sample.subarray(0, rows), rows);
    seconds.push((await timed(() => passes.patched(sample, rows))).clock);
  }
  passes.dispose();
  return amounts.rows[seconds.indexOf(Math.min(...seconds))];
}

/** @param rows of an edited pass */
export async function costOfSite(
  subject: Subject,
  site: LoopSite,
  { amounts, rows, repeats }: { amounts: Amounts; rows: number; repeats: number },
): Promise<SiteCost> {
  const { model, pairs, loops } = subject;
  const { space, nodes: all } = nodesOfSite(model, pairs, site);
  const nodes = site === "neuron" ? systematicSample(all, amounts.neurons) : all;
  const edited = systematicSample(nodes, amounts.editedSample);
  const looped = systematicSample(nodes, amounts.loopSample);
  const passes = await prepare(model, pairs[0], space);
  // Warm-up, and a check that both do the same.
  const byPasses = await passes.patched(edited, rows);
  const bySweep = (await timedSweep(model, pairs, space, edited)).patched;

  const done: Repeat[] = [];
  for (let r = 0; r < repeats; r++) {
    const product = Math.max(...amounts.products.map((size) => productGigaflops(size)));
    const editedNodes: number[] = [];
    const loopNodes: number[][] = loops.map(() => []);
    const timeOthers = async () => {
      editedNodes.push((await timed(() => passes.patched(edited, rows))).clock / edited.length);
      for (const [l, loop] of loops.entries()) {
        loopNodes[l].push(median((await loop.run(site, space, looped)).seconds));
      }
    };
    await timeOthers();
    const sweep = await timedSweep(model, pairs, space, nodes);
    await timeOthers();
    done.push({
      sweep,
      sweepNode: sweep.seconds / (nodes.length * pairs.length),
      editedNode: Math.min(...editedNodes),
      loopNodes: loopNodes.map((seconds) => Math.min(...seconds)),
      product,
    });
  }
  const difference = largestError(bySweep, byPasses) / Math.abs(passes.source - passes.base);
  passes.dispose();
  return { site, nodes: nodes.length, repeats: done, difference };
}

function prepare(model: Model, pair: Pair, space: NodeSpace): Promise<EditedPasses> {
  return prepareEditedPasses(model, pair, space, { metric: METRIC, direction: DIRECTION });
}

/**
 * @file What exact patching will cost at most: patched runs, waves of them, and what is in memory at the worst moment. The
 * rules are those of `exact/sweep/waves.ts` and `exact/plan.ts`; but runs are counted, not made, as there may be a billion.
 */

import {
  bytesOfAttention,
  bytesOfContext,
  bytesOfRun,
  bytesOfStream,
  restingBudget,
} from "../activation-budget.js";
import { PASSED_BY, STARTS_FROM } from "../exact/sweep/recorded.js";
import { RUN_OBJECT_BYTES } from "../exact/sweep/waves.js";
import type { ModelConfig } from "../model/config.js";
import { blockFlops, forwardFlops } from "../model/flops.js";
import { type Site, sitesOf } from "../model/sites.js";
import type { NodeGroup, NodeSpace } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import type { Pair } from "../prompts/pair.js";
import { FLOAT_BYTES, floatsForward, floatsOfSite, floatsOfStream, type Rows } from "./activations.js";

export interface VerifyQuestion {
  readonly config: ModelConfig;
  readonly space: NodeSpace;
  /** How many nodes of the space are patched one by one, whichever they are. */
  readonly nodes: number;
  readonly activationBudgetBytes: number;
}

/** Pairs of one token length that are run together, all draws counted. */
export interface VerifyBatch {
  readonly pairs: readonly Pair[];
  readonly length: number;
}

export interface VerifyCost {
  /** The unpatched runs included. */
  readonly forwardEquivalents: number;
  /** By first layer: how many waves begin there. Beside them the unpatched runs go through all layers once. */
  readonly waves: readonly number[];
  readonly memory: PatchedMemory;
}

/** Bytes of patched runs at the worst moment. */
export interface PatchedMemory {
  /** Values of the unpatched runs that patched ones start from and take over. */
  readonly recorded: number;
  /** Patched runs: those in a block and those that rest. */
  readonly runs: number;
  /** Of these, those that rest. */
  readonly resting: number;
  /** The unpatched runs in a layer; not at the time of patched ones. */
  readonly layer: number;
  /** Runs that may arrive, and are read, together. */
  readonly arriving: number;
}

/** Nodes of one group at one place on the position axis. */
interface Cell {
  readonly group: NodeGroup;
  readonly nodes: number;
  /** Pairs of the batch that have it. */
  readonly pairs: number;
  /** Positions from its first one to where the metric is read, and to the end of the prompt; the most of any pair. */
  readonly seen: number;
  readonly covered: number;
}

/** @returns upper bounds: runs that can have no effect are counted as if they were made */
export function planVerifyBatch(question: VerifyQuestion, batch: VerifyBatch): VerifyCost {
  const { config, space, activationBudgetBytes: budget } = question;
  const { length: T, pairs } = batch;
  const rows = { B: pairs.length, T };
  const cells = mostExpensive(cellsOf(space, pairs), question.nodes, config, T);
  const waves: number[] = Array.from({ length: config.layers }, () => 0);
  let patchedRuns = 0;
  let cost = 2 * rows.B * forwardFlops(config, T);
  let together = 0;
  const most = runBytes(config, T, T, T);
  let left = 0;
  for (const { group, nodes, pairs: having, seen, covered } of byLayer(cells)) {
    const runs = nodes * having;
    patchedRuns += runs;
    cost += runs * (config.layers - group.layer) * blockFlops(config, covered, T);
    together = Math.min(together + runs * runBytes(config, seen, T, T), Math.max(budget, most));
    const needed = runs / runsPerWave(config, seen, T, budget);
    const begun = Math.max(0, Math.ceil(needed - left));
    waves[group.layer] += begun;
    left += begun - needed;
  }
  const rest = Math.min(patchedRuns * restOf(config, T), Math.max(restingBudget(budget), restOf(config, T)));
  return {
    forwardEquivalents: cost / forwardFlops(config, T),
    waves,
    memory: {
      recorded: recordedBytes(question, rows),
      runs: RUN_MARGIN * together + rest + bytesOfContext(config, T, T),
      resting: rest,
      arriving: patchedRuns,
      layer: FLOAT_BYTES * (floatsForward(config, rows) + 2 * floatsOfStream(config, rows)),
    },
  };
}

/** What chunks take beyond what they are counted as: measured up to 1.05 times that, on either engine. */
const RUN_MARGIN = 1.1;

/** What one patched run takes, in a block. */
export function runBytes(config: ModelConfig, tokens: number, asking: number, keys: number): number {
  return bytesOfRun(config, tokens) + bytesOfAttention(config, asking, keys);
}

function restOf(config: ModelConfig, tokens: number): number {
  return bytesOfStream(config, tokens) + RUN_OBJECT_BYTES;
}

/**
 * How many runs of so many tokens a wave has at least: it has one chunk, and ends only before a chunk that would not fit.
 * @param T most tokens of any run
 */
function runsPerWave(config: ModelConfig, tokens: number, T: number, budget: number): number {
  const inChunk = Math.max(1, Math.floor(budget / runBytes(config, T, T, T)));
  const largestChunk = Math.max(restOf(config, T), (budget * restOf(config, 1)) / bytesOfRun(config, 1));
  return Math.max(inChunk, Math.floor((restingBudget(budget) - largestChunk) / restOf(config, tokens)));
}

function cellsOf(space: NodeSpace, pairs: readonly Pair[]): Cell[] {
  const places = space.labels.map((label) => {
    let [having, seen, covered] = [0, 0, 0];
    for (const pair of pairs) {
      const span = spanInPair(label, pair);
      if (!span) continue;
      having++;
      seen = Math.max(seen, pair.metricPosition + 1 - span.first);
      covered = Math.max(covered, pair.clean.length - span.first);
    }
    return { pairs: having, seen, covered };
  });
  return space.groups.flatMap((group) =>
    places
      .filter(({ pairs: having }) => having > 0)
      .map((place) => ({ group, nodes: group.indices, ...place })),
  );
}

/** The cells of so many nodes that cost the most to patch. */
function mostExpensive(cells: readonly Cell[], nodes: number, config: ModelConfig, T: number): Cell[] {
  const costOf = ({ group, pairs, covered }: Cell) =>
    pairs * (config.layers - group.layer) * blockFlops(config, covered, T);
  const chosen: Cell[] = [];
  let left = nodes;
  for (const cell of [...cells].sort((a, b) => costOf(b) - costOf(a))) {
    if (left <= 0) break;
    chosen.push({ ...cell, nodes: Math.min(left, cell.nodes) });
    left -= cell.nodes;
  }
  return chosen;
}

function byLayer(cells: readonly Cell[]): Cell[] {
  return [...cells].sort((a, b) => a.group.layer - b.group.layer);
}

/**
 * Values of the unpatched runs that are kept: of the base run what every patched run takes over and what those of a site start
 * from, of the source run what is patched in. Of nodes that are not known yet, those that take the most.
 */
function recordedBytes({ config, space, nodes }: VerifyQuestion, rows: Rows): number {
  const available = new Set<Site>(sitesOf(config));
  const bytesOf = (site: Site) => FLOAT_BYTES * floatsOfSite(config, rows, site);
  // The stream behind a layer is the one before the next.
  const startsOf = ({ site, layer }: NodeGroup) =>
    STARTS_FROM[site].filter(
      (start) =>
        available.has(start) &&
        !PASSED_BY.includes(start) &&
        (start !== "residPost" || layer === config.layers - 1),
    );
  const ofGroup = (group: NodeGroup) =>
    bytesOf(group.site) + startsOf(group).reduce((bytes, site) => bytes + bytesOf(site), 0);
  const groups = [...space.groups].sort((a, b) => ofGroup(b) - ofGroup(a)).slice(0, nodes);
  const kept = new Set(groups.flatMap((group) => startsOf(group).map((site) => `${group.layer}.${site}`)));
  const ofBase =
    config.layers * PASSED_BY.reduce((bytes, site) => bytes + bytesOf(site), 0) +
    [...kept].reduce((bytes, place) => bytes + bytesOf(place.slice(place.indexOf(".") + 1) as Site), 0);
  return ofBase + groups.reduce((bytes, { site }) => bytes + bytesOf(site), 0);
}

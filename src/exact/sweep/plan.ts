/**
 * @file The runs of a sweep: every node on every pair that has it, without those that cannot change the metric.
 */

import type { ModelConfig } from "../../model/config.js";
import type { Site } from "../../model/sites.js";
import { groupOf, type NodeGroup, type NodeSet, type NodeSpace } from "../../nodes/node-space.js";
import { type Span, spanInPair } from "../../nodes/positions.js";
import type { PairBatch } from "../../prompts/buckets.js";
import { differsAt, type Pair } from "../../prompts/pair.js";

/** A pair of the batch with a node patched in. */
export interface SweepRun {
  /** Place of the node among those that are swept. */
  readonly patch: number;
  readonly pairIndex: number;
  readonly group: NodeGroup;
  /** Head, kv-head or neuron; 0 for sites without one. */
  readonly index: number;
  /** Where the node is, up to where the metric is read: nothing behind that is seen. */
  readonly span: Span;
  readonly metricPosition: number;
}

/** Sites whose value at a position depends on the token there alone, in layer 0. */
function isOfItsToken(site: Site, parallelResidual: boolean): boolean {
  if (site === "residPre" || site === "q" || site === "k" || site === "v") return true;
  return parallelResidual && (site === "neuron" || site === "mlpOut");
}

/** Sites that later positions of the same layer or of later ones look at, even from the last layer. */
function isSeenFromBehind(site: Site): boolean {
  return site === "residPre" || site === "k" || site === "v";
}

/**
 * Whether a node can have an effect at all. It has none
 * - behind the metric's position: nothing there is seen;
 * - in the last layer, if what it changes is its own position's output and the metric reads another one;
 * and if its new value is that of the source run, also
 * - before the first token that differs: it has the same value in both runs;
 * - in the first layer, if it is computed from its own token alone and that is the same in both prompts.
 */
export function canHaveEffect(
  { layers, parallelResidual }: Pick<ModelConfig, "layers" | "parallelResidual">,
  pair: Pick<Pair, "clean" | "corrupted" | "noise" | "metricPosition">,
  { site, layer, span }: { readonly site: Site; readonly layer: number; readonly span: Span },
  fromPrompt: boolean,
): boolean {
  const { metricPosition } = pair;
  if (span.first > metricPosition) return false;
  if (layer === layers - 1 && !isSeenFromBehind(site) && span.end <= metricPosition) return false;
  if (!fromPrompt) return true;
  const { first, end } =
    layer === 0 && isOfItsToken(site, parallelResidual) ? span : { first: 0, end: span.end };
  for (let position = first; position < end; position++) if (differsAt(pair, position)) return true;
  return false;
}

export interface SweepPlan {
  readonly batch: PairBatch;
  /** How many runs `sweepRuns` gives. */
  readonly count: number;
  /** Layers and sites where runs are patched. */
  readonly groups: ReadonlySet<NodeGroup>;
}

export interface SweepInput {
  readonly config: ModelConfig;
  readonly space: NodeSpace;
  readonly batch: PairBatch;
  readonly nodes: NodeSet;
  /** Whether patched values come from the pair's own source prompt. */
  readonly fromPrompt: boolean;
}

/**
 * Every run that can change the metric, by layer; made one at a time, because there may be millions.
 * @param onIdle told of each node and pair that need no run
 */
export function* sweepRuns(
  { config, space, batch, nodes, fromPrompt }: SweepInput,
  onIdle: (pairIndex: number, patch: number) => void = () => {},
): Generator<SweepRun> {
  for (const patch of Uint32Array.from(nodes.keys()).sort((a, b) => nodes[a] - nodes[b])) {
    const group = groupOf(space, nodes[patch]);
    const within = nodes[patch] - group.offset;
    const label = space.labels[Math.floor(within / group.indices)];
    const index = within % group.indices;
    for (const [pairIndex, pair] of batch.pairs.entries()) {
      const span = spanInPair(label, pair);
      if (!span) continue;
      const { metricPosition } = pair;
      if (!canHaveEffect(config, pair, { ...group, span }, fromPrompt)) {
        onIdle(pairIndex, patch);
        continue;
      }
      const seen = { first: span.first, end: Math.min(span.end, metricPosition + 1) };
      yield { patch, pairIndex, group, index, span: seen, metricPosition };
    }
  }
}

/** What a batch needs, known before it runs. */
export function planSweep(input: SweepInput): SweepPlan {
  const groups = new Set<NodeGroup>();
  let count = 0;
  for (const { group } of sweepRuns(input)) {
    groups.add(group);
    count++;
  }
  return { batch: input.batch, count, groups };
}

/** What runs take that go through the model together. */
export interface ChunkBytes {
  /** By itself. */
  ofRun(run: SweepRun): number;
  /** Each of them beside the others, where they cover the positions `first` … `end` − 1 together. */
  ofEach(first: number, end: number): number;
}

/** Runs that go through the model together: as many as fit the budget, at least one. */
export function* chunksWithin(
  runs: Iterable<SweepRun>,
  budgetBytes: number,
  bytes: ChunkBytes,
): Generator<readonly SweepRun[]> {
  let chunk: SweepRun[] = [];
  let own = 0;
  let [first, end] = [Number.POSITIVE_INFINITY, 0];
  for (const run of runs) {
    const more = bytes.ofRun(run);
    const covered = { first: Math.min(first, run.span.first), end: Math.max(end, run.metricPosition + 1) };
    const together = own + more + (chunk.length + 1) * bytes.ofEach(covered.first, covered.end);
    if (chunk.length > 0 && together > budgetBytes) {
      yield chunk;
      chunk = [];
      own = 0;
      [first, end] = [run.span.first, run.metricPosition + 1];
    } else {
      [first, end] = [covered.first, covered.end];
    }
    chunk.push(run);
    own += more;
  }
  if (chunk.length > 0) yield chunk;
}

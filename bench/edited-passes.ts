/**
 * @file Effects of single nodes by edited full forward passes: every row of a pass runs all layers and all positions from
 * the embedding on, and an edit puts the source run's values at the row's node. What exact patching is taken literally, in
 * batches. It is there to be timed beside the sweep of `src/exact`, and as a second way to the same numbers, so it shares
 * nothing with it but the model, the metric and the names of the nodes.
 */

import * as tf from "@tensorflow/tfjs-core";
import { DEFAULT_ACTIVATION_BUDGET_BYTES } from "../src/activation-budget.js";
import { disposeBlockContext, type Edit, makeBlockContext } from "../src/model/block.js";
import type { Model } from "../src/model/model.js";
import { type HookPoint, isPerHead } from "../src/model/sites.js";
import { embed, readout, runBlocks } from "../src/model/transformer.js";
import { locate, type NodeGroup, type NodeSet, type NodeSpace } from "../src/nodes/node-space.js";
import { spanInPair } from "../src/nodes/positions.js";
import { basePrompt, type Direction, sourcePrompt } from "../src/prompts/direction.js";
import type { OutputMetric } from "../src/prompts/metrics/metric.js";
import { prepareOnRuns } from "../src/prompts/metrics/on-runs.js";
import type { Pair } from "../src/prompts/pair.js";

/** Edited passes over one pair. Owns tensors: `dispose` it. */
export interface EditedPasses {
  /** Metric of the unpatched runs. */
  readonly base: number;
  readonly source: number;
  /**
   * The metric with each node patched, in the order of the nodes.
   * @param nodes of the space; the pair has them
   * @param rows runs in a pass
   */
  patched(nodes: NodeSet, rows: number): Promise<Float32Array>;
  dispose(): void;
}

export interface EditedPassesOptions {
  readonly metric: OutputMetric;
  readonly direction: Direction;
}

/** Runs both prompts of the pair and keeps the source run's values at the sites of the space. */
export async function prepareEditedPasses(
  model: Model,
  pair: Pair,
  space: NodeSpace,
  { metric, direction }: EditedPassesOptions,
): Promise<EditedPasses> {
  const prompt = basePrompt(pair, direction);
  const context = makeBlockContext(model.config, prompt.length);

  /** `final` of runs of one prompt at the metric's position, [rows, D]. */
  async function finalOf(tokens: readonly number[], rows: number, edit?: Edit): Promise<tf.Tensor2D> {
    const embedded = await embed(model, Array<readonly number[]>(rows).fill(tokens));
    const last = await runBlocks(model, context, embedded, { ...(edit && { edit }) });
    const { final, saved } = await readout(model, last, Array<number>(rows).fill(pair.metricPosition));
    tf.dispose([embedded, last, saved]);
    return final;
  }

  const sourceValues = new Map<NodeGroup, tf.Tensor>();
  const base = await finalOf(prompt, 1);
  const source = await finalOf(sourcePrompt(pair, direction), 1, (point, layer, value) => {
    const group = groupAt(space.groups, point, layer);
    if (group) sourceValues.set(group, tf.keep(tf.clone(value)));
    return value;
  });
  const onRuns = await prepareOnRuns(metric, {
    model,
    pairs: [pair],
    direction,
    finals: { base, source },
    budgetBytes: DEFAULT_ACTIVATION_BUDGET_BYTES,
  });

  return {
    base: onRuns.base[0],
    source: onRuns.source[0],
    async patched(nodes, rows) {
      const values = new Float32Array(nodes.length);
      for (let first = 0; first < nodes.length; first += rows) {
        const together = nodes.subarray(first, first + rows);
        const { edit, masks } = editOf(space, pair, together, sourceValues);
        const final = await finalOf(prompt, together.length, edit);
        values.set(onRuns.metric.read(final, Array<number>(together.length).fill(0)), first);
        tf.dispose([final, masks]);
      }
      return values;
    },
    dispose() {
      disposeBlockContext(context);
      onRuns.metric.dispose();
      tf.dispose([base, source]);
      tf.dispose([...sourceValues.values()]);
    },
  };
}

function groupAt(groups: Iterable<NodeGroup>, point: HookPoint, layer: number): NodeGroup | undefined {
  for (const group of groups) if (group.site === point && group.layer === layer) return group;
  return undefined;
}

/** Puts the source run's values at one node in each row. The masks [R, I, T, 1] or [R, T, I] are the caller's. */
function editOf(
  space: NodeSpace,
  pair: Pair,
  nodes: NodeSet,
  sourceValues: ReadonlyMap<NodeGroup, tf.Tensor>,
): { edit: Edit; masks: tf.Tensor[] } {
  const T = pair.clean.length;
  const flags = new Map<NodeGroup, Float32Array>();
  nodes.forEach((node, row) => {
    const { group, p, i } = locate(space, node);
    const span = spanInPair(space.labels[p], pair);
    if (!span) throw new Error(`editOf: expected a position of the pair, got ${space.labels[p]}`);
    const ofGroup = flags.get(group) ?? new Float32Array(nodes.length * group.indices * T);
    flags.set(group, ofGroup);
    for (let t = span.first; t < span.end; t++) {
      const at = isPerHead(group.site)
        ? (row * group.indices + i) * T + t
        : (row * T + t) * group.indices + i;
      ofGroup[at] = 1;
    }
  });
  const masks = new Map(
    [...flags].map(([group, ofGroup]) => {
      const { site, indices } = group;
      const shape = isPerHead(site) ? [nodes.length, indices, T, 1] : [nodes.length, T, indices];
      return [group, tf.tensor(ofGroup, shape)];
    }),
  );
  const edit: Edit = (point, layer, value) => {
    const group = groupAt(masks.keys(), point, layer);
    const mask = group && masks.get(group);
    const source = group && sourceValues.get(group);
    if (!mask || !source) return value;
    return tf.tidy(() => tf.add(tf.mul(value, tf.sub(1, mask)), tf.mul(source, mask)));
  };
  return { edit, masks: [...masks.values()] };
}

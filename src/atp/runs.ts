/**
 * @file The base and the source run of a batch of pairs, recorded for a backward sweep.
 *
 * Both runs go through the layers side by side, so that each layer's weights are asked for once. Of every layer the
 * record holds what the VJP needs of the base run and, for the sites under study, the difference source − base. When
 * that would exceed the memory budget, a layer keeps only its two residual streams and is computed again on the way
 * back.
 */

import * as tf from "@tensorflow/tfjs-core";
import {
  type BlockContext,
  type BlockSaved,
  blockForward,
  disposeBlockContext,
  makeBlockContext,
} from "../model/block.js";
import type { Model } from "../model/model.js";
import type { Site } from "../model/sites.js";
import { type Readout, readout } from "../model/transformer.js";
import type { BlockWeights } from "../model/weights.js";
import { withLayer } from "../model/with-layer.js";
import type { Direction } from "../prompts/direction.js";
import { embedRun } from "../prompts/embed-run.js";
import type { InternalReader, UnpatchedReading } from "../prompts/metrics/internal-reader.js";
import type { Pair } from "../prompts/pair.js";
import type { ActivationSource } from "../sources/source.js";

/** What the backward sweep needs of one layer. */
export type LayerRecord = {
  readonly saved: BlockSaved;
  /** patched − base value at each site under study, in the site's shape. */
  readonly differences: { readonly [site in Site]?: tf.Tensor };
};

type Streams = { readonly base: tf.Tensor3D; readonly source: tf.Tensor3D };

/** A kept layer has its record; a dropped one the residual streams to recompute it from. */
type KeptLayer = { readonly record: LayerRecord } | { readonly streams: Streams };

/** Owns tensors: `dispose` it when the batch is done. */
export interface RecordedRuns {
  readonly context: BlockContext;
  /** At each pair's metric position; of the stream that far, where the runs stop below the last layer. */
  readonly base: Readout;
  readonly source: Readout;
  /** Layers of both runs computed again so far. */
  recomputedLayers(): number;
  /** Gives `work` the record of a layer, which stays the runs' own. */
  use<T>(layer: number, weights: BlockWeights, work: (record: LayerRecord) => T): T;
  dispose(): void;
}

/**
 * Runs both prompts of every pair.
 *
 * @param pairs B pairs of one token length
 * @param sites the sites whose differences are wanted
 * @param budgetBytes how much the layer records may hold together; residual streams are kept in any case
 * @param reading what is read off them, and how many layers that takes
 * @param replacement where patched values come from, if not from the source run
 */
export async function recordRuns(
  model: Model,
  pairs: readonly Pair[],
  direction: Direction,
  sites: readonly Site[],
  budgetBytes: number,
  reading: UnpatchedReading,
  replacement?: ActivationSource,
): Promise<RecordedRuns> {
  const context = makeBlockContext(model.config, pairs[0].clean.length);
  const layers: KeptLayer[] = [];
  const finals: Readout[] = [];
  let streams: Streams | undefined;
  let bytes = 0;
  let recomputed = 0;
  const dispose = () => {
    tf.dispose([layers, { ...streams }, finals.map((final) => ({ ...final }))]);
    disposeBlockContext(context);
  };
  try {
    streams = await embedBoth(model, pairs, direction);
    for (let layer = 0; layer < reading.layers; layer++) {
      const current: Streams = streams;
      const above = layer + 1 < reading.layers ? layer + 1 : undefined;
      const { record, next } = await withLayer(model.weights, layer, above, (weights) =>
        runLayer(context, weights, layer, current, sites, replacement, reading),
      );
      const size = bytesOf(record);
      if (bytes + size <= budgetBytes) {
        bytes += size;
        layers.push({ record });
        tf.dispose(current);
      } else {
        layers.push({ streams: current });
        tf.dispose(record);
      }
      streams = next;
    }
    const positions = pairs.map((pair) => pair.metricPosition);
    for (const stream of [streams.base, streams.source]) finals.push(await readout(model, stream, positions));
    tf.dispose(streams);
  } catch (error) {
    dispose();
    throw error;
  }
  const [base, source] = finals;
  return {
    context,
    base,
    source,
    recomputedLayers: () => recomputed,
    use(layer, weights, work) {
      const kept = layers[layer];
      if ("record" in kept) return work(kept.record);
      const { record, next } = runLayer(context, weights, layer, kept.streams, sites, replacement);
      tf.dispose(next);
      recomputed++;
      try {
        return work(record);
      } finally {
        tf.dispose(record);
      }
    },
    dispose,
  };
}

async function embedBoth(model: Model, pairs: readonly Pair[], direction: Direction): Promise<Streams> {
  const base = await embedRun(model, pairs, direction, "base");
  try {
    return { base, source: await embedRun(model, pairs, direction, "source") };
  } catch (error) {
    base.dispose();
    throw error;
  }
}

function runLayer(
  context: BlockContext,
  weights: BlockWeights,
  layer: number,
  { base, source }: Streams,
  sites: readonly Site[],
  replacement?: ActivationSource,
  reading?: UnpatchedReading,
): { record: LayerRecord; next: Streams } {
  // Outlive the block's own tidy.
  const captured: tf.Tensor[] = [];
  const run = (resid: tf.Tensor3D, reader?: InternalReader) => {
    const bySite = new Map<Site, tf.Tensor>();
    const result = blockForward(context, weights, layer, resid, (point, _layer, value) => {
      if (point !== "pattern" && sites.includes(point)) {
        const clone = tf.keep(tf.clone(value));
        captured.push(clone);
        bySite.set(point, clone);
      }
      reader?.see(point, layer, value);
      return value;
    });
    return { ...result, bySite };
  };
  try {
    return tf.tidy(() => {
      const baseRun = run(base, reading?.readers.base);
      const sourceRun = run(source, reading?.readers.source);
      const differences: { [site in Site]?: tf.Tensor } = {};
      for (const [site, baseValue] of baseRun.bySite) {
        const sourceValue = sourceRun.bySite.get(site);
        const patched = replacement ? replacement.valuesAt(site, layer, baseValue) : sourceValue;
        if (patched) differences[site] = tf.sub(patched, baseValue);
        tf.dispose([baseValue, ...(sourceValue ? [sourceValue] : [])]);
      }
      return {
        record: { saved: baseRun.saved, differences },
        next: { base: baseRun.residPost, source: sourceRun.residPost },
      };
    });
  } finally {
    tf.dispose(captured);
  }
}

const FLOAT32_BYTES = 4;

function bytesOf(record: LayerRecord): number {
  const tensors = tf.tensor_util.getTensorsInContainer(record);
  return tensors.reduce((bytes, tensor) => bytes + tensor.size * FLOAT32_BYTES, 0);
}

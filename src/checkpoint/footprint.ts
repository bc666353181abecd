/**
 * @file How many bytes the weights of a checkpoint take, in memory and on disk, and how many layers can stay in memory
 * under a budget. From headers alone: nothing is read, so that a run can be planned before it starts.
 *
 * In memory every weight is float32. A model that is streamed holds
 *
 *   final norm and positions + kept layers + the layer in use + the slot that the next one is read into
 *
 * and, while a metric of the whole distribution is in use, the unembedding. That one is there twice while it is read.
 */

import type { Checkpoint } from "./checkpoint.js";
import { layoutOf, sizeOf } from "./shared-buffer.js";
import { sourcesOf, type TensorSource } from "./weight-plan.js";
import { bytesPerFloat, isFloatType } from "./widen.js";

/** Bytes of the parts of a checkpoint: in memory, as float32, unless a name says "on disk". */
export interface WeightsFootprint {
  /** How many layers there are. */
  readonly layers: number;
  /** The largest layer. */
  readonly layerBytes: number;
  /** What is always in memory: final norm, learned positions. */
  readonly smallBytes: number;
  /** The token embedding. */
  readonly embeddingBytes: number;
  /** The unembedding's matrix; in a tied model the same one as the token embedding. */
  readonly unembeddingBytes: number;
  /** Whether the unembedding is the token embedding. */
  readonly tied: boolean;
  /** What reading each layer once takes from disk. */
  readonly layerBytesOnDisk: readonly number[];
  /** What reading the unembedding's matrix takes from disk. */
  readonly unembeddingBytesOnDisk: number;
}

const inFloat32 = (sources: readonly TensorSource[]): number => layoutOf(sources).bytes;

/** What the parts of an open checkpoint take. */
export function weightsFootprint({
  plan,
  stored,
  tied,
}: Pick<Checkpoint, "plan" | "stored" | "tied">): WeightsFootprint {
  const dtypes = new Map(stored.map(({ name, dtype }) => [name, dtype]));
  const onDisk = (sources: readonly TensorSource[]): number =>
    sources.reduce((bytes, source) => {
      const dtype = dtypes.get(source.name);
      if (dtype === undefined || !isFloatType(dtype)) {
        throw new Error(`weightsFootprint: expected a checked tensor ${source.name}, got ${dtype}`);
      }
      return bytes + sizeOf(source) * bytesPerFloat(dtype);
    }, 0);
  const { tokens, positions } = plan.embedding;
  const { norm, rows } = plan.unembedding;
  const layers = Array.from({ length: plan.config.layers }, (_, l) => sourcesOf(plan.layer(l)));
  return {
    layers: layers.length,
    layerBytes: Math.max(...layers.map(inFloat32)),
    smallBytes: inFloat32([...sourcesOf(norm), ...(positions ? [positions] : [])]),
    embeddingBytes: inFloat32([tokens]),
    unembeddingBytes: inFloat32([rows]),
    tied,
    layerBytesOnDisk: layers.map(onDisk),
    unembeddingBytesOnDisk: onDisk([rows]),
  };
}

/** Bytes of all weights, when nothing is streamed. */
export function bytesInMemory(footprint: WeightsFootprint): number {
  const { layers, layerBytes, smallBytes, embeddingBytes, unembeddingBytes, tied } = footprint;
  return layers * layerBytes + smallBytes + embeddingBytes + (tied ? 0 : unembeddingBytes);
}

export interface StreamedUse {
  /** Whether the whole unembedding is in use for a time, as by metrics of the distribution; default true. */
  readonly wholeUnembedding?: boolean;
}

/** The most bytes of weights that a streamed model holds at a time. */
export function bytesStreamed(
  { layerBytes, smallBytes, unembeddingBytes }: WeightsFootprint,
  residentLayers: number,
  { wholeUnembedding = true }: StreamedUse = {},
): number {
  return (residentLayers + 2) * layerBytes + smallBytes + (wholeUnembedding ? 2 * unembeddingBytes : 0);
}

/**
 * How many layers can stay in memory under a budget: all of them where nothing need be streamed.
 * @param budgetBytes for weights alone
 * @returns undefined where the budget is too small even for one layer at a time
 */
export function residentLayersWithin(
  footprint: WeightsFootprint,
  budgetBytes: number,
  use: StreamedUse = {},
): number | undefined {
  if (bytesInMemory(footprint) <= budgetBytes) return footprint.layers;
  const left = budgetBytes - bytesStreamed(footprint, 0, use);
  if (!(left >= 0)) return undefined;
  return Math.min(footprint.layers - 1, Math.floor(left / footprint.layerBytes));
}

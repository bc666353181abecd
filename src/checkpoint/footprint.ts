/**
 * @file How many bytes the weights of a checkpoint take, in memory and on disk, and how many layers can stay in memory
 * under a budget. From headers alone: nothing is read, so that a run can be planned before it starts.
 *
 * In memory every weight is float32. A model that is streamed holds
 *
 *   final norm and positions + kept layers + the layer in use + the slot that the next one is read into
 *
 * and, while a metric of the whole distribution is in use, the unembedding. That one is there twice while it is read.
 *
 * The embedded engine also keeps a packed copy, as large as the matrix, of each right-hand factor of a product (see
 * `engine/matmul.ts`) until its tensor is disposed: on the way forward of matrices stored [in, out], on the way back of those
 * stored [out, in], and of the unembedding where its gradient is taken.
 */

import type { Backend } from "../engine/start-engine.js";
import type { BlockWeights } from "../model/weights.js";
import type { Checkpoint } from "./checkpoint.js";
import { layoutOf, sizeOf } from "./shared-buffer.js";
import { bytesOf, isStoredType } from "./stored-types.js";
import { type Plan, sourcesOf, type TensorSource } from "./weight-plan.js";

/** Bytes of the parts of a checkpoint: in memory, as float32, unless a name says "on disk". */
export interface WeightsFootprint {
  /** How many layers there are. */
  readonly layers: number;
  /** The largest layer. */
  readonly layerBytes: number;
  /** The matrices of a layer that are right-hand factors on the way forward, and those on the way back; the most of any layer. */
  readonly rightFactorBytes: { readonly forward: number; readonly back: number };
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
      if (dtype === undefined || !isStoredType(dtype)) {
        throw new Error(`weightsFootprint: expected a checked tensor ${source.name}, got ${dtype}`);
      }
      return bytes + bytesOf(dtype, sizeOf(source));
    }, 0);
  const { tokens, positions } = plan.embedding;
  const { norm, rows } = plan.unembedding;
  const blocks = Array.from({ length: plan.config.layers }, (_, l) => plan.layer(l));
  const layers = blocks.map(sourcesOf);
  const mostOf = (layout: Layout) => Math.max(...blocks.map((block) => inFloat32(matricesOf(block, layout))));
  return {
    layers: layers.length,
    layerBytes: Math.max(...layers.map(inFloat32)),
    rightFactorBytes: { forward: mostOf("in-out"), back: mostOf("out-in") },
    smallBytes: inFloat32([...sourcesOf(norm), ...(positions ? [positions] : [])]),
    embeddingBytes: inFloat32([tokens]),
    unembeddingBytes: inFloat32([rows]),
    tied,
    layerBytesOnDisk: layers.map(onDisk),
    unembeddingBytesOnDisk: onDisk([rows]),
  };
}

type Layout = BlockWeights["q"]["layout"];

/** The matrices of a layer that are stored in one of the layouts. */
function matricesOf(block: Plan<BlockWeights>, layout: Layout): TensorSource[] {
  const { q, k, v, o, mlpGate, mlpIn, mlpOut } = block;
  return [q, k, v, o, ...(mlpGate ? [mlpGate] : []), mlpIn, mlpOut]
    .filter((linear) => linear.layout === layout)
    .map(({ weight }) => weight);
}

/** How weights are used. */
export interface WeightsUse {
  /** The engine that multiplies them; default the native one, which keeps no packed copies. */
  readonly engine?: Backend;
  /** Whether gradients go back through them; default true. */
  readonly gradients?: boolean;
  /** Whether the whole unembedding is in use for a time, as by metrics of the distribution; default true. */
  readonly wholeUnembedding?: boolean;
}

/** What the engine keeps beside a layer, and beside the unembedding, from the first product with them to their end. */
export function packedCopies(
  { rightFactorBytes, unembeddingBytes }: WeightsFootprint,
  { engine = "tensorflow", gradients = true }: WeightsUse,
): { readonly layerBytes: number; readonly unembeddingBytes: number } {
  if (engine !== "wasm") return { layerBytes: 0, unembeddingBytes: 0 };
  return {
    layerBytes: rightFactorBytes.forward + (gradients ? rightFactorBytes.back : 0),
    unembeddingBytes: gradients ? unembeddingBytes : 0,
  };
}

/** Bytes of all weights, when nothing is streamed. */
export function bytesInMemory(footprint: WeightsFootprint, use: WeightsUse = {}): number {
  const { layers, layerBytes, smallBytes, embeddingBytes, unembeddingBytes, tied } = footprint;
  const packed = packedCopies(footprint, use);
  return (
    layers * (layerBytes + packed.layerBytes) +
    smallBytes +
    embeddingBytes +
    (tied ? 0 : unembeddingBytes) +
    (use.wholeUnembedding === false ? 0 : packed.unembeddingBytes)
  );
}

/** The most bytes of weights that a streamed model holds at a time. */
export function bytesStreamed(
  footprint: WeightsFootprint,
  residentLayers: number,
  use: WeightsUse = {},
): number {
  const { layerBytes, smallBytes, unembeddingBytes } = footprint;
  const packed = packedCopies(footprint, use);
  return (
    (residentLayers + 2) * layerBytes +
    (residentLayers + 1) * packed.layerBytes +
    smallBytes +
    (use.wholeUnembedding === false ? 0 : 2 * unembeddingBytes + packed.unembeddingBytes)
  );
}

/**
 * How many layers can stay in memory under a budget: all of them where nothing need be streamed.
 * @param budgetBytes for weights alone
 * @returns undefined where the budget is too small even for one layer at a time
 */
export function residentLayersWithin(
  footprint: WeightsFootprint,
  budgetBytes: number,
  use: WeightsUse = {},
): number | undefined {
  if (bytesInMemory(footprint, use) <= budgetBytes) return footprint.layers;
  const left = budgetBytes - bytesStreamed(footprint, 0, use);
  if (!(left >= 0)) return undefined;
  const more = footprint.layerBytes + packedCopies(footprint, use).layerBytes;
  return Math.min(footprint.layers - 1, Math.floor(left / more));
}

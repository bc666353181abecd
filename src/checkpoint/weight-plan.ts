/**
 * @file Where each canonical weight comes from. A family describes its checkpoint as a plan: the structures of
 * `model/weights.ts` with a source in place of every tensor. Plans are data, so the same plan is checked against the
 * headers before anything long starts and read layer by layer afterwards.
 */

import type * as tf from "@tensorflow/tfjs-core";
import type { ModelConfig } from "../model/config.js";
import type {
  BlockWeights,
  EmbeddingWeights,
  Linear,
  NormWeights,
  UnembeddingWeights,
} from "../model/weights.js";
import type { Runs } from "./stored-slice.js";

/** Some values of a stored tensor, in the order in which a weight has them. */
export interface Part {
  /** Shape of the weight. */
  readonly shape: readonly number[];
  readonly runs: readonly Runs[];
}

/** A tensor of the checkpoint, or a part of it. */
export class TensorSource {
  constructor(
    readonly name: string,
    readonly storedShape: readonly number[],
    private readonly part?: Part,
  ) {}

  /** Shape of the canonical weight. */
  get shape(): readonly number[] {
    return this.part?.shape ?? this.storedShape;
  }

  /** Where its values lie among those of the stored tensor, one piece behind the other. */
  get runs(): readonly Runs[] {
    if (this.part) return this.part.runs;
    const size = this.storedShape.reduce((product, axis) => product * axis, 1);
    return [{ first: 0, count: 1, length: size, stride: size }];
  }

  /** The canonical weight's values, given those of the stored tensor. */
  take(stored: Float32Array): Float32Array {
    if (this.part === undefined) return stored;
    const values = new Float32Array(this.part.shape.reduce((size, axis) => size * axis, 1));
    let to = 0;
    for (const { first, count, length, stride } of this.part.runs) {
      for (let run = 0; run < count; run++, to += length) {
        const from = first + run * stride;
        values.set(stored.subarray(from, from + length), to);
      }
    }
    return values;
  }
}

/** One of several equal parts that a tensor stored as [outer, parts, inner], row-major, holds interleaved. */
export function interleavedPart(stored: {
  readonly outer: number;
  readonly parts: number;
  readonly inner: number;
  readonly index: number;
  /** Shape of the part itself. */
  readonly shape: readonly number[];
}): Part {
  const { outer, parts, inner, index, shape } = stored;
  return { shape, runs: [{ first: index * inner, count: outer, length: inner, stride: parts * inner }] };
}

/** W with the source of every tensor in the tensor's place. */
export type Plan<W> = W extends tf.Tensor
  ? TensorSource
  : W extends string
    ? W
    : { [K in keyof W]: Plan<W[K]> };

export interface ModelPlan {
  readonly config: ModelConfig;
  readonly embedding: Plan<EmbeddingWeights>;
  /** `rows` is the very source of the token embedding in a tied model. */
  readonly unembedding: Plan<UnembeddingWeights>;
  layer(l: number): Plan<BlockWeights>;
}

/** A torch Linear, stored [out, in] under `name.weight` and, if it has one, `name.bias`. */
export function torchLinear(name: string, out: number, into: number, bias: boolean): Plan<Linear> {
  return {
    weight: new TensorSource(`${name}.weight`, [out, into]),
    layout: "out-in",
    ...(bias && { bias: new TensorSource(`${name}.bias`, [out]) }),
  };
}

/** A layer norm with scale and bias, stored under `name.weight` and `name.bias`. */
export function layerNorm(name: string, width: number): Plan<NormWeights> {
  return {
    scale: new TensorSource(`${name}.weight`, [width]),
    bias: new TensorSource(`${name}.bias`, [width]),
  };
}

/** Every source in a plan or a part of one. */
export function sourcesOf(plan: object): TensorSource[] {
  return Object.values(plan).flatMap((value: unknown) => {
    if (value instanceof TensorSource) return [value];
    return typeof value === "object" && value !== null ? sourcesOf(value) : [];
  });
}

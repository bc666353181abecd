/**
 * @file Models whose every weight is written out by hand, so that effects and estimates can be worked out on paper.
 *
 * A head has width 1; it and a ReLU neuron each read some directions of the residual stream and write some. The norms do
 * nothing: an RMS norm whose ε = 2^80 swamps mean x² and whose scale 2^40 undoes it is the identity to float32 precision,
 * and so is its derivative (up to a part in 2^80).
 */

import * as tf from "@tensorflow/tfjs-core";
import { inMemoryModel } from "../../bench/in-memory-model.js";
import type { ModelConfig } from "../../src/model/config.js";
import type { Model } from "../../src/model/model.js";
import type { BlockWeights, Linear } from "../../src/model/weights.js";

const IDENTITY_NORM_EPS = 2 ** 80;
const IDENTITY_NORM_SCALE = 2 ** 40;
const LONGEST_PROMPT = 4;

/** One number per dimension of the residual stream. */
export type Vector = readonly number[];

/** What a head reads (dot product) and writes. A vector that is left out is 0. */
export interface HeadByHand {
  readonly q?: Vector;
  readonly k?: Vector;
  readonly v?: Vector;
  /** The head adds z·o. */
  readonly o?: Vector;
}

/** Adds relu(x·reads + bias)·writes. */
export interface NeuronByHand {
  readonly reads: Vector;
  readonly bias?: number;
  readonly writes: Vector;
}

export interface LayerByHand {
  readonly heads?: readonly HeadByHand[];
  /** By their index; those between do nothing. */
  readonly neurons?: Readonly<Record<number, NeuronByHand>>;
}

export interface ModelByHand {
  /** Per token. */
  readonly embedding: readonly Vector[];
  /** Per position, added to the embedding; a position that is left out adds nothing. */
  readonly positions?: readonly Vector[];
  readonly layers: readonly LayerByHand[];
  /** Per token. */
  readonly unembedding: readonly Vector[];
}

/** The model of these weights, which the caller disposes. Its engine must be running. */
export function handMadeModel(
  name: string,
  { embedding, positions = [], layers, unembedding }: ModelByHand,
): Model {
  const width = embedding[0].length;
  const heads = Math.max(1, ...layers.map((layer) => layer.heads?.length ?? 0));
  const neuronIndices = layers.flatMap(({ neurons = {} }) => Object.keys(neurons).map(Number));
  const mlpWidth = Math.max(0, ...neuronIndices) + 1;
  const config: ModelConfig = {
    family: "hand-made",
    layers: layers.length,
    width,
    heads,
    kvHeads: heads,
    headWidth: 1,
    mlpWidth,
    vocabulary: embedding.length,
    maxPositions: LONGEST_PROMPT,
    maxPositionsReason: "hand-made",
    norm: "rms",
    normEps: IDENTITY_NORM_EPS,
    activation: "relu",
    gated: false,
    parallelResidual: false,
    qkNorm: false,
  };
  const nothing: Vector = Array.from({ length: width }, () => 0);
  const upTo = <Item>(length: number, item: (index: number) => Item) =>
    Array.from({ length }, (_, index) => item(index));
  const rows = (vectors: readonly (Vector | undefined)[]) =>
    tf.tensor2d(vectors.map((row = nothing) => [...row]));
  const identityNorm = () => ({ scale: tf.fill([width], IDENTITY_NORM_SCALE) as tf.Tensor1D });
  const reads = (vectors: readonly (Vector | undefined)[]): Linear => ({
    weight: rows(vectors),
    layout: "out-in",
  });
  const writes = (vectors: readonly (Vector | undefined)[]): Linear => ({
    weight: rows(vectors),
    layout: "in-out",
  });
  const block = (layer: LayerByHand): BlockWeights => {
    const head = (part: keyof HeadByHand) => upTo(heads, (h) => layer.heads?.[h]?.[part]);
    const neurons = upTo(mlpWidth, (n) => layer.neurons?.[n]);
    return {
      attnNorm: identityNorm(),
      q: reads(head("q")),
      k: reads(head("k")),
      v: reads(head("v")),
      o: writes(head("o")),
      mlpNorm: identityNorm(),
      mlpIn: {
        ...reads(neurons.map((neuron) => neuron?.reads)),
        bias: tf.tensor1d(neurons.map((neuron) => neuron?.bias ?? 0)),
      },
      mlpOut: writes(neurons.map((neuron) => neuron?.writes)),
    };
  };
  return inMemoryModel(name, config, {
    embedding: {
      tokens: rows(embedding),
      positions: rows(upTo(LONGEST_PROMPT, (position) => positions[position])),
    },
    layers: layers.map(block),
    unembedding: { norm: identityNorm(), rows: rows(unembedding) },
  });
}

/**
 * @file Two models whose every weight is written out by hand, so that effects and estimates can be worked out on paper:
 * one with a saturated head, one with two paths that cancel. Page: docs/why-atp-star.md.
 *
 * A layer has one head of width 1 and one ReLU neuron; each of them reads one direction of the residual stream and
 * writes one. The norms do nothing: an RMS norm whose ε = 2^80 swamps mean x² and whose scale 2^40 undoes it is the
 * identity to float32 precision, and so is its derivative (up to a part in 2^80).
 */

import * as tf from "@tensorflow/tfjs-core";
import { inMemoryModel } from "../../bench/in-memory-model.js";
import type { ModelConfig } from "../../src/model/config.js";
import type { Model } from "../../src/model/model.js";
import type { BlockWeights, Linear } from "../../src/model/weights.js";

const IDENTITY_NORM_EPS = 2 ** 80;
const IDENTITY_NORM_SCALE = 2 ** 40;

/** One number per dimension of the residual stream. */
type Vector = readonly number[];

/** What a layer's head and neuron read (dot product) and write. A vector that is left out is 0. */
interface LayerByHand {
  readonly q?: Vector;
  readonly k?: Vector;
  readonly v?: Vector;
  /** The head adds z·o. */
  readonly o?: Vector;
  readonly mlpIn?: Vector;
  /** The neuron adds relu(x·mlpIn)·mlpOut. */
  readonly mlpOut?: Vector;
}

interface ModelByHand {
  /** Per token. */
  readonly embedding: readonly Vector[];
  readonly layers: readonly LayerByHand[];
  /** Per token. */
  readonly unembedding: readonly Vector[];
}

const LONGEST_PROMPT = 4;

/** The model of these weights, which the caller disposes. Its engine must be running. */
function handMadeModel(name: string, { embedding, layers, unembedding }: ModelByHand): Model {
  const width = embedding[0].length;
  const config: ModelConfig = {
    family: "hand-made",
    layers: layers.length,
    width,
    heads: 1,
    kvHeads: 1,
    headWidth: 1,
    mlpWidth: 1,
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
  const rows = (vectors: readonly Vector[]) => tf.tensor2d(vectors.map((row) => [...row]));
  const identityNorm = () => ({ scale: tf.fill([width], IDENTITY_NORM_SCALE) as tf.Tensor1D });
  const reads = (vector = nothing): Linear => ({ weight: rows([vector]), layout: "out-in" });
  const writes = (vector = nothing): Linear => ({ weight: rows([vector]), layout: "in-out" });
  const block = ({ q, k, v, o, mlpIn, mlpOut }: LayerByHand): BlockWeights => ({
    attnNorm: identityNorm(),
    q: reads(q),
    k: reads(k),
    v: reads(v),
    o: writes(o),
    mlpNorm: identityNorm(),
    mlpIn: reads(mlpIn),
    mlpOut: writes(mlpOut),
  });
  return inMemoryModel(name, config, {
    embedding: {
      tokens: rows(embedding),
      positions: rows(Array.from({ length: LONGEST_PROMPT }, () => nothing)),
    },
    layers: layers.map(block),
    unembedding: { norm: identityNorm(), rows: rows(unembedding) },
  });
}

/** A layer that reads nothing and writes nothing. */
const IDLE: LayerByHand = {};

/** Token ids of both models; the second knows only A and B. */
export const [A, B, ASK_A, ASK_B] = [0, 1, 2, 3];

/**
 * "A B askA" -> A, "A B askB" -> B: the head of layer 1 looks for the token that was asked for, with scores `score` (that
 * token), −`score` (the other one) and 0 (itself), and copies its value, +1 or −1. The logit difference A − B is that value.
 */
export function askingModel(score: number): Model {
  // Dimensions: which token, which one is asked for, output.
  return handMadeModel("asking", {
    embedding: [
      [1, 0, 0], // A
      [-1, 0, 0], // B
      [0, 1, 0], // askA
      [0, -1, 0], // askB
    ],
    layers: [IDLE, { q: [0, score, 0], k: [1, 0, 0], v: [1, 0, 0], o: [0, 0, 1] }],
    unembedding: [
      [0, 0, 1 / 2], // A
      [0, 0, -1 / 2], // B
      [0, 0, 0],
      [0, 0, 0],
    ],
  });
}

/**
 * "A" -> 1, "B" -> −2: the head of layer 0 copies x = 1 (A) or x = −2 (B) to the output; the neuron of layer 1 reads
 * the output and adds `w`·relu(x). The logit difference A − B is x + w·relu(x).
 * @param idleLayers layers above that do nothing
 */
export function twoPathModel(w: number, idleLayers = 0): Model {
  // Dimensions: x, output.
  return handMadeModel("two paths", {
    embedding: [
      [1, 0], // A
      [-2, 0], // B
    ],
    layers: [
      { v: [1, 0], o: [0, 1] },
      { mlpIn: [0, 1], mlpOut: [0, w] },
      ...Array.from({ length: idleLayers }, () => IDLE),
    ],
    unembedding: [
      [0, 1 / 2], // A
      [0, -1 / 2], // B
    ],
  });
}

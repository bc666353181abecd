/**
 * @file The circuits by which Heimersheim & Nanda 2024 explain noising and denoising, written out by hand: C = A AND B,
 * C = A OR B, and "Nobel Peace" -> "Prize". Page: docs/noising-and-denoising.md.
 *
 * A head finds its place by position: its score there is 100, and 0 elsewhere, which in float32 is all of its weight.
 */

import type { Model } from "../../src/model/model.js";
import { handMadeModel, type NeuronByHand } from "./model-by-hand.js";

const SCORE = 100;

/** Token ids of the gates: prompts are "a b =". */
export const [FALSE, TRUE, EQUALS] = [0, 1, 2];

/**
 * "a b =" -> c: at the end head 0 copies a from position 0 and head 1 copies b from position 1, and neuron 0 computes c of
 * the two. The logit difference true − false is c.
 * @param start what c is without the neuron
 */
function gateModel(name: string, start: number, neuron: NeuronByHand): Model {
  // Dimensions: is true, first position, second position, "=", a, b, c.
  return handMadeModel(name, {
    embedding: [
      [0, 0, 0, 0, 0, 0, 0], // false
      [1, 0, 0, 0, 0, 0, 0], // true
      [0, 0, 0, 1, 0, 0, start], // =
    ],
    positions: [
      [0, 1, 0, 0, 0, 0, 0],
      [0, 0, 1, 0, 0, 0, 0],
    ],
    layers: [
      {
        heads: [
          {
            q: [0, 0, 0, SCORE, 0, 0, 0],
            k: [0, 1, 0, 0, 0, 0, 0],
            v: [1, 0, 0, 0, 0, 0, 0],
            o: [0, 0, 0, 0, 1, 0, 0],
          },
          {
            q: [0, 0, 0, SCORE, 0, 0, 0],
            k: [0, 0, 1, 0, 0, 0, 0],
            v: [1, 0, 0, 0, 0, 0, 0],
            o: [0, 0, 0, 0, 0, 1, 0],
          },
        ],
        neurons: { 0: neuron },
      },
    ],
    unembedding: [
      [0, 0, 0, 0, 0, 0, -1 / 2], // false
      [0, 0, 0, 0, 0, 0, 1 / 2], // true
      [0, 0, 0, 0, 0, 0, 0],
    ],
  });
}

/** c = relu(a + b − 1) */
export function andModel(): Model {
  return gateModel("and", 0, {
    reads: [0, 0, 0, 0, 1, 1, 0],
    bias: -1,
    writes: [0, 0, 0, 0, 0, 0, 1],
  });
}

/** c = 1 − relu(1 − a − b) */
export function orModel(): Model {
  return gateModel("or", 1, {
    reads: [0, 0, 0, 0, -1, -1, 0],
    bias: 1,
    writes: [0, 0, 0, 0, 0, 0, -1],
  });
}

/** Token ids of the Nobel model. Oslo and Island are to it any other words. */
export const [NOBEL, PEACE, OSLO, ISLAND, PRIZE, TALKS] = [0, 1, 2, 3, 4, 5];

/**
 * "Nobel Peace" -> Prize: head 0 of layer 0 tells the second position that "Nobel" stands at the first one; neuron 42 of
 * layer 1 fires where it hears that and stands at "Peace". The logit difference Prize − Talks is what it puts out,
 * relu(2·nobel + 2·peace − 3). Layer 0 has no MLP, and layer 1 no attention.
 */
export function nobelModel(): Model {
  // Dimensions: is Nobel, is Peace, first position, second position, Nobel stands before, Prize.
  return handMadeModel("nobel peace prize", {
    embedding: [
      [1, 0, 0, 0, 0, 0], // Nobel
      [0, 1, 0, 0, 0, 0], // Peace
      [0, 0, 0, 0, 0, 0], // Oslo
      [0, 0, 0, 0, 0, 0], // Island
      [0, 0, 0, 0, 0, 0], // Prize
      [0, 0, 0, 0, 0, 0], // Talks
    ],
    positions: [
      [0, 0, 1, 0, 0, 0],
      [0, 0, 0, 1, 0, 0],
    ],
    layers: [
      {
        heads: [
          {
            q: [0, 0, 0, SCORE, 0, 0],
            k: [0, 0, 1, 0, 0, 0],
            v: [1, 0, 0, 0, 0, 0],
            o: [0, 0, 0, 0, 1, 0],
          },
        ],
      },
      { neurons: { 42: { reads: [0, 2, 0, 0, 2, 0], bias: -3, writes: [0, 0, 0, 0, 0, 1] } } },
    ],
    unembedding: [
      [0, 0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0, 1 / 2], // Prize
      [0, 0, 0, 0, 0, -1 / 2], // Talks
    ],
  });
}

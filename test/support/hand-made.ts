/**
 * @file Two models written out by hand: one with a saturated head, one with two paths that cancel. Page:
 * docs/why-atp-star.md.
 */

import type { Model } from "../../src/model/model.js";
import { handMadeModel, type LayerByHand } from "./model-by-hand.js";

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
    layers: [IDLE, { heads: [{ q: [0, score, 0], k: [1, 0, 0], v: [1, 0, 0], o: [0, 0, 1] }] }],
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
      { heads: [{ v: [1, 0], o: [0, 1] }] },
      { neurons: { 0: { reads: [0, 1], writes: [0, w] } } },
      ...Array.from({ length: idleLayers }, () => IDLE),
    ],
    unembedding: [
      [0, 1 / 2], // A
      [0, -1 / 2], // B
    ],
  });
}

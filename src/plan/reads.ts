/**
 * @file How much of the weights a run reads. The rule is that of `checkpoint/streaming.ts`: the first layers stay once they
 * were read, of the others one is held, until another one is asked for.
 */

import type { WeightsFootprint } from "../checkpoint/footprint.js";

export interface Reads {
  /** Layers, each as often as it is read. */
  readonly layers: number;
  /** From disk: layers and whole unembeddings, without the few rows of tokens. */
  readonly bytes: number;
}

/** Counts reads of layers in the order in which they are asked for. */
export class LayerReads {
  #reads: Reads = { layers: 0, bytes: 0 };
  readonly #footprint: WeightsFootprint;
  readonly #residentLayers: number;
  readonly #resident = new Set<number>();
  #held: number | undefined;

  constructor(footprint: WeightsFootprint, residentLayers: number) {
    this.#footprint = footprint;
    this.#residentLayers = residentLayers;
  }

  /** What was read since the last call: a stage's reads. What stays in memory was read by an earlier one. */
  take(): Reads {
    const reads = this.#reads;
    this.#reads = { layers: 0, bytes: 0 };
    return reads;
  }

  /** Layers asked for one after the other. */
  visit(layers: Iterable<number>): void {
    for (const layer of layers) {
      if (layer === this.#held || this.#resident.has(layer)) continue;
      if (layer < this.#residentLayers) {
        this.#resident.add(layer);
        this.#held = undefined;
      } else {
        this.#held = layer;
      }
      this.#add(layer, 1);
    }
  }

  /** So many waves from a layer to the last one: at most, as if nothing were held. */
  visitFrom(first: number, waves: number): void {
    if (waves === 0) return;
    const { layers } = this.#footprint;
    this.visit(Array.from({ length: layers - first }, (_, at) => first + at));
    for (let layer = Math.max(first, this.#residentLayers); layer < layers; layer++)
      this.#add(layer, waves - 1);
  }

  /** A batch of pairs whose metrics need the whole unembedding. */
  readUnembedding(): void {
    const { layers, bytes } = this.#reads;
    this.#reads = { layers, bytes: bytes + this.#footprint.unembeddingBytesOnDisk };
  }

  #add(layer: number, times: number): void {
    const { layers, bytes } = this.#reads;
    this.#reads = {
      layers: layers + times,
      bytes: bytes + times * this.#footprint.layerBytesOnDisk[layer],
    };
  }
}

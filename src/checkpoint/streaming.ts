/**
 * @file Weights of a model that is larger than memory. A layer is read and turned into float32 in a thread of its own while
 * the layer before it computes; a released layer stays until another one is asked for, so that the turn from a forward to
 * a backward pass reads nothing, and is disposed before the next one's tensors are made.
 *
 * Two buffers take turns where the engine computes in the memory that weights are read into (see `shared-buffer.ts`): one
 * holds the layer in use, the other one is being filled. An engine with a heap of its own copies each layer, and one buffer
 * does. Either way two layers are in memory, and those that are kept, each in a buffer of its own.
 */

import * as tf from "@tensorflow/tfjs-core";
import { InputError } from "../errors.js";
import type { BlockWeights, NormWeights, ReadingStats, WeightsProvider } from "../model/weights.js";
import { makeBlock } from "./canonical-weights.js";
import type { Checkpoint, StoredRows } from "./checkpoint.js";
import { checkLayer, disposedModel } from "./provider.js";
import { ReadingThreads } from "./reading-threads.js";
import {
  type BufferLayout,
  engineCopiesValues,
  layoutOf,
  makeSharedBuffer,
  valuesIn,
} from "./shared-buffer.js";
import type { StoredSlice } from "./stored-slice.js";
import { bytesOf } from "./stored-types.js";
import { type Plan, sourcesOf, type TensorSource } from "./weight-plan.js";

export interface StreamingOptions {
  /** Layers 0 … n − 1 stay in memory once they were read; `residentLayersWithin` says how many fit. */
  readonly residentLayers: number;
}

/** One layer as it is stored and as it lies in a buffer. */
interface LayerPlan {
  readonly block: Plan<BlockWeights>;
  readonly layout: BufferLayout;
  readonly slices: readonly StoredSlice[];
  readonly bytesOnDisk: number;
}

/** A layer that is in memory. */
interface HeldLayer {
  readonly weights: BlockWeights;
  /** The memory that it lies in; absent where the engine has copied it. */
  readonly buffer?: SharedArrayBuffer;
  /** How often it was asked for and not released. */
  uses: number;
}

/** A layer on its way. */
interface Arrival {
  readonly layer: number;
  readonly buffer: SharedArrayBuffer;
  readonly done: Promise<void>;
}

/** The unembedding's matrix: on its way, or there. */
interface WholeUnembedding {
  readonly reading: Promise<tf.Tensor2D>;
  rows?: tf.Tensor2D;
  uses: number;
}

/**
 * Streams the weights of an open checkpoint, which must stay open until `onEnd`.
 * @param onEnd called when the provider was disposed and reads no more; what it throws is lost
 * @throws InputError for a number of layers to keep that is not 0 or a positive integer; RunError when a file ends early
 */
export async function streamWeights(
  checkpoint: Checkpoint,
  { residentLayers }: StreamingOptions,
  onEnd: () => void | Promise<void>,
): Promise<WeightsProvider> {
  if (!Number.isInteger(residentLayers) || residentLayers < 0) {
    throw new InputError(
      `streamWeights: expected residentLayers to be 0 or a positive integer, got ${residentLayers}`,
    );
  }
  const layers = Array.from({ length: checkpoint.config.layers }, (_, l) => {
    const block = checkpoint.plan.layer(l);
    return { block, ...orderOf(checkpoint, sourcesOf(block)) };
  });
  const norm = await checkpoint.readFinalNorm();
  let positions: tf.Tensor2D | undefined;
  try {
    positions = await checkpoint.readPositions();
    return new StreamedWeights(checkpoint, layers, residentLayers, { norm, positions }, onEnd);
  } catch (error) {
    tf.dispose({ ...norm });
    positions?.dispose();
    throw error;
  }
}

interface SmallParts {
  readonly norm: NormWeights;
  readonly positions: tf.Tensor2D | undefined;
}

class StreamedWeights implements WeightsProvider {
  readonly #threads = new ReadingThreads();
  readonly #copied = engineCopiesValues();
  readonly #held = new Map<number, HeldLayer>();
  /** Buffers that layers take turns in, and how many there are of them, the ones in use included. */
  readonly #free: SharedArrayBuffer[] = [];
  #turning = 0;
  #ahead: Arrival | undefined;
  /** The last call to `layer`: calls wait for each other. */
  #last: Promise<unknown> = Promise.resolve();
  #unembedding: WholeUnembedding | undefined;
  #unembeddingBuffer: SharedArrayBuffer | undefined;
  #disposed = false;
  #layersRead = 0;
  #bytesRead = 0;
  #waited = 0;

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly layers: readonly LayerPlan[],
    private readonly residentLayers: number,
    private readonly small: SmallParts,
    private readonly onEnd: () => void | Promise<void>,
  ) {}

  async tokenRows(ids: readonly number[]): Promise<tf.Tensor2D> {
    return this.#rows(this.#alive().checkpoint.readTokenRows(ids));
  }

  async positions(): Promise<tf.Tensor2D | undefined> {
    return this.#alive().small.positions;
  }

  async finalNorm(): Promise<NormWeights> {
    return this.#alive().small.norm;
  }

  async unembeddingRows(ids: readonly number[]): Promise<tf.Tensor2D> {
    return this.#rows(this.#alive().checkpoint.readUnembeddingRows(ids));
  }

  layer(l: number, next?: number): Promise<BlockWeights> {
    const turn = this.#last.then(async () => {
      this.#alive();
      checkLayer(l, this.layers.length);
      const held = this.#held.get(l) ?? (await this.#take(l));
      held.uses++;
      this.#readAhead(next);
      return held.weights;
    });
    this.#last = turn.catch(() => {});
    return turn;
  }

  release(l: number): void {
    const held = this.#held.get(l);
    if (held) held.uses--;
  }

  async unembedding(): Promise<tf.Tensor2D> {
    this.#alive();
    this.#unembedding ??= { reading: this.#readUnembedding(), uses: 0 };
    const whole = this.#unembedding;
    whole.uses++;
    try {
      whole.rows = await whole.reading;
      return whole.rows;
    } catch (error) {
      if (this.#unembedding === whole) this.#unembedding = undefined;
      throw error;
    }
  }

  releaseUnembedding(): void {
    const whole = this.#unembedding;
    if (!whole || --whole.uses > 0) return;
    whole.rows?.dispose();
    this.#unembedding = undefined;
  }

  stats(): ReadingStats {
    return { layersRead: this.#layersRead, bytesRead: this.#bytesRead, waited: this.#waited };
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const { weights } of this.#held.values()) tf.dispose(weights);
    this.#held.clear();
    this.#unembedding?.rows?.dispose();
    tf.dispose({ ...this.small.norm });
    this.small.positions?.dispose();
    // Nothing was written: files that cannot be closed change no result, and there is nobody left to tell.
    this.#threads
      .close()
      .then(this.onEnd)
      .catch(() => {});
  }

  #alive(): this {
    if (this.#disposed) throw disposedModel();
    return this;
  }

  async #rows(reading: Promise<StoredRows>): Promise<tf.Tensor2D> {
    const { rows, bytes } = await reading;
    this.#bytesRead += bytes;
    return rows;
  }

  /** Puts a layer into memory that is not there. */
  async #take(l: number): Promise<HeldLayer> {
    this.#disposeReleased();
    const arrival = this.#ahead?.layer === l ? this.#ahead : this.#order(l, this.#bufferFor(l));
    if (arrival === this.#ahead) this.#ahead = undefined;
    try {
      await this.#waitFor(arrival.done);
      const { block, layout } = this.layers[l];
      const weights = tf.tidy(() => makeBlock(block, valuesIn(arrival.buffer, layout)));
      const held: HeldLayer = { weights, uses: 0, ...(!this.#copied && { buffer: arrival.buffer }) };
      this.#held.set(l, held);
      if (this.#copied) this.#giveBack(arrival);
      return held;
    } catch (error) {
      this.#giveBack(arrival);
      throw error;
    }
  }

  #disposeReleased(): void {
    for (const [layer, { weights, buffer, uses }] of this.#held) {
      if (uses > 0 || layer < this.residentLayers) continue;
      tf.dispose(weights);
      this.#held.delete(layer);
      if (buffer) this.#giveBack({ layer, buffer });
    }
  }

  /** Begins to read a layer that is likely to be asked for, if there is a buffer for it. */
  #readAhead(next: number | undefined): void {
    if (next === undefined || this.layers[next] === undefined) return;
    if (this.#held.has(next) || this.#ahead?.layer === next) return;
    this.#forgetAhead();
    const canTurn = this.#free.length > 0 || this.#turning < this.#turns();
    if (this.#hasOwnBuffer(next) || canTurn) this.#ahead = this.#order(next, this.#bufferFor(next));
  }

  /** Its buffer can be filled anew at once: the thread does one order after another. */
  #forgetAhead(): void {
    if (this.#ahead) this.#giveBack(this.#ahead);
    this.#ahead = undefined;
  }

  #order(layer: number, buffer: SharedArrayBuffer): Arrival {
    const { slices, bytesOnDisk } = this.layers[layer];
    const done = this.#threads.read({ slices, buffer }).then(() => {
      this.#layersRead++;
      this.#bytesRead += bytesOnDisk;
    });
    // Whoever waits for it hears of an error; what was read ahead for nothing may fail unheard.
    done.catch(() => {});
    return { layer, buffer, done };
  }

  #turns(): number {
    return this.#copied ? 1 : 2;
  }

  /** A layer that stays, and is computed with where it lies, takes no turns. */
  #hasOwnBuffer(layer: number): boolean {
    return !this.#copied && layer < this.residentLayers;
  }

  /** Memory that a layer is read into. A caller who holds several layers at a time makes more buffers than there should be. */
  #bufferFor(layer: number): SharedArrayBuffer {
    if (this.#hasOwnBuffer(layer)) return makeSharedBuffer(this.layers[layer].layout.bytes);
    if (this.#free.length === 0 && this.#turning >= this.#turns()) this.#forgetAhead();
    const free = this.#free.pop();
    if (free) return free;
    this.#turning++;
    return makeSharedBuffer(Math.max(...this.layers.map(({ layout }) => layout.bytes)));
  }

  #giveBack({ layer, buffer }: Pick<Arrival, "layer" | "buffer">): void {
    if (this.#hasOwnBuffer(layer)) return;
    if (this.#turning > this.#turns()) this.#turning--;
    else this.#free.push(buffer);
  }

  async #readUnembedding(): Promise<tf.Tensor2D> {
    const { rows } = this.checkpoint.plan.unembedding;
    const { layout, slices, bytesOnDisk } = orderOf(this.checkpoint, [rows]);
    // Kept for the next time: what is left to the garbage collector is there for a while beside its successor.
    this.#unembeddingBuffer ??= makeSharedBuffer(layout.bytes);
    const buffer = this.#unembeddingBuffer;
    await this.#waitFor(this.#threads.read({ slices, buffer }));
    this.#bytesRead += bytesOnDisk;
    return valuesIn(buffer, layout).matrix(rows);
  }

  async #waitFor(reading: Promise<void>): Promise<void> {
    const start = performance.now();
    try {
      await reading;
    } catch (error) {
      throw this.#disposed ? disposedModel() : error;
    } finally {
      this.#waited += (performance.now() - start) / 1000;
    }
    this.#alive();
  }
}

/** What the reading thread is told to read some weights. */
function orderOf(checkpoint: Checkpoint, sources: readonly TensorSource[]): Omit<LayerPlan, "block"> {
  const layout = layoutOf(sources);
  const slices = [...layout.offsets].flatMap(([source, offset]) => slicesOf(checkpoint, source, offset));
  const bytesOnDisk = slices.reduce(
    (bytes, { dtype, runs }) => bytes + bytesOf(dtype, runs.count * runs.length),
    0,
  );
  return { layout, slices, bytesOnDisk };
}

/** The pieces of a weight, which goes to `offset` and on. */
function slicesOf(checkpoint: Checkpoint, source: TensorSource, offset: number): StoredSlice[] {
  const place = checkpoint.place(source);
  let to = offset;
  return source.runs.map((runs) => {
    const slice = { ...place, runs, offset: to };
    to += runs.count * runs.length;
    return slice;
  });
}

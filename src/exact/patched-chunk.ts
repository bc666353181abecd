/** @file Patched runs that start at the same layer and position, on their way up through the layers together. */

import * as tf from "@tensorflow/tfjs-core";
import { type BlockContext, disposeBlockContext, type Edit, makeBlockContext } from "../model/block.js";
import { type Climber, StreamRun } from "../model/climb.js";
import type { Model } from "../model/model.js";
import { readout } from "../model/transformer.js";
import type { BlockWeights } from "../model/weights.js";
import type { NodeSpace } from "../nodes/node-space.js";
import { InternalReader } from "../prompts/metrics/internal-reader.js";
import type { BaseAndSource } from "./base-and-source.js";
import type { MetricsOfBatch, MetricsOfSets } from "./metrics-of-sets.js";
import { patchEdit } from "./patch-masks.js";
import type { PatchedRun } from "./plan.js";

/** What all patched runs of a batch of pairs work with. */
export interface PatchedBatch {
  readonly model: Model;
  readonly space: NodeSpace;
  /** Token length. */
  readonly T: number;
  readonly metrics: MetricsOfSets;
  readonly runs: BaseAndSource;
  readonly values: MetricsOfBatch;
}

/** What a chunk has once it has left the base run. */
interface UnderWay {
  readonly run: StreamRun;
  readonly context: BlockContext;
  /** The pair of each run, [R]. */
  readonly rows: tf.Tensor1D;
}

/** Makes its stream when it comes to its first layer. */
export class PatchedChunk implements Climber {
  readonly from: number;
  readonly runs: readonly PatchedRun[];
  readonly #batch: PatchedBatch;
  readonly #reader: InternalReader;
  readonly #pairOfRow: readonly number[];
  #underWay: UnderWay | undefined;

  /** @param runs all of them start at the same layer and position */
  constructor(batch: PatchedBatch, runs: readonly PatchedRun[]) {
    this.from = runs[0].layer;
    this.runs = runs;
    this.#batch = batch;
    this.#pairOfRow = runs.map(({ pairIndex }) => pairIndex);
    this.#reader = new InternalReader(
      batch.metrics.internal,
      runs.map(({ pair }) => pair),
    );
  }

  through(block: BlockWeights, layer: number): void {
    this.#underWay ??= this.#setOut();
    this.#underWay.run.through(block, layer);
  }

  #setOut(): UnderWay {
    const { model, T, runs } = this.#batch;
    const [{ layer, position }] = this.runs;
    const residual = runs.baseResiduals.get(layer);
    if (!residual) throw new Error(`setOut: expected the base residual of layer ${layer}, got none`);
    const rows = tf.tensor1d(Int32Array.from(this.#pairOfRow), "int32");
    const context = makeBlockContext(model.config, T, position);
    const stream: tf.Tensor3D = tf.tidy(() => tf.gather(tf.slice(residual, [0, position, 0]), rows));
    const run = new StreamRun(context, stream, {
      from: layer,
      editOf: (at) => this.#editOf(at),
      ...(position > 0 && { past: (at) => runs.baseKeysAndValues.before(position, at, rows) }),
    });
    return { run, context, rows };
  }

  #editOf(at: number): Edit {
    const { space, T, runs } = this.#batch;
    const covered = { from: this.runs[0].position, T };
    const patch = patchEdit(space, at, this.runs, covered, runs.sourceValues);
    return (point, layer, value) => {
      const patched = patch(point, layer, value);
      this.#reader.see(point, layer, patched);
      return patched;
    };
  }

  /** Every metric of each run, once they have arrived. */
  async read(): Promise<Float32Array[]> {
    const { metrics, values } = this.#batch;
    return metrics.values(this.runs, values, this.#reader, await this.#outputs());
  }

  /** Metrics of the logits, none where only internal ones are asked for. */
  async #outputs(): Promise<Float32Array[]> {
    const { model, values } = this.#batch;
    if (!this.#underWay || values.outputs.length === 0) return [];
    const [{ position }] = this.runs;
    // A run that begins behind a pair's metric position changes no output metric of the pair.
    const positions = this.runs.map(({ pair }) => Math.max(0, pair.metricPosition - position));
    const { final, saved } = await readout(model, this.#underWay.run.stream, positions);
    try {
      return values.outputs.map(({ metric }) => metric.read(final, this.#pairOfRow));
    } finally {
      tf.dispose([final, saved]);
    }
  }

  dispose(): void {
    if (!this.#underWay) return;
    const { run, context, rows } = this.#underWay;
    run.dispose();
    rows.dispose();
    disposeBlockContext(context);
  }
}

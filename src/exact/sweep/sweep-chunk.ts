/** @file Runs of a sweep on their way up through the layers together, each setting out where its node is. */

import * as tf from "@tensorflow/tfjs-core";
import type { Climber } from "../../model/climb.js";
import type { Model } from "../../model/model.js";
import { readout } from "../../model/transformer.js";
import type { BlockWeights } from "../../model/weights.js";
import type { NodeGroup } from "../../nodes/node-space.js";
import { type Flight, joinFlights } from "./flight.js";
import { type ChunkContext, throughLayer } from "./layer-step.js";
import type { SweepRun } from "./plan.js";
import { type Joint, jointOf, startOf } from "./starts.js";

export class SweepChunk implements Climber {
  readonly from: number;
  readonly #context: ChunkContext;
  readonly #runs: readonly SweepRun[];
  #flight: Flight | undefined;

  /** @param runs in order of their layers; at least one */
  constructor(context: ChunkContext, runs: readonly SweepRun[]) {
    this.from = runs[0].group.layer;
    this.#context = context;
    this.#runs = runs;
  }

  through(block: BlockWeights, layer: number): void {
    const setOut = byGroup(this.#runs.filter(({ group }) => group.layer === layer));
    const next = inTidy(() => stepOf(this.#context, block, layer, this.#flight, setOut));
    this.#flight?.stream.dispose();
    this.#flight = next;
  }

  /**
   * The final norm of the runs, once they have arrived.
   * @returns `final` where each run's metric is read, [R, D], owned by the caller; and the runs in the order of its rows
   */
  async final(model: Model): Promise<{ order: readonly SweepRun[]; final: tf.Tensor2D }> {
    if (!this.#flight) throw new Error("final: expected runs that have arrived, got none");
    const { runs: order, stream } = this.#flight;
    const last: tf.Tensor3D = tf.reshape(stream, [order.length, 1, model.config.width]);
    try {
      const { final, saved } = await readout(
        model,
        last,
        order.map(() => 0),
      );
      tf.dispose(saved);
      return { order, final };
    } finally {
      last.dispose();
    }
  }

  dispose(): void {
    this.#flight?.stream.dispose();
  }
}

/** One layer: those that are under way, and those that set out in it. */
function stepOf(
  chunk: ChunkContext,
  block: BlockWeights,
  layer: number,
  underWay: Flight | undefined,
  setOut: readonly (readonly SweepRun[])[],
): Flight | undefined {
  const { parallelResidual } = chunk.block.config;
  const starts = setOut.map((runs) => ({
    joint: jointOf(runs[0].group.site, parallelResidual),
    flight: startOf(chunk, block, runs),
  }));
  const at = (joint: Joint) => starts.filter((start) => start.joint === joint).map(({ flight }) => flight);
  const entering = joinFlights([underWay, ...at("before")]);
  const through = throughLayer(chunk, block, layer, entering, joinFlights(at("middle")));
  return joinFlights([through, ...at("behind")]);
}

function byGroup(runs: readonly SweepRun[]): SweepRun[][] {
  const groups = new Map<NodeGroup, SweepRun[]>();
  for (const run of runs) {
    const same = groups.get(run.group);
    if (same) same.push(run);
    else groups.set(run.group, [run]);
  }
  return [...groups.values()];
}

/** A tidy around a flight. Its runs are kept from `tf.tidy`, which would search them for tensors. */
function inTidy(work: () => Flight | undefined): Flight | undefined {
  let flight: Flight | undefined;
  const stream = tf.tidy(() => {
    flight = work();
    return flight?.stream ?? [];
  });
  return flight && !Array.isArray(stream) ? { ...flight, stream } : undefined;
}

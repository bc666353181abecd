/** @file Patched runs on their way up through the layers. */

import * as tf from "@tensorflow/tfjs-core";
import type { SweepRun } from "./plan.js";
import { joinTokens, type Tokens } from "./tokens.js";

/** Runs between two layers, or between the attention and the MLP of one. */
export interface Flight {
  readonly runs: readonly SweepRun[];
  /** Where the residual stream of each run is not that of the base run; in order of the runs. */
  readonly tokens: Tokens;
  /** The residual stream there, [N, D]. */
  readonly stream: tf.Tensor2D;
}

/**
 * All runs of several flights, in their order.
 * @returns undefined for none; otherwise its stream is a new tensor, owned by the caller
 */
export function joinFlights(parts: readonly (Flight | undefined)[]): Flight | undefined {
  const flights = parts.filter((part) => part !== undefined);
  if (flights.length === 0) return undefined;
  const streams = flights.map(({ stream }) => stream);
  return {
    runs: flights.flatMap(({ runs }) => runs),
    tokens: joinTokens(flights.map(({ tokens }) => tokens)),
    stream: flights.length === 1 ? tf.clone(streams[0]) : tf.concat(streams, 0),
  };
}

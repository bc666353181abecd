/**
 * @file Where runs leave the base run, and their residual stream there. No block is run for it: a patched node changes the
 * stream by what it writes, known from the base run's values and a slice of the matrix behind it.
 *
 *   residPre                 the source's stream, before the layer
 *   q, k, v, z               base + change of the heads' outputs · slice of W_O, behind the attention
 *   attnOut                  base + source − base, behind the attention
 *   residMid                 the source's stream, behind the attention
 *   neuron                   base + (source − base) · row of W_out, behind the layer
 *   mlpOut, residPost        likewise
 *
 * In a parallel block nothing reads the stream behind the attention: there runs go on behind the layer.
 */

import * as tf from "@tensorflow/tfjs-core";
import type { Site } from "../../model/sites.js";
import type { BlockWeights, Linear } from "../../model/weights.js";
import type { Flight } from "./flight.js";
import { headStart } from "./head-starts.js";
import { type ChunkContext, wantedSpan } from "./layer-step.js";
import type { SweepRun } from "./plan.js";
import { tableOf, take } from "./rows.js";
import { perToken, rowsInBase, type Tokens, tokensOf } from "./tokens.js";

/** Before a layer, between its attention and its MLP, or behind it. */
export type Joint = "before" | "middle" | "behind";

/** Where runs patched at a site of a layer set out. */
export function jointOf(site: Site, parallelResidual: boolean): Joint {
  if (site === "residPre") return "before";
  if (site === "neuron" || site === "mlpOut" || site === "residPost") return "behind";
  return parallelResidual ? "behind" : "middle";
}

/**
 * The stream of runs where they set out. To be called inside a tidy.
 * @param runs of one group
 */
export function startOf(chunk: ChunkContext, weights: BlockWeights, runs: readonly SweepRun[]): Flight {
  const { config } = chunk.block;
  const { base, source } = chunk.recorded;
  const [{ group }] = runs;
  const { site, layer } = group;
  const rows = (tokens: Tokens) =>
    rowsInBase(tokens, { pairOfRun: runs.map(({ pairIndex }) => pairIndex), T: chunk.T });
  const flight = (tokens: Tokens, stream: tf.Tensor): Flight => ({
    runs,
    tokens,
    stream: stream as tf.Tensor2D,
  });
  const stream = jointOf(site, config.parallelResidual) === "middle" ? "residMid" : "residPost";
  const changed = (tokens: Tokens, change: tf.Tensor) =>
    flight(tokens, tf.add(take(tableOf(base.at(stream, layer)), rows(tokens)), change));

  const patched = tokensOf(
    runs.map(({ span, metricPosition }) =>
      site === "residPre"
        ? span
        : { first: wantedSpan(config, layer, span.first, metricPosition).first, end: span.end },
    ),
  );
  switch (site) {
    case "residPre":
    case "residMid":
    case "residPost":
      return flight(patched, take(tableOf(source.at(site, layer)), rows(patched)));
    case "attnOut":
    case "mlpOut": {
      const [to, of] = [source, base].map((values) => take(tableOf(values.at(site, layer)), rows(patched)));
      return changed(patched, tf.sub(to, of));
    }
    case "neuron": {
      const F = config.mlpWidth;
      const inBase = rows(patched);
      const index = perToken(patched, (run) => runs[run].index);
      const cells = inBase.map((row, n) => row * F + index[n]);
      const [to, of] = [source, base].map((values) => take(tf.reshape(values.at(site, layer), [-1]), cells));
      const change = tf.mul(tf.reshape(tf.sub(to, of), [-1, 1]), inputRows(weights.mlpOut, index));
      return changed(patched, change);
    }
    default: {
      const { tokens, change } = headStart(chunk, weights, runs);
      return changed(tokens, change);
    }
  }
}

/** What single inputs of a linear map write: [inputs, out]. */
function inputRows({ weight, layout }: Linear, inputs: Int32Array): tf.Tensor2D {
  if (layout === "in-out") return take(weight, inputs);
  return tf.transpose(tf.gather(weight, tf.tensor1d(inputs, "int32"), 1)) as tf.Tensor2D;
}

/**
 * @file One unedited block over runs that differ from the base run at some of their positions only.
 *
 *   keys, values      computed where the stream differs; the base run's before and behind
 *   queries           of the positions that are wanted above: in the last layer the one that the metric reads
 *   all else          at the wanted positions only
 *
 * The matrices multiply flat lists of tokens, of runs that started anywhere; the attention alone runs on rectangles.
 */

import * as tf from "@tensorflow/tfjs-core";
import type { BlockContext } from "../../model/block.js";
import type { ModelConfig } from "../../model/config.js";
import { tokenFlops } from "../../model/flops.js";
import { attend, attentionPattern, attentionScores } from "../../model/ops/attention.js";
import { linear } from "../../model/ops/linear.js";
import { neurons } from "../../model/ops/mlp.js";
import { norm } from "../../model/ops/norm.js";
import { rotate } from "../../model/ops/rotary.js";
import type { BlockWeights } from "../../model/weights.js";
import { type Flight, joinFlights } from "./flight.js";
import type { SweepRun } from "./plan.js";
import type { RecordedPairs } from "./recorded.js";
import { tableOf, take } from "./rows.js";
import {
  commonTokens,
  perToken,
  type Rows,
  rowsBehindBase,
  rowsWithin,
  sameTokens,
  type Tokens,
  tokensOf,
} from "./tokens.js";

/** What every layer of a chunk works with. */
export interface ChunkContext {
  /** Of whole prompts. */
  readonly block: BlockContext;
  readonly recorded: RecordedPairs;
  /** Tokens of a prompt. */
  readonly T: number;
  /** Pairs of the batch. */
  readonly B: number;
  /** Told the FLOPs of what is run. */
  readonly count: (flops: number) => void;
}

/** Positions of a run that the layers above `layer`, or the metric, look at, from `first` on. */
export function wantedSpan({ layers }: ModelConfig, layer: number, first: number, metricPosition: number) {
  return { first: layer === layers - 1 ? metricPosition : first, end: metricPosition + 1 };
}

function rowsOf(runs: readonly SweepRun[], { B, T }: ChunkContext): Rows {
  return { pairOfRun: runs.map(({ pairIndex }) => pairIndex), baseRows: B * T, T };
}

/**
 * Takes runs through a layer. To be called inside a tidy.
 * @param entering runs whose stream at residPre is not the base run's
 * @param joining runs that leave the base run behind this layer's attention: their stream at residMid
 * @returns all of them at residPost
 */
export function throughLayer(
  chunk: ChunkContext,
  weights: BlockWeights,
  layer: number,
  entering: Flight | undefined,
  joining: Flight | undefined,
): Flight | undefined {
  const { config } = chunk.block;
  const attended = entering && throughAttention(chunk, weights, layer, entering);
  const middle = joinFlights([attended?.middle, joining]);
  if (!middle) return undefined;
  // In a parallel block nobody joins behind the attention, and the MLP reads what the attention read.
  const read = config.parallelResidual && attended ? attended.read : middle.stream;
  const normed = norm(config.norm, config.normEps, weights.mlpNorm, read).y;
  const { neuron } = neurons(config.activation, weights, normed);
  const stream = tf.add(middle.stream, linear(neuron, weights.mlpOut)) as tf.Tensor2D;
  chunk.count(middle.tokens.count * tokenFlops(config).mlp);
  return { ...middle, stream };
}

/** The stream behind the attention, and the one that it read, both at the positions wanted above. */
function throughAttention(
  chunk: ChunkContext,
  weights: BlockWeights,
  layer: number,
  { runs, tokens, stream }: Flight,
): { middle: Flight; read: tf.Tensor2D } {
  const { config } = chunk.block;
  const { base } = chunk.recorded;
  const rows = rowsOf(runs, chunk);
  const wanted = tokensOf(
    tokens.spans.map(({ first }, r) => wantedSpan(config, layer, first, runs[r].metricPosition)),
  );
  const normed = norm(config.norm, config.normEps, weights.attnNorm, stream).y as tf.Tensor2D;
  const z = headOutputs(chunk, weights, layer, { rows, tokens, wanted, normed });
  const read = sameTokens(wanted, tokens)
    ? stream
    : behindBase(base.at("residPre", layer), stream, rowsBehindBase(wanted, tokens, rows));
  const middle = { runs, tokens: wanted, stream: tf.add(read, linear(z, weights.o)) as tf.Tensor2D };
  chunk.count(wanted.count * tokenFlops(config).output);
  return { middle, read };
}

/** Rows of a table of the base run with a list of own rows behind it. */
function behindBase(base: tf.Tensor, own: tf.Tensor2D | undefined, rows: Int32Array): tf.Tensor2D {
  const table = tableOf(base);
  return take(own ? tf.concat([table, own], 0) : table, rows);
}

interface Attending {
  readonly rows: Rows;
  /** Where the stream is not the base run's. */
  readonly tokens: Tokens;
  readonly wanted: Tokens;
  /** The normed stream at `tokens`, [N, D]. */
  readonly normed: tf.Tensor2D;
}

/** Outputs of all heads at the wanted tokens, [N, H·h]. */
function headOutputs(
  chunk: ChunkContext,
  weights: BlockWeights,
  layer: number,
  { rows, tokens, wanted, normed }: Attending,
): tf.Tensor2D {
  const { config, mask } = chunk.block;
  const { heads: H, kvHeads: K, headWidth: h } = config;
  const { base } = chunk.recorded;
  const R = rows.pairOfRun.length;
  // A rectangle over all runs: positions `from` … `end` − 1 ask, those before `end` are looked at.
  const from = wanted.spans.reduce((lowest, { first }) => Math.min(lowest, first), Number.POSITIVE_INFINITY);
  const end = wanted.spans.reduce((highest, span) => Math.max(highest, span.end), 0);
  const every = (span: { first: number; end: number }) => tokensOf(wanted.spans.map(() => span));
  const [asking, seen] = [every({ first: from, end }), every({ first: 0, end })];
  const rectangle = (table: tf.Tensor2D, width: number, n: number) =>
    tf.transpose(tf.reshape(table, [R, width, n, h]), [0, 2, 1, 3]) as tf.Tensor4D;

  const seenRows = rowsBehindBase(seen, tokens, rows);
  const positions = perToken(tokens, (_run, t) => t);
  const newKeys = headVectors(chunk, linear(normed, weights.k), K, positions, weights.kNorm);
  const keys = rectangle(behindBase(base.at("k", layer), newKeys, seenRows), end, K);
  const newValues = linear(normed, weights.v) as tf.Tensor2D;
  const values = rectangle(behindBase(base.at("v", layer), newValues, seenRows), end, K);

  const changed = commonTokens(wanted, tokens);
  const newQueries = changedQueries(chunk, weights, { tokens, normed }, changed);
  const askingRows = rowsBehindBase(asking, changed, rows);
  const queries = rectangle(behindBase(base.at("q", layer), newQueries, askingRows), end - from, H);

  const visible = tf.slice(mask, [from, 0], [end - from, end]);
  const pattern = attentionPattern(attentionScores(queries, keys), visible);
  const z: tf.Tensor2D = tf.reshape(tf.transpose(attend(pattern, values), [0, 2, 1, 3]), [
    asking.count,
    H * h,
  ]);
  const { query, keyValue, perKey } = tokenFlops(config);
  chunk.count(tokens.count * keyValue + changed.count * query + asking.count * end * perKey);
  return sameTokens(asking, wanted) ? z : take(z, rowsWithin(wanted, asking));
}

/** Queries at some of the tokens where the stream is not the base run's; none where the metric's position is not among them. */
function changedQueries(
  chunk: ChunkContext,
  weights: BlockWeights,
  { tokens, normed }: Pick<Attending, "tokens" | "normed">,
  changed: Tokens,
): tf.Tensor2D | undefined {
  if (changed.count === 0) return undefined;
  const reading = sameTokens(changed, tokens) ? normed : take(normed, rowsWithin(changed, tokens));
  const positions = perToken(changed, (_run, t) => t);
  return headVectors(chunk, linear(reading, weights.q), chunk.block.config.heads, positions, weights.qNorm);
}

/** Queries or keys as they enter the dot product, from their projection [N, n·h]: head norm, then rotary embedding. */
function headVectors(
  { block: { config, rotary } }: ChunkContext,
  projected: tf.Tensor,
  n: number,
  positions: Int32Array,
  scale?: tf.Tensor1D,
): tf.Tensor2D {
  const { headWidth: h, normEps } = config;
  const N = positions.length;
  const split = tf.reshape(projected, [N, n, h]);
  const normed = scale ? norm("rms", normEps, { scale }, split).y : split;
  if (!rotary) return tf.reshape(normed, [N, n * h]);
  const at = (table: tf.Tensor) => tf.reshape(take(table, positions), [N, 1, h]);
  const turned = rotate({ ...rotary, cos: at(rotary.cos), sin: at(rotary.sin) }, normed);
  return tf.reshape(turned, [N, n * h]);
}

/**
 * @file How the outputs of heads change where one query, key or value of a layer is patched, and what that adds to the
 * residual stream: the heads' slices of W_O, nothing else of the block.
 *
 *   query of head i at t     row t of head i is computed anew
 *   key, value of a kv-head  rows of its query heads from there on are
 */

import * as tf from "@tensorflow/tfjs-core";
import { batchedProduct } from "../../engine/matmul.js";
import type { ModelConfig } from "../../model/config.js";
import { linear } from "../../model/ops/linear.js";
import type { BlockWeights } from "../../model/weights.js";
import { type ChunkContext, wantedSpan } from "./layer-step.js";
import type { SweepRun } from "./plan.js";
import { take } from "./rows.js";
import { perToken, type Tokens, tokensOf } from "./tokens.js";

/** Where the stream changes, and by how much. */
export interface StreamChange {
  readonly tokens: Tokens;
  /** [N, D] */
  readonly change: tf.Tensor2D;
}

/** Changes of head outputs of one start: [N, heads that change, h], and the place of the first of these heads in a row of H. */
interface HeadChange {
  readonly tokens: Tokens;
  readonly change: tf.Tensor3D;
  readonly firstHead: readonly number[];
}

/**
 * What patching `q`, `k`, `v` or `z` nodes of one group adds to the residual stream. To be called inside a tidy.
 * @param runs of one group
 */
export function headStart(
  chunk: ChunkContext,
  weights: BlockWeights,
  runs: readonly SweepRun[],
): StreamChange {
  const [{ group }] = runs;
  const { config } = chunk.block;
  const parts =
    group.site === "z"
      ? [outputChange(chunk, runs)]
      : sameShape(runs).map((part) =>
          group.site === "q" ? queryChange(chunk, part) : keyOrValueChange(chunk, part),
        );
  const slots = parts.map((part) => inSlots(config, part));
  const { weight, layout } = weights.o;
  const change = linear(slots.length === 1 ? slots[0] : tf.concat(slots, 0), { weight, layout });
  const tokens = tokensOf(parts.flatMap((part) => part.tokens.spans));
  chunk.count(2 * tokens.count * config.heads * config.headWidth * config.width);
  return { tokens, change: change as tf.Tensor2D };
}

/** Neighbouring runs that patch the same positions and are read at the same one. */
function sameShape(runs: readonly SweepRun[]): SweepRun[][] {
  const parts: SweepRun[][] = [];
  for (const run of runs) {
    const part = parts.at(-1);
    const like = part?.[0];
    const same =
      like?.span.first === run.span.first &&
      like.span.end === run.span.end &&
      like.metricPosition === run.metricPosition;
    if (part && same) part.push(run);
    else parts.push([run]);
  }
  return parts;
}

/** Each token's changed heads at their place among all heads, zeros elsewhere: [N, H·h]. */
function inSlots(
  { heads: H, headWidth: h }: ModelConfig,
  { tokens, change, firstHead }: HeadChange,
): tf.Tensor2D {
  const [N, G] = change.shape;
  const places = H / G;
  const here = new Float32Array(N * places);
  perToken(tokens, (run) => firstHead[run] / G).forEach((place, n) => {
    here[n * places + place] = 1;
  });
  const spread = tf.mul(tf.tensor(here, [N, places, 1, 1]), tf.reshape(change, [N, 1, G, h]));
  return tf.reshape(spread, [N, H * h]);
}

/** The positions of a start that matter above: all of them, or in the last layer the one that the metric reads. */
function startTokens(config: ModelConfig, runs: readonly SweepRun[]): Tokens {
  return tokensOf(
    runs.map(({ group: { layer }, span, metricPosition }) => ({
      first: wantedSpan(config, layer, span.first, metricPosition).first,
      end: span.end,
    })),
  );
}

function outputChange(
  { block: { config }, recorded, T }: ChunkContext,
  runs: readonly SweepRun[],
): HeadChange {
  const { heads: H, headWidth: h } = config;
  const { layer } = runs[0].group;
  const tokens = startTokens(config, runs);
  const rows = perToken(tokens, (run, t) => (runs[run].pairIndex * H + runs[run].index) * T + t);
  const [source, base] = [recorded.source, recorded.base].map((values) =>
    take(tf.reshape(values.at("z", layer), [-1, h]), rows),
  );
  const change = tf.reshape(tf.sub(source, base), [tokens.count, 1, h]) as tf.Tensor3D;
  return { tokens, change, firstHead: runs.map(({ index }) => index) };
}

/** Rows of all (pair, head) of a site, [B, n, T, h], at positions `first` … `end` − 1: [R, end − first, h]. */
function ofHeads(value: tf.Tensor, heads: Int32Array, first: number, end: number): tf.Tensor3D {
  const [B, n, , h] = value.shape;
  const part = tf.slice(value, [0, 0, first, 0], [B, n, end - first, h]);
  return take(tf.reshape(part, [B * n, end - first, h]) as tf.Tensor3D, heads);
}

function queryChange(chunk: ChunkContext, runs: readonly SweepRun[]): HeadChange {
  const { config } = chunk.block;
  const { base, source } = chunk.recorded;
  const { heads: H, kvHeads: K } = config;
  const [{ group, metricPosition }] = runs;
  const { layer } = group;
  const tokens = startTokens(config, runs);
  const [{ first, end }] = tokens.spans;
  const head = Int32Array.from(runs, ({ pairIndex, index }) => pairIndex * H + index);
  const kvHead = Int32Array.from(runs, ({ pairIndex, index }) => pairIndex * K + Math.floor((index * K) / H));
  const seen = metricPosition + 1;
  const z = attendTo(chunk, {
    q: ofHeads(source.at("q", layer), head, first, end),
    k: ofHeads(base.at("k", layer), kvHead, 0, seen),
    v: ofHeads(base.at("v", layer), kvHead, 0, seen),
    first,
    groupSize: 1,
  });
  const change = tf.sub(z, ofHeads(base.at("z", layer), head, first, end));
  return {
    tokens,
    change: tf.reshape(change, [tokens.count, 1, config.headWidth]),
    firstHead: runs.map(({ index }) => index),
  };
}

function keyOrValueChange(chunk: ChunkContext, runs: readonly SweepRun[]): HeadChange {
  const { config } = chunk.block;
  const { base, source } = chunk.recorded;
  const { heads: H, kvHeads: K, headWidth: h } = config;
  const [{ group, span, metricPosition }] = runs;
  const { layer, site } = group;
  const end = metricPosition + 1;
  const { first } = wantedSpan(config, layer, span.first, metricPosition);
  const [R, G, Q] = [runs.length, H / K, end - first];
  const kvHead = Int32Array.from(runs, ({ pairIndex, index }) => pairIndex * K + index);
  const patched = (of: "k" | "v"): tf.Tensor3D => {
    const old = base.at(of, layer);
    if (of !== site) return ofHeads(old, kvHead, 0, end);
    const parts = [
      { value: old, first: 0, end: span.first },
      { value: source.at(of, layer), ...span },
      { value: old, first: span.end, end },
    ].filter((part) => part.first < part.end);
    return tf.concat(
      parts.map((part) => ofHeads(part.value, kvHead, part.first, part.end)),
      1,
    );
  };
  /** The G query heads of each kv-head as rows over it: [R, G·Q, h]. */
  const ofReaders = (value: tf.Tensor): tf.Tensor3D => {
    const B = value.shape[0];
    const part = tf.slice(value, [0, 0, first, 0], [B, H, Q, h]);
    return take(tf.reshape(part, [B * K, G * Q, h]) as tf.Tensor3D, kvHead);
  };
  const z = attendTo(chunk, {
    q: ofReaders(base.at("q", layer)),
    k: patched("k"),
    v: patched("v"),
    first,
    groupSize: G,
  });
  const change = tf.reshape(tf.sub(z, ofReaders(base.at("z", layer))), [R, G, Q, h]);
  return {
    tokens: tokensOf(runs.map(() => ({ first, end }))),
    change: tf.reshape(tf.transpose(change, [0, 2, 1, 3]), [R * Q, G, h]),
    firstHead: runs.map(({ index }) => index * G),
  };
}

/**
 * Attention of one kv-head per run.
 * @param q groupSize heads one after the other, [R, G·Q, h], at positions from `first` on; k, v [R, keys, h] from 0 on
 * @returns [R, G·Q, h]
 */
function attendTo(
  { block: { config, mask }, count }: ChunkContext,
  {
    q,
    k,
    v,
    first,
    groupSize: G,
  }: { q: tf.Tensor3D; k: tf.Tensor3D; v: tf.Tensor3D; first: number; groupSize: number },
): tf.Tensor3D {
  const [R, rows, h] = q.shape;
  const [keys, Q] = [k.shape[1], rows / G];
  const scores = batchedProduct(tf.mul(q, 1 / Math.sqrt(h)), k, { transposeB: true });
  const visible = tf.slice(mask, [first, 0], [Q, keys]);
  const pattern = tf.softmax(tf.add(tf.reshape(scores, [R, G, Q, keys]), visible));
  count(R * rows * keys * 4 * config.headWidth);
  return batchedProduct(tf.reshape(pattern, [R, rows, keys]), v) as tf.Tensor3D;
}

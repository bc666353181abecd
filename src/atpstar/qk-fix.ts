/**
 * @file The QK fix: estimates of query and key nodes in which the attention softmax is recomputed exactly and only what
 * comes after it is linear. A saturated softmax has no gradient, so plain AtP calls its queries and keys 0.
 *
 * For a row of query t: A = softmax(scores), g = ∂M/∂A, c = Σ_j A_j·g_j. A row of weights sums to 1, so any estimate may
 * be taken on g − c, which is small where the row is indifferent and keeps float32 exact.
 *
 * - Query node (h, t): with the row A' of the replaced query, Î = Σ_j (A'_j − A_j)·(g_j − c).
 * - Key node (kv-head, s): every row t ≥ s of every head that reads it sees one score change δ = q_t·Δk_s·scale. With
 *   the log-odds ℓ = score_s − log Σ_{j≠s} e^{score_j}, weight s goes from σ(ℓ) to σ(ℓ + δ) and the others keep their
 *   proportions, so Î = Σ (σ(ℓ + δ) − σ(ℓ))·(g_s − ḡ_s), where ḡ_s is the mean of g over the other keys.
 *     For every key but the row's largest: ℓ = score_s − LSE − log(1 − A_s), and g_s − ḡ_s = (g_s − c)/(1 − A_s), with
 *     1 − A_s ≥ ½. For the largest, both are taken over the other keys directly.
 *     The difference of sigmoids is taken as a product, so that nothing cancels in float32, however small δ or saturated
 *     the row: σ(a) − σ(b) = tanh(δ/2)·σ(max(a, b))·σ(−min(a, b))/σ(|δ|) with δ = a − b.
 * - Key nodes at all positions: the rows with all keys of the head replaced.
 *
 * O(T²) per head for all keys at once. Source: Kramár et al. 2024, "AtP*", section 3.1.1; the log-odds form is ours.
 */

import * as tf from "@tensorflow/tfjs-core";
import type { SiteEstimates, Wanted } from "../atp/first-order.js";
import { type AttentionSaved, attentionPattern, attentionScores, byKvHead } from "../model/ops/attention.js";

/** Added to a score to leave its key out of a row; the same as the causal mask's. */
const LEFT_OUT = -1e30;

/** What does not depend on the gradient: one per layer and batch. */
export type FixedAttention = Readonly<{
  /** A, [B, H, T, T] */
  pattern: tf.Tensor4D;
  /** A' − A for each query replaced by the source's, [B, H, T, T]. */
  queryChange?: tf.Tensor4D;
  keys?: KeyChange;
  /** A' − A for all keys of a kv-head replaced, [B, H, T, T]. */
  allKeysChange?: tf.Tensor4D;
}>;

type KeyChange = Readonly<{
  /** [B, H, T, T]: change of the weight of key s in row t, over 1 − A_s; 0 at the row's largest key. */
  ofOthers: tf.Tensor4D;
  /** [B, H, T, T]: change of the weight at the row's largest key, 0 elsewhere. */
  ofLargest: tf.Tensor4D;
  /** [B, H, T, T]: the row's weights without its largest key, renormalized. */
  withoutLargest: tf.Tensor4D;
}>;

/**
 * Recomputes the attention rows of a layer for its query and key nodes.
 *
 * @param differences source − base of `q` [B, H, T, h] and `k` [B, K, T, h]; either may be absent
 * @param mask causal, [T, T]
 * @returns tensors owned by the caller
 */
export function fixAttention(
  { q, k, pattern }: Pick<AttentionSaved, "q" | "k" | "pattern">,
  differences: { readonly q?: tf.Tensor; readonly k?: tf.Tensor },
  mask: tf.Tensor2D,
  wanted: Wanted,
): FixedAttention {
  return tf.tidy(() => {
    const changeTo = (queries: tf.Tensor4D, keys: tf.Tensor4D): tf.Tensor4D =>
      tf.sub(attentionPattern(attentionScores(queries, keys), mask), pattern);
    const dq = differences.q as tf.Tensor4D | undefined;
    const dk = differences.k as tf.Tensor4D | undefined;
    return {
      pattern: tf.clone(pattern),
      ...(dq && { queryChange: changeTo(tf.add(q, dq), k) }),
      ...(dk && wanted.each && { keys: changeOfEachKey(q, k, dk, pattern, mask) }),
      ...(dk && wanted.everywhere && { allKeysChange: changeTo(q, tf.add(k, dk)) }),
    };
  });
}

function changeOfEachKey(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  dk: tf.Tensor4D,
  pattern: tf.Tensor4D,
  mask: tf.Tensor2D,
): KeyChange {
  const scores = tf.add(attentionScores(q, k), mask);
  // Not tf.oneHot, which refuses prompts of one token.
  const keyIndex = tf.range(0, mask.shape[0], 1, "int32");
  const largest = tf.cast(tf.equal(tf.expandDims(tf.argMax(scores, -1), -1), keyIndex), "float32");
  const others = tf.sub(1, largest);
  const scoresWithoutLargest = tf.add(scores, tf.mul(largest, LEFT_OUT));

  const remaining = tf.sub(1, tf.mul(pattern, others)); // 1 − A_s for the others, 1 at the largest
  const logOddsOfOthers = tf.sub(tf.sub(scores, tf.logSumExp(scores, -1, true)), tf.log(remaining));
  const logOddsOfLargest = tf.sub(scores, tf.logSumExp(scoresWithoutLargest, -1, true));
  const logOdds: tf.Tensor4D = tf.add(tf.mul(others, logOddsOfOthers), tf.mul(largest, logOddsOfLargest));

  const seen = tf.cast(tf.equal(mask, 0), "float32");
  const delta: tf.Tensor4D = tf.mul(attentionScores(q, dk), seen);
  const change = sigmoidChange(logOdds, delta);
  return {
    ofOthers: tf.div(tf.mul(change, others), remaining),
    ofLargest: tf.mul(change, largest),
    withoutLargest: tf.softmax(scoresWithoutLargest) as tf.Tensor4D,
  };
}

/** σ(x + δ) − σ(x), to float32's relative precision for any x and δ. */
export function sigmoidChange(x: tf.Tensor4D, delta: tf.Tensor4D): tf.Tensor4D {
  return tf.tidy(() => {
    const moved = tf.add(x, delta);
    const high = tf.sigmoid(tf.maximum(x, moved));
    const low = tf.sigmoid(tf.neg(tf.minimum(x, moved)));
    const step = tf.div(tf.tanh(tf.mul(delta, 0.5)), tf.sigmoid(tf.abs(delta)));
    return tf.mul(step, tf.mul(high, low));
  });
}

/** Estimates of a layer's query and key nodes, streams in front. */
export type QkEstimates = { readonly q?: SiteEstimates; readonly k?: SiteEstimates };

/**
 * The estimates for a gradient of the pattern.
 *
 * @param dPattern g, [S, B, H, T, T]
 * @param kvHeads K
 * @returns tensors owned by the caller: q [S, B, H, T] and [S, B, H], k [S, B, K, T] and [S, B, K]
 */
export function fixedEstimates(
  { pattern, queryChange, keys, allKeysChange }: FixedAttention,
  dPattern: tf.Tensor,
  kvHeads: number,
  wanted: Wanted,
): QkEstimates {
  return tf.tidy(() => {
    const mean = tf.sum(tf.mul(dPattern, pattern), -1, true);
    const centred = tf.sub(dPattern, mean); // g − c
    const perRow = (change: tf.Tensor) => tf.sum(tf.mul(change, centred), -1); // [S, B, H, T]
    const result: { q?: SiteEstimates; k?: SiteEstimates } = {};
    if (queryChange) {
      const each = perRow(queryChange);
      result.q = {
        ...(wanted.each && { each }),
        ...(wanted.everywhere && { everywhere: tf.sum(each, -1) }),
      };
    }
    if (keys || allKeysChange) {
      result.k = {
        ...(keys && { each: overReaders(estimatePerKey(keys, centred), kvHeads) }),
        ...(allKeysChange && {
          everywhere: tf.squeeze(overReaders(tf.expandDims(perRow(allKeysChange), -1), kvHeads), [-1]),
        }),
      };
    }
    return result;
  });
}

/** Effect of key s on row t, [S, B, H, T, T]. */
function estimatePerKey({ ofOthers, ofLargest, withoutLargest }: KeyChange, centred: tf.Tensor): tf.Tensor {
  const meanOfOthers = tf.sum(tf.mul(centred, withoutLargest), -1, true);
  return tf.add(tf.mul(ofOthers, centred), tf.mul(ofLargest, tf.sub(centred, meanOfOthers)));
}

/** [S, B, H, T, n] -> [S, B, K, n]: sums over the rows of all query heads that read a kv-head. */
function overReaders(perRow: tf.Tensor, kvHeads: number): tf.Tensor {
  return tf.sum(byKvHead(perRow, kvHeads), -2);
}

/**
 * @file Metrics of the whole next-token distribution p = softmax(logits), and their gradients. With W and A the 0/1
 * indicators of the wrong and answer tokens, m = A − W or A, and ref the clean run's distribution:
 *
 *   logprob    log Σ_A p             d/dlogit = p restricted to A and renormalized − p
 *   nll        −logprob              the negative of that
 *   prob       Σ_A p                 d/dlogit = p·(m − Σ m p)
 *   prob-diff  Σ_A p − Σ_W p         likewise
 *   kl         Σ ref·(log ref − log p)   d/dlogit = p − ref
 */

import * as tf from "@tensorflow/tfjs-core";
import { product } from "../../engine/matmul.js";
import type { Pair } from "../pair.js";
import type { MetricInput, OutputMetric, PreparedMetric } from "./metric.js";
import { inParts } from "./rows-at-once.js";

/** A function of log-probabilities [R, V] and per-row constants [R, V] (a mask or a reference). */
interface DistributionForm {
  /** [R] */
  value(logProbs: tf.Tensor2D, constant: tf.Tensor2D): tf.Tensor1D;
  /** d value / d logits, [R, V] */
  slope(logProbs: tf.Tensor2D, constant: tf.Tensor2D): tf.Tensor2D;
}

/**
 * final [R, D] -> log p [R, V]
 * @param rows the whole unembedding, [V, D]
 */
export function logProbabilities(final: tf.Tensor2D, rows: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => {
    const logits = product(final, rows, { transposeB: true });
    return tf.sub(logits, tf.logSumExp(logits, -1, true)) as tf.Tensor2D;
  });
}

/** [B, V] with 1 at the tokens of `plus` and −1 at those of `minus`. */
function indicator(
  pairs: readonly Pair[],
  vocabulary: number,
  minus: (pair: Pair) => readonly number[] = () => [],
): tf.Tensor2D {
  const data = new Float32Array(pairs.length * vocabulary);
  pairs.forEach((pair, b) => {
    for (const token of pair.answers) data[b * vocabulary + token] = 1;
    for (const token of minus(pair)) data[b * vocabulary + token] = -1;
  });
  return tf.tensor2d(data, [pairs.length, vocabulary]);
}

/** Makes the constants of some pairs of the batch, [pairs, V]. */
type ConstantOf = (input: MetricInput, rows: tf.Tensor2D, places: readonly number[]) => tf.Tensor2D;

const answers: ConstantOf = ({ pairs }, rows, places) =>
  indicator(
    places.map((place) => pairs[place]),
    rows.shape[0],
  );

const answersMinusWrong: ConstantOf = ({ pairs }, rows, places) =>
  indicator(
    places.map((place) => pairs[place]),
    rows.shape[0],
    (pair) => pair.wrong,
  );

const cleanLogProbabilities: ConstantOf = ({ cleanFinal }, rows, places) =>
  tf.tidy(() => logProbabilities(tf.gather(cleanFinal, tf.tensor1d(Int32Array.from(places), "int32")), rows));

/** Log-probabilities of the tokens outside the mask, moved out of reach of any sum. */
const EXCLUDED = -1e30;

function insideMask(logProbs: tf.Tensor2D, mask: tf.Tensor2D): tf.Tensor2D {
  return tf.add(tf.mul(logProbs, mask), tf.mul(tf.sub(1, mask), EXCLUDED));
}

const setLogProb: DistributionForm = {
  value: (logProbs, mask) => tf.logSumExp(insideMask(logProbs, mask), -1),
  slope: (logProbs, mask) => tf.sub(tf.softmax(insideMask(logProbs, mask)), tf.exp(logProbs)),
};

const negativeSetLogProb: DistributionForm = {
  value: (logProbs, mask) => tf.neg(setLogProb.value(logProbs, mask)),
  slope: (logProbs, mask) => tf.neg(setLogProb.slope(logProbs, mask)),
};

const setProb: DistributionForm = {
  value: (logProbs, mask) =>
    tf.add(
      tf.sum(tf.mul(tf.exp(logProbs), mask), -1),
      // 0, but NaN where a logit is −∞: exp alone would take it for a token that cannot come.
      tf.sum(tf.mul(logProbs, 0), -1),
    ),
  slope(logProbs, mask) {
    const p = tf.exp(logProbs);
    return tf.mul(p, tf.sub(mask, tf.sum(tf.mul(p, mask), -1, true)));
  },
};

const divergence: DistributionForm = {
  value: (logProbs, ref) => tf.sum(tf.mul(tf.exp(ref), tf.sub(ref, logProbs)), -1),
  slope: (logProbs, ref) => tf.sub(tf.exp(logProbs), tf.exp(ref)),
};

/**
 * What is there at a time as large as the logits, on either engine: the constants of the pairs and of the rows, logits,
 * log-probabilities, and the terms of a value or of a slope. Measured up to 10.
 */
const LOGIT_TERMS = 10;

async function prepareDistribution(
  input: MetricInput,
  form: DistributionForm,
  constantOf: ConstantOf,
): Promise<PreparedMetric> {
  const rows = await input.weights.unembedding();
  const budget = { vocabulary: rows.shape[0], terms: LOGIT_TERMS, budgetBytes: input.budgetBytes };
  // Constants of the whole batch would be there all the time, however little is read together.
  const constantsOf = (pairOfRow: readonly number[]): tf.Tensor2D => {
    const places = [...new Set(pairOfRow)];
    const ofPairs = constantOf(input, rows, places);
    if (places.length === pairOfRow.length) return ofPairs;
    const placeOf = new Map(places.map((place, p) => [place, p]));
    const rowsOf = Int32Array.from(pairOfRow, (pair) => placeOf.get(pair) ?? 0);
    return tf.gather(ofPairs, tf.tensor1d(rowsOf, "int32"));
  };
  return {
    read(final, pairOfRow) {
      const data = new Float32Array(pairOfRow.length);
      inParts(final, budget, (part, first) => {
        const values = tf.tidy(() => {
          const constants = constantsOf(pairOfRow.slice(first, first + part.shape[0]));
          return form.value(logProbabilities(part, rows), constants);
        });
        data.set(values.dataSync(), first);
        values.dispose();
      });
      return data;
    },
    gradient(final) {
      const parts: tf.Tensor2D[] = [];
      inParts(final, budget, (part, first) => {
        const gradient = tf.tidy(() => {
          const constants = constantsOf(Array.from({ length: part.shape[0] }, (_, r) => first + r));
          return product(form.slope(logProbabilities(part, rows), constants), rows);
        });
        parts.push(gradient);
      });
      if (parts.length === 1) return parts[0];
      const whole = tf.concat(parts, 0);
      tf.dispose(parts);
      return whole;
    },
    dispose: () => input.weights.releaseUnembedding(),
  };
}

export const logprob: OutputMetric = {
  name: "logprob",
  description: "log of the summed probability of the answers",
  needs: { answers: true, wrong: false },
  differentiable: true,
  flatOnClean: false,
  logitTerms: LOGIT_TERMS,
  prepare: (input) => prepareDistribution(input, setLogProb, answers),
};

export const nll: OutputMetric = {
  name: "nll",
  description: "negative log of the summed probability of the answers",
  needs: { answers: true, wrong: false },
  differentiable: true,
  flatOnClean: false,
  logitTerms: LOGIT_TERMS,
  prepare: (input) => prepareDistribution(input, negativeSetLogProb, answers),
};

export const prob: OutputMetric = {
  name: "prob",
  description: "summed probability of the answers",
  needs: { answers: true, wrong: false },
  differentiable: true,
  flatOnClean: false,
  logitTerms: LOGIT_TERMS,
  prepare: (input) => prepareDistribution(input, setProb, answers),
};

export const probDiff: OutputMetric = {
  name: "prob-diff",
  description: "summed probability of the answers − of the wrong answers",
  needs: { answers: true, wrong: true },
  differentiable: true,
  flatOnClean: false,
  logitTerms: LOGIT_TERMS,
  prepare: (input) => prepareDistribution(input, setProb, answersMinusWrong),
};

export const kl: OutputMetric = {
  name: "kl",
  description: "KL divergence from the clean run's distribution, in nats",
  needs: { answers: false, wrong: false },
  differentiable: true,
  flatOnClean: true,
  logitTerms: LOGIT_TERMS,
  prepare: (input) => prepareDistribution(input, divergence, cleanLogProbabilities),
};

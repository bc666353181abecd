/**
 * @file Metrics of the order of the logits. They jump, so they have no gradient and serve exact runs only.
 *
 *   rank       1 + number of tokens with a higher logit than the best answer; 1 is the top
 *   accuracy   1 if the best answer is the top token, otherwise 0
 */

import { product } from "../../engine/matmul.js";
import type { Pair } from "../pair.js";
import type { MetricInput, OutputMetric, PreparedMetric } from "./metric.js";

function rankOfBestAnswer(logits: Float32Array, { answers }: Pair): number {
  const best = answers.reduce((highest, token) => Math.max(highest, logits[token]), Number.NEGATIVE_INFINITY);
  return 1 + logits.reduce((above, value) => above + (value > best ? 1 : 0), 0);
}

async function prepareRanking(
  { pairs, weights }: MetricInput,
  score: (rank: number) => number,
): Promise<PreparedMetric> {
  const rows = await weights.unembedding();
  return {
    read(final, pairOfRow) {
      const logits = product(final, rows, { transposeB: true });
      const V = logits.shape[1];
      const data = logits.dataSync() as Float32Array;
      logits.dispose();
      return Float32Array.from(pairOfRow, (pair, row) =>
        score(rankOfBestAnswer(data.subarray(row * V, (row + 1) * V), pairs[pair])),
      );
    },
    gradient() {
      throw new Error("gradient: expected a differentiable metric, got one of the order of the logits");
    },
    dispose: () => weights.releaseUnembedding(),
  };
}

export const rank: OutputMetric = {
  name: "rank",
  description: "rank of the best answer among all tokens, 1 = top (exact runs only)",
  needs: { answers: true, wrong: false },
  differentiable: false,
  flatOnClean: false,
  prepare: (input) => prepareRanking(input, (r) => r),
};

export const accuracy: OutputMetric = {
  name: "accuracy",
  description: "1 if an answer is the top token, otherwise 0 (exact runs only)",
  needs: { answers: true, wrong: false },
  differentiable: false,
  flatOnClean: false,
  prepare: (input) => prepareRanking(input, (r) => (r === 1 ? 1 : 0)),
};

/**
 * @file Metrics of the order of the logits. They jump, so they have no gradient and serve exact runs only.
 *
 *   rank       1 + number of tokens with a higher logit than the best answer; 1 is the top
 *   accuracy   1 if the best answer is the top token, otherwise 0
 */

import { product } from "../../engine/matmul.js";
import type { Pair } from "../pair.js";
import type { MetricInput, OutputMetric, PreparedMetric } from "./metric.js";
import { inParts } from "./rows-at-once.js";

/** NaN where a logit is not finite: nothing is above NaN, so that the answers of a broken model would come first. */
function rankOfBestAnswer(logits: Float32Array, { answers }: Pair): number {
  const best = answers.reduce((highest, token) => Math.max(highest, logits[token]), Number.NEGATIVE_INFINITY);
  let above = 0;
  for (const value of logits) {
    if (!Number.isFinite(value)) return Number.NaN;
    if (value > best) above++;
  }
  return 1 + above;
}

/** The logits as the engine has them, transposed on the embedded engine, and their copy in JavaScript. */
const LOGIT_TERMS = 3;

async function prepareRanking(
  { pairs, weights, budgetBytes }: MetricInput,
  score: (rank: number) => number,
): Promise<PreparedMetric> {
  const rows = await weights.unembedding();
  const [V] = rows.shape;
  return {
    read(final, pairOfRow) {
      const values = new Float32Array(pairOfRow.length);
      inParts(final, { vocabulary: V, terms: LOGIT_TERMS, budgetBytes }, (part, first) => {
        const logits = product(part, rows, { transposeB: true });
        const data = logits.dataSync() as Float32Array;
        logits.dispose();
        for (let row = 0; row < part.shape[0]; row++) {
          const ofRow = data.subarray(row * V, (row + 1) * V);
          values[first + row] = score(rankOfBestAnswer(ofRow, pairs[pairOfRow[first + row]]));
        }
      });
      return values;
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
  logitTerms: LOGIT_TERMS,
  prepare: (input) => prepareRanking(input, (r) => r),
};

export const accuracy: OutputMetric = {
  name: "accuracy",
  description: "1 if an answer is the top token, otherwise 0 (exact runs only)",
  needs: { answers: true, wrong: false },
  differentiable: false,
  flatOnClean: false,
  logitTerms: LOGIT_TERMS,
  prepare: (input) => prepareRanking(input, (r) => (Number.isNaN(r) ? r : r === 1 ? 1 : 0)),
};

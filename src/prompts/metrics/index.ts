/** @file The table of output metrics by name. */

import { InputError } from "../../errors.js";
import { shown } from "../../shown-text.js";
import { logit, logitDiff } from "./direction.js";
import { kl, logprob, nll, prob, probDiff } from "./distribution.js";
import type { OutputMetric } from "./metric.js";
import { accuracy, rank } from "./ranking.js";

export const METRICS: readonly OutputMetric[] = [
  logitDiff,
  logit,
  logprob,
  prob,
  probDiff,
  nll,
  kl,
  rank,
  accuracy,
];

/**
 * The output metric of a name; `parseMetric` knows internal ones, too.
 * @throws InputError for an unknown name
 */
export function metricByName(name: string): OutputMetric {
  const metric = METRICS.find((candidate) => candidate.name === name);
  if (!metric) {
    throw new InputError(
      `metricByName: expected one of ${METRICS.map((known) => known.name).join(", ")}, got ${shown(name)}`,
    );
  }
  return metric;
}

/** @file The table of metrics by name. */

import { InputError } from "../../errors.js";
import { logit, logitDiff } from "./direction.js";
import { kl, logprob, nll, prob, probDiff } from "./distribution.js";
import type { Metric } from "./metric.js";
import { accuracy, rank } from "./ranking.js";

export const METRICS: readonly Metric[] = [
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
 * The metric of a name.
 * @throws InputError for an unknown name
 */
export function metricByName(name: string): Metric {
  const metric = METRICS.find((candidate) => candidate.name === name);
  if (!metric) {
    throw new InputError(
      `metricByName: expected one of ${METRICS.map((known) => known.name).join(", ")}, got "${name}"`,
    );
  }
  return metric;
}

/** @file Several metrics that are read off the same runs. */

import { InputError } from "../../errors.js";
import type { Metric } from "./metric.js";
import { parseMetric } from "./parse-metric.js";

/**
 * The metrics of some names (or themselves), in their order.
 * @throws InputError for text that is no metric, or one that is there twice
 */
export function metricsByName(names: readonly (string | Metric)[]): Metric[] {
  const metrics = names.map((name) => (typeof name === "string" ? parseMetric(name) : name));
  const twice = metrics.find(({ name }, m) => metrics.slice(0, m).some((other) => other.name === name));
  if (twice) throw new InputError(`metricsByName: expected each metric once, got ${twice.name} twice`);
  return metrics;
}

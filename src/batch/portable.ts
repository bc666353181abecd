/**
 * @file Pairs and metrics as data, and back. What comes back behaves as what went: its node numbers, its positions, and whether a
 * corrupted prompt is there at all. Whatever is wrong with data of unknown origin is found on the way back, before any model runs.
 */

import { isDeepStrictEqual } from "node:util";
import { InputError } from "../errors.js";
import type { ModelConfig } from "../model/config.js";
import { metricByName } from "../prompts/metrics/index.js";
import {
  attentionWeight,
  checkModelForMetric,
  neuronActivation,
  PROJECTION_SITES,
  projection,
} from "../prompts/metrics/internal.js";
import { type InternalMetric, isInternal, type Metric } from "../prompts/metrics/metric.js";
import { type Pair, resolvePair } from "../prompts/pair.js";
import type { PortableMetric, PortablePair } from "./job.js";

/** @param pair without noise on its embeddings: that is made from the job's source, where it is run */
export function portablePair(pair: Pair): PortablePair {
  const { name, clean, corrupted, answers, wrong, roles, metricPosition, origin, noise } = pair;
  if (noise) throw new Error(`portablePair: ${origin}: expected a pair without noise, got one with`);
  return {
    ...(name !== undefined && { name }),
    clean,
    ...(corrupted !== clean && { corrupted }),
    answers,
    wrong,
    roles: [...roles],
    metricPosition,
    origin,
  };
}

/** What the metric of a job needs of its pairs is checked once the metric is known. */
const NO_NEEDS = { answers: false, wrong: false, corrupted: false };

/**
 * @param portable of the shape of a pair
 * @throws InputError naming the pair, for all that a pairs file is refused for
 */
export function pairOf(portable: PortablePair, config: ModelConfig): Pair {
  const { name, clean, corrupted, answers, wrong, roles, metricPosition, origin } = portable;
  try {
    const [twice] = roles.find(([role], r) => roles.slice(0, r).some(([other]) => other === role)) ?? [];
    if (twice !== undefined) throw new InputError(`roles: expected each role once, got ${twice} twice`);
    const written = {
      ...(name !== undefined && { name }),
      clean,
      ...(corrupted && { corrupted }),
      answers,
      wrong,
      roles: Object.fromEntries(roles),
      position: metricPosition,
    };
    return resolvePair(written, { config }, NO_NEEDS, origin);
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`pairOf: ${origin}: ${error.message}`);
    throw error;
  }
}

export function portableMetric(metric: Metric): PortableMetric {
  return isInternal(metric) ? { internal: metric } : { output: metric.name };
}

/**
 * @param portable of the shape of a metric
 * @throws InputError for a metric that is not one of this package's, or that reads what the model does not have
 */
export function metricOf(portable: PortableMetric, config: ModelConfig): Metric {
  if ("output" in portable) return metricByName(portable.output);
  const metric = internalOf(portable.internal);
  checkModelForMetric(config, metric);
  if (isDeepStrictEqual(metric, portable.internal)) return metric;
  throw new InputError(
    `metricOf: ${portable.internal.name}: expected the metric of that name, got one that differs from ${metric.name}`,
  );
}

function internalOf({ name, reads: { point, layer }, position, takes }: InternalMetric): InternalMetric {
  if ("head" in takes) return attentionWeight({ layer, head: takes.head, query: position, key: takes.key });
  if ("neuron" in takes) return neuronActivation({ layer, neuron: takes.neuron, position });
  const site = PROJECTION_SITES.find((known) => known === point);
  if (!site) {
    throw new InputError(
      `metricOf: ${name}: expected one of the sites ${PROJECTION_SITES.join(", ")}, got ${point}`,
    );
  }
  const directionName = name.slice(`L${layer}.${site}@${position}:`.length);
  return projection({ layer, site, position, direction: takes.direction, directionName });
}

/**
 * @file Internal metrics: numbers read inside the model instead of at its logits.
 *
 *   attention weight   weight of one key in one query's row of a head, 0 … 1      L5.pattern[3]@end:subject
 *   neuron activation  one neuron at one position                                 L4.neuron[100]@end
 *   projection         value at a site of width D, times a given direction        L6.residPost@end:direction.json
 *
 * Each is w·x with x one row of the values at a hook point, so its gradient there is w, whatever the run.
 */

import * as tf from "@tensorflow/tfjs-core";
import { InputError } from "../../errors.js";
import { isLostInFloat32 } from "../../float32.js";
import type { ModelConfig } from "../../model/config.js";
import { type HookPoint, sitesOf } from "../../model/sites.js";
import type { Pair } from "../pair.js";
import { resolveMetricPosition } from "../pair-positions.js";
import type { InternalMetric, Metric, MetricPosition } from "./metric.js";
import { isInternal } from "./metric.js";

/** Sites of width D, which can be projected onto a direction. */
export const PROJECTION_SITES = ["residPre", "attnOut", "residMid", "mlpOut", "residPost"] as const;

export type ProjectionSite = (typeof PROJECTION_SITES)[number];

const TRAITS = {
  needs: { answers: false, wrong: false },
  differentiable: true,
  flatOnClean: false,
} as const;

/**
 * How much a head looks from one position at another: its attention weight, between 0 and 1.
 *
 * @param options head counts query heads; `query` and `key` are positions (negative from the end) or roles
 * @returns a metric that reads behind patches of queries, keys and all below
 * @throws InputError for a layer or head that is not a whole number; what model and pairs have is checked where it is used
 */
export function attentionWeight({
  layer,
  head,
  query,
  key,
}: {
  readonly layer: number;
  readonly head: number;
  readonly query: MetricPosition;
  readonly key: MetricPosition;
}): InternalMetric {
  checkCounts("attentionWeight", { layer, head });
  return {
    name: `L${layer}.pattern[${head}]@${query}:${key}`,
    description: `attention weight of head ${head} of layer ${layer}, from ${query} to ${key}`,
    ...TRAITS,
    reads: { point: "pattern", layer },
    position: query,
    takes: { head, key },
  };
}

/**
 * A neuron's activation: the input of the MLP's last matrix, as the site `neuron` has it.
 *
 * @param options `position` counts from the start, from the end where negative, or is a role
 * @throws InputError for a layer or neuron that is not a whole number; what model and pairs have is checked where it is used
 */
export function neuronActivation({
  layer,
  neuron,
  position,
}: {
  readonly layer: number;
  readonly neuron: number;
  readonly position: MetricPosition;
}): InternalMetric {
  checkCounts("neuronActivation", { layer, neuron });
  return {
    name: `L${layer}.neuron[${neuron}]@${position}`,
    description: `activation of neuron ${neuron} of layer ${layer} at ${position}`,
    ...TRAITS,
    reads: { point: "neuron", layer },
    position,
    takes: { neuron },
  };
}

/**
 * The dot product of a value of width D with a direction, which is used as given: not normalised, nothing subtracted.
 *
 * @param options `direction` has D numbers; `directionName` stands for it in the metric's name, default "direction"
 * @throws InputError for a layer that is not a whole number, a site that is not of width D, or a direction that is empty,
 *   all 0, or has a number that float32 loses; what model and pairs have is checked where it is used
 */
export function projection({
  layer,
  site,
  position,
  direction,
  directionName = "direction",
}: {
  readonly layer: number;
  readonly site: ProjectionSite;
  readonly position: MetricPosition;
  readonly direction: readonly number[];
  readonly directionName?: string;
}): InternalMetric {
  checkCounts("projection", { layer });
  if (!PROJECTION_SITES.includes(site)) {
    throw new InputError(`projection: expected one of the sites ${PROJECTION_SITES.join(", ")}, got ${site}`);
  }
  const wrong = direction.findIndex(isLostInFloat32);
  if (wrong >= 0) {
    throw new InputError(
      `projection: expected a direction of numbers that float32 can hold, got ${direction[wrong]} at place ${wrong}`,
    );
  }
  if (direction.every((weight) => weight === 0)) {
    throw new InputError("projection: expected a direction that is not 0 throughout");
  }
  return {
    name: `L${layer}.${site}@${position}:${directionName}`,
    description: `projection of ${site} of layer ${layer} at ${position} onto ${directionName}`,
    ...TRAITS,
    reads: { point: site, layer },
    position,
    takes: { direction: [...direction] },
  };
}

function checkCounts(caller: string, counts: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(counts)) {
    if (!Number.isSafeInteger(count) || count < 0) {
      throw new InputError(`${caller}: expected ${name} to be 0 or a positive integer, got ${count}`);
    }
  }
}

/**
 * Checks that the model has what a metric reads. Output metrics read what every model has.
 * @throws InputError for a layer, head, neuron or site that it does not have, or a direction of another width
 */
export function checkModelForMetric(config: ModelConfig, metric: Metric): void {
  if (!isInternal(metric)) return;
  const { name, reads, takes } = metric;
  const below = (what: string, count: number, got: number) => {
    if (got < count) return;
    throw new InputError(
      `checkModelForMetric: metric ${name}: expected a ${what} from 0 to ${count - 1}, got ${got}`,
    );
  };
  below("layer", config.layers, reads.layer);
  if ("head" in takes) below("head", config.heads, takes.head);
  if ("neuron" in takes) below("neuron", config.mlpWidth, takes.neuron);
  if (!("direction" in takes)) return;
  const sites = PROJECTION_SITES.filter((site) => sitesOf(config).includes(site));
  if (!sites.some((site) => site === reads.point)) {
    throw new InputError(
      `checkModelForMetric: metric ${name}: expected a site of a ${config.family} model with parallel residual (${sites.join(", ")}), got ${reads.point}`,
    );
  }
  if (takes.direction.length !== config.width) {
    throw new InputError(
      `checkModelForMetric: metric ${name}: expected a direction of ${config.width} numbers, the width of the residual stream, got ${takes.direction.length}`,
    );
  }
}

/** Where a metric reads in a pair: nothing behind it changes the metric. */
export function positionRead(metric: Metric, pair: Pair): number {
  if (!isInternal(metric)) return pair.metricPosition;
  return resolve(pair, metric.position, "key" in metric.takes ? "query" : "position");
}

function resolve(pair: Pair, position: MetricPosition, field: string): number {
  return resolveMetricPosition(position, pair.roles, pair.clean.length, field);
}

/**
 * Checks that a pair has the positions that an internal metric reads.
 * @throws InputError naming the pair
 */
export function checkPositions(metric: InternalMetric, pair: Pair): void {
  try {
    const query = positionRead(metric, pair);
    if (!("key" in metric.takes)) return;
    const key = resolve(pair, metric.takes.key, "key");
    if (key > query) {
      throw new InputError(
        `key: expected a position up to that of the query, ${query}, got ${key}: attention looks back only`,
      );
    }
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InputError(`checkPairsForMetric: ${pair.origin}: metric ${metric.name}: ${error.message}`);
  }
}

/** Where w·x lies in the values of one prompt, taken as rows of the last axis. */
interface RowOfPrompt {
  readonly row: number;
  /** Where w is 1 in that row, and 0 elsewhere; absent for a direction, which is w itself. */
  readonly column?: number;
}

/** @param positions how many the values cover, up to the prompt's last; the row is negative where it lies before them */
function rowOfPrompt(metric: InternalMetric, pair: Pair, positions: number): RowOfPrompt {
  const { takes } = metric;
  const from = pair.clean.length - positions;
  const position = positionRead(metric, pair) - from;
  if ("head" in takes) {
    const row = position < 0 ? -1 : takes.head * positions + position;
    return { row, column: resolve(pair, takes.key, "key") };
  }
  return { row: position, ...("neuron" in takes && { column: takes.neuron }) };
}

/**
 * An internal metric of every row of a batch.
 *
 * @param value at the metric's hook point: [R, H, Q, T] for the pattern, [R, Q, n] otherwise, covering the last Q positions
 * @param pairs the pair of each row, R of them
 * @returns [R], in float64's precision from the float32 values; NaN where the values begin behind the position read
 */
export function readInternal(metric: InternalMetric, value: tf.Tensor, pairs: readonly Pair[]): Float32Array {
  const { takes } = metric;
  const [positions, n] = value.shape.slice(-2);
  const perPrompt = value.size / (value.shape[0] * n);
  const places = pairs.map((pair) => rowOfPrompt(metric, pair, positions));
  const rows = Int32Array.from(places, ({ row }, r) => r * perPrompt + Math.max(row, 0));
  const picked = tf.tidy(() =>
    tf.gather(tf.reshape(value, [value.shape[0] * perPrompt, n]), tf.tensor1d(rows, "int32")),
  );
  const numbers = picked.dataSync();
  picked.dispose();
  return Float32Array.from(places, ({ row, column }, r) => {
    if (row < 0) return Number.NaN;
    if (column !== undefined) return numbers[r * n + column];
    const direction = "direction" in takes ? takes.direction : [];
    return direction.reduce((sum, weight, d) => sum + weight * numbers[r * n + d], 0);
  });
}

/**
 * The gradient of an internal metric at its hook point: w in one row of every prompt, 0 elsewhere.
 *
 * @param pairs B pairs of T tokens
 * @returns [1, B, …] in the hook point's shape, owned by the caller
 */
export function gradientOfInternal(
  metric: InternalMetric,
  config: ModelConfig,
  pairs: readonly Pair[],
): tf.Tensor {
  const { takes, reads } = metric;
  const T = pairs[0].clean.length;
  const shape = [pairs.length, ...shapeOfPrompt(config, reads.point, T)];
  const n = shape[shape.length - 1];
  const size = tf.util.sizeFromShape(shape);
  const data = new Float32Array(size);
  pairs.forEach((pair, b) => {
    const { row, column } = rowOfPrompt(metric, pair, T);
    const start = (b * size) / pairs.length + row * n;
    if (column !== undefined) data[start + column] = 1;
    else if ("direction" in takes) data.set(takes.direction, start);
  });
  return tf.tensor(data, [1, ...shape]);
}

function shapeOfPrompt({ heads, mlpWidth, width }: ModelConfig, point: HookPoint, T: number): number[] {
  if (point === "pattern") return [heads, T, T];
  return [T, point === "neuron" ? mlpWidth : width];
}

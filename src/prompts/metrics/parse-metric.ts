/** @file Metrics as text: the name of an output metric, or an internal metric written like a node id. */

import { resolve } from "node:path";
import { InputError } from "../../errors.js";
import { isLostInFloat32 } from "../../float32.js";
import { shown } from "../../shown-text.js";
import { parseJsonText, readTextFileNow } from "../../text-file.js";
import { METRICS } from "./index.js";
import { attentionWeight, neuronActivation, PROJECTION_SITES, projection } from "./internal.js";
import type { Metric, MetricPosition } from "./metric.js";

/** The forms of internal metrics, each with what it means. */
export const INTERNAL_FORMS: readonly (readonly [string, string])[] = [
  ["L5.pattern[3]@end:subject", "attention weight of a head, from a query to a key position"],
  ["L4.neuron[100]@end", "a neuron's activation"],
  ["L6.residPost@end:direction.json", "projection onto a direction: a JSON array of D numbers"],
];

const POSITION = "-?\\d+|[A-Za-z_][A-Za-z0-9_-]*";
const PATTERN = new RegExp(`^L(\\d+)\\.pattern\\[(\\d+)\\]@(${POSITION}):(${POSITION})$`);
const NEURON = new RegExp(`^L(\\d+)\\.neuron\\[(\\d+)\\]@(${POSITION})$`);
const PROJECTION = new RegExp(`^L(\\d+)\\.(${PROJECTION_SITES.join("|")})@(${POSITION}):(.+)$`);

/** Whether the text has the form of a metric; a file that it names may still be wrong. */
export function isMetricText(text: string): boolean {
  return (
    METRICS.some(({ name }) => name === text) || [PATTERN, NEURON, PROJECTION].some((form) => form.test(text))
  );
}

/**
 * The metric that a text names: `logit-diff`, or an internal one such as `L5.pattern[3]@end:subject`. Positions count
 * from the start, from the end where negative, or are roles. A direction's file is read now.
 *
 * @param folder what the file's path is relative to; default: the working folder
 * @throws InputError for text that is no metric, or a file that is not a JSON array of float32 numbers other than 0
 *   throughout; what model and pairs have is checked where the metric is used
 */
export function parseMetric(text: string, folder = ""): Metric {
  const output = METRICS.find(({ name }) => name === text);
  if (output) return output;
  const pattern = PATTERN.exec(text);
  if (pattern) {
    const [, layer, head, query, key] = pattern;
    return attentionWeight({
      layer: Number(layer),
      head: Number(head),
      query: position(query),
      key: position(key),
    });
  }
  const neuron = NEURON.exec(text);
  if (neuron) {
    const [, layer, index, at] = neuron;
    return neuronActivation({ layer: Number(layer), neuron: Number(index), position: position(at) });
  }
  const [, layer, name, at, file] = PROJECTION.exec(text) ?? [];
  const site = PROJECTION_SITES.find((known) => known === name);
  if (!site) throw new InputError(`parseMetric: expected ${expectedMetrics()}, got ${shown(text)}`);
  return projection({
    layer: Number(layer),
    site,
    position: position(at),
    direction: readDirection(folder === "" ? file : resolve(folder, file)),
    directionName: file,
  });
}

/** What a metric may be, for error texts. */
export function expectedMetrics(): string {
  const forms = INTERNAL_FORMS.map(([form]) => form);
  return `one of ${METRICS.map(({ name }) => name).join(", ")}, or an internal metric such as ${forms.slice(0, -1).join(", ")} or ${forms.at(-1)}`;
}

function position(text: string): MetricPosition {
  return /^-?\d+$/.test(text) ? Number(text) : text;
}

/** Small enough to be read at one go: D numbers. */
function readDirection(file: string): number[] {
  let values: unknown;
  try {
    const text = readTextFileNow(file);
    if (text === undefined) {
      throw new InputError(`expected a direction in ${file}, got no such file`);
    }
    values = parseJsonText(text, file);
  } catch (error) {
    throw error instanceof InputError ? new InputError(`parseMetric: ${error.message}`) : error;
  }
  if (!Array.isArray(values)) {
    throw new InputError(`parseMetric: ${file}: expected a JSON array of numbers, got ${kindOf(values)}`);
  }
  const direction = values.map((value: unknown, place) => {
    if (typeof value === "number" && !isLostInFloat32(value)) return value;
    throw new InputError(
      `parseMetric: ${file}: [${place}]: expected a number that float32 can hold, got ${shown(value)}`,
    );
  });
  if (direction.some((value) => value !== 0)) return direction;
  throw new InputError(`parseMetric: ${file}: expected a direction that is not 0 throughout`);
}

function kindOf(value: unknown): string {
  return value === null ? "null" : `${/^[aeiou]/.test(typeof value) ? "an" : "a"} ${typeof value}`;
}

/** @file The values of options, from their text: checks that need nothing but that. Each throws commander's error for text it cannot use. */

import { InvalidArgumentError } from "commander";
import { parseByteSize } from "../byte-size.js";
import { InputError } from "../errors.js";
import { parseWindowShape, type WindowShape } from "../exact/windows.js";
import { isLostInFloat32 } from "../float32.js";
import { atMost, type Limit } from "../limits.js";
import { type NodePosition, parsePosition } from "../nodes/node-id.js";
import { expectedMetrics, isMetricText } from "../prompts/metrics/parse-metric.js";

/** Both of them included. */
export interface LayerRange {
  readonly first: number;
  readonly last: number;
}

/** BullMQ keeps colons for itself. */
export function queuePrefix(text: string): string {
  if (!/^[\w.-]{1,64}$/.test(text)) {
    throw new InvalidArgumentError("Expected up to 64 letters, digits, dots, dashes and underscores.");
  }
  return text;
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < 1) {
    throw new InvalidArgumentError("Expected a positive integer.");
  }
  return value;
}

export function positiveNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || !Number.isFinite(value) || value <= 0) {
    throw new InvalidArgumentError("Expected a positive number.");
  }
  return value;
}

/** A positive integer within a limit. */
export function countUpTo(limit: Limit): (text: string) => number {
  return (text) => within(limit, positiveInteger(text));
}

/** 0 or a positive integer within a limit. */
export function wholeUpTo(limit: Limit): (text: string) => number {
  return (text) => within(limit, wholeNumber(text));
}

/** A positive number within a limit. */
export function positiveUpTo(limit: Limit): (text: string) => number {
  return (text) => within(limit, positiveNumber(text));
}

function within(limit: Limit, value: number): number {
  if (value <= limit.most) return value;
  throw new InvalidArgumentError(`Expected ${atMost(limit)}.`);
}

/** A positive number that the engines do not lose. */
export function float32Number(text: string): number {
  const value = positiveNumber(text);
  if (!isLostInFloat32(value)) return value;
  throw new InvalidArgumentError("Expected a positive number that float32 can hold.");
}

export function positionLabels(text: string): NodePosition[] {
  return text.split(",").map((part) => {
    const position = parsePosition(part.trim());
    if (position === undefined) {
      throw new InvalidArgumentError(
        'Expected positions, negative ones from the end, roles or "*", separated by commas.',
      );
    }
    return position;
  });
}

export function byteSize(text: string): number {
  const bytes = parseByteSize(text);
  if (bytes === undefined) {
    throw new InvalidArgumentError("Expected bytes, or a number of KiB, MiB or GiB, such as 512MiB.");
  }
  return bytes;
}

/** The text of the error is that of the library. */
export function windowShape(text: string): WindowShape {
  try {
    return parseWindowShape(text);
  } catch (error) {
    if (error instanceof InputError) throw new InvalidArgumentError(error.message);
    throw error;
  }
}

/** A direction's file is read later, with the other files. */
export function metricText(text: string): string {
  if (!isMetricText(text)) throw new InvalidArgumentError(`Expected ${expectedMetrics()}.`);
  return text;
}

export function layerRange(text: string): LayerRange {
  const match = /^(\d+)-(\d+)$/.exec(text);
  if (!match) throw new InvalidArgumentError("Expected two layers, such as 2-5.");
  return { first: Number(match[1]), last: Number(match[2]) };
}

export function wholeNumbers(text: string): number[] {
  const values = text.split(",").map((part) => part.trim());
  if (!values.every((value) => /^\d+$/.test(value) && Number.isSafeInteger(Number(value)))) {
    throw new InvalidArgumentError("Expected whole numbers separated by commas.");
  }
  return values.map(Number);
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(Number(text))) {
    throw new InvalidArgumentError("Expected 0 or a positive integer.");
  }
  return Number(text);
}

export function integer(text: string): number {
  const value = Number(text);
  if (!/^-?\d+$/.test(text) || (value | 0) !== value) {
    throw new InvalidArgumentError("Expected an integer from -2^31 to 2^31 - 1.");
  }
  return value;
}

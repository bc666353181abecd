/**
 * @file What a result has to look like that its task makes: which arrays, how long, of finite numbers. A coordinator looks at it before
 * it stores what a worker of unknown origin has sent, and knows before it fetches anything how much that can be.
 */

import { partsOf } from "../atpstar/methods.js";
import type { ShardArray, ShardResult } from "./shard-result.js";
import type { ShardTask } from "./shard-task.js";

export interface ResultSizes {
  /** Of the job's space. */
  readonly nodes: number;
  /** How many the job has. */
  readonly metrics: number;
}

type ArrayType = "float64" | "float32" | "uint32";

interface Shape {
  readonly type: ArrayType;
  readonly length: number;
}

const BYTES: Readonly<Record<ArrayType, number>> = { float64: 8, float32: 4, uint32: 4 };

/** Of a header besides its task, and of what surrounds it. */
const HEADER_BYTES = 2 ** 14;
/** Of an array: its entry in the header, and zeros behind it. */
const ARRAY_BYTES = 2 ** 7;

/** The arrays of a task's result, by name. */
export function shapesOf(task: ShardTask, { nodes, metrics }: ResultSizes): ReadonlyMap<string, Shape> {
  const float64 = (length: number): Shape => ({ type: "float64", length });
  const float32 = (length: number): Shape => ({ type: "float32", length });
  if (task.kind === "sample") {
    return new Map([["effects", float64(task.samples.end - task.samples.first)]]);
  }
  const pairs = task.pairs.end - task.pairs.first;
  if (task.kind === "verify") {
    return new Map(
      Array.from({ length: metrics }, (_, m): [string, Shape][] => [
        [`patched.${m}`, float32(pairs * task.nodes.length)],
        [`base.${m}`, float64(pairs)],
        [`source.${m}`, float64(pairs)],
      ]).flat(),
    );
  }
  const { qkFix, gradDrop } = partsOf(task.method);
  const sums = [
    ...["sumAbs", "sum", "sumSquares"],
    ...(qkFix ? ["saturation"] : []),
    ...(gradDrop ? ["plain", "dropped"] : []),
  ];
  return new Map<string, Shape>([
    ["base", float64(pairs)],
    ["source", float64(pairs)],
    ...sums.map((name) => [name, float64(nodes)] as const),
    ["count", { type: "uint32", length: nodes }],
    ...Array.from({ length: task.byPair ? pairs : 0 }, (_, p) => [`pair.${p}`, float32(nodes)] as const),
  ]);
}

/** No result of the task has more bytes, as a file or on its way. */
export function mostResultBytes(task: ShardTask, sizes: ResultSizes): number {
  let bytes = HEADER_BYTES + JSON.stringify(task).length;
  for (const { type, length } of shapesOf(task, sizes).values()) bytes += ARRAY_BYTES + length * BYTES[type];
  return bytes;
}

/** What is wrong with a result; undefined for one that its task can have made. */
export function problemOf({ task, arrays }: ShardResult, sizes: ResultSizes): string | undefined {
  const shapes = shapesOf(task, sizes);
  for (const [name, { type, length }] of shapes) {
    const array = Object.hasOwn(arrays, name) ? arrays[name] : undefined;
    if (!array || typeOf(array) !== type || array.length !== length) {
      const got = array ? `${array.length} ${typeOf(array)} numbers` : "none";
      return `expected ${name} to be ${length} ${type} numbers, got ${got}`;
    }
    const broken = array.findIndex((value) => !Number.isFinite(value));
    if (broken >= 0) return `expected finite numbers in ${name}, got ${array[broken]} at place ${broken}`;
  }
  const more = Object.keys(arrays).find((name) => !shapes.has(name));
  return more === undefined ? undefined : `expected no further arrays, got ${more}`;
}

function typeOf(array: ShardArray): ArrayType {
  if (array instanceof Float64Array) return "float64";
  return array instanceof Float32Array ? "float32" : "uint32";
}

/**
 * @file What a run asks: which model, which pairs, which metric, direction and source, all by content. Two effects compare if, and
 * only if, they answer the same question; what a file or folder is called is no part of it.
 *
 * A run is named by its question and by what else decides its files: `4f1d20c1a9be-07c3a1f2`. The name stands in every file of its
 * results, so that any two of them can be told to belong together; running the same thing again gives the same name.
 */

import { hashOf } from "../canonical-json.js";
import type { Direction } from "../prompts/direction.js";
import { type InternalMetric, isInternal, type Metric } from "../prompts/metrics/metric.js";
import type { Pair } from "../prompts/pair.js";
import { DEFAULT_NOISE, type NoiseOptions } from "../sources/noise.js";

/** The parts of a question, each as a hash or a name: equal texts are equal parts. */
export interface Question {
  readonly model: string;
  readonly pairs: string;
  readonly metric: string;
  readonly direction: string;
  readonly source: string;
}

/** In the order in which people are told of differences. */
export const QUESTION_PARTS = ["model", "pairs", "metric", "direction", "source"] as const;

/** What is patched in, or run in place of corrupted prompts. */
export type AskedSource =
  | { readonly kind: "prompt" | "zero" }
  /** The mean over the source prompts of these pairs: `averagedPrompts`. */
  | { readonly kind: "mean"; readonly pairs: readonly Pair[] }
  | { readonly kind: "noise"; readonly noise: NoiseOptions };

export interface Asked {
  /** SHA-256 of its files: `hashModel`. */
  readonly modelHash: string;
  /** Those of the run, after sampling. */
  readonly pairs: readonly Pair[];
  /** The one that ranks. */
  readonly metric: Metric;
  readonly direction: Direction;
  readonly source: AskedSource;
}

/** Hexadecimal digits: of a million questions, two have the same 12 once in 500 times; a folder sees a few. */
const QUESTION_DIGITS = 12;
const SETTINGS_DIGITS = 8;

export function questionOf({ modelHash, pairs, metric, direction, source }: Asked): Question {
  return {
    model: short(modelHash),
    pairs: pairsText(pairs),
    metric: isInternal(metric) ? internalText(metric) : metric.name,
    direction,
    source: sourceText(source, direction),
  };
}

/** The hash that stands for a question, 12 hexadecimal digits. */
export function questionId({ model, pairs, metric, direction, source }: Question): string {
  return short(hashOf({ model, pairs, metric, direction, source }));
}

/**
 * The name of a run.
 * @param settings all else that decides its files, as JSON
 */
export function runId(question: Question, settings: object): string {
  return `${questionId(question)}-${hashOf(settings).slice(0, SETTINGS_DIGITS)}`;
}

/** The question of a run, as far as its name tells: `questionId`. */
export function questionOfRun(run: string): string {
  return run.split("-", 1)[0];
}

/** The parts in which two questions differ. */
export function differentParts(a: Question, b: Question): (typeof QUESTION_PARTS)[number][] {
  return QUESTION_PARTS.filter((part) => a[part] !== b[part]);
}

/** In any order: means over pairs do not depend on it. */
function pairsText(pairs: readonly Pair[]): string {
  const hashes = pairs.map(({ clean, corrupted, answers, wrong, roles, metricPosition }) =>
    hashOf({ clean, corrupted, answers, wrong, roles: [...roles], metricPosition }),
  );
  return short(hashOf(hashes.sort()));
}

function sourceText(source: AskedSource, direction: Direction): string {
  switch (source.kind) {
    case "mean":
      return `mean ${short(hashOf(source.pairs.map((pair) => sourcePrompt(pair, direction).join()).sort()))}`;
    case "noise": {
      const { at, multiple, draws, seed } = { ...DEFAULT_NOISE, ...source.noise };
      return `noise ${short(hashOf({ at: at.map(String).sort(), multiple, draws, seed }))}`;
    }
    default:
      return source.kind;
  }
}

/** What is averaged of a pair: its answers and roles do not matter. */
function sourcePrompt({ clean, corrupted }: Pair, direction: Direction): readonly number[] {
  return direction === "noising" ? corrupted : clean;
}

/** By what it reads: a direction's file may be called anything. */
function internalText({ reads, position, takes }: InternalMetric): string {
  return `internal ${short(hashOf({ reads, position, takes }))}`;
}

function short(hash: string): string {
  return hash.slice(0, QUESTION_DIGITS);
}

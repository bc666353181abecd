/**
 * @file What a run did, beside its ranked list: enough to see what was computed, from what, at which cost, and to do it
 * again.
 */

import { writeJson } from "../atomic-file.js";
import type { Method } from "../atpstar/methods.js";
import type { Engine } from "../engine/start-engine.js";
import type { MemorySummary } from "../plan/memory-summary.js";
import type { Direction } from "../prompts/direction.js";
import type { ListReference } from "../results/list-origin.js";
import type { Question } from "../results/question.js";
import type { RunState } from "../results/results-folder.js";
import type { AveragedLength } from "../sources/averaged.js";
import type { AgreementSummary } from "./agreement-text.js";
import type { PromptSummary } from "./prompt-summary.js";

/** What each stage took; a stage that did not run took 0. */
export interface PerStage {
  readonly estimate: number;
  readonly verify: number;
}

export interface MetricMeans {
  readonly name: string;
  readonly base: number;
  readonly source: number;
}

export interface RunSummary {
  /** The name of the run, as in every file of its results. */
  readonly run: string;
  /** What it asks, by content: runs of the same question compare. */
  readonly question: Question;
  /** Left at "running", the run broke off. */
  readonly state: RunState;
  /** What an interrupted run had computed, for people. */
  readonly interrupted?: { readonly text: string };
  /** The list that nodes were taken from. */
  readonly list?: ListReference;
  /** Version of atpkit. */
  readonly atpkit: string;
  readonly command: string;
  /** When the run began, ISO 8601. */
  readonly date: string;
  /** The command's options, defaults included. */
  readonly options: object;
  readonly model: { readonly name: string; readonly family: string; readonly layers: number };
  readonly pairs: {
    readonly files: readonly string[];
    /** Pairs in the files. */
    readonly available: number;
    /** Pairs of the run, after sampling. */
    readonly used: number;
  };
  /** Absent for prompts of different lengths. */
  readonly prompts?: PromptSummary;
  /** Mean metric of the base and of the source runs. */
  readonly metric: MetricMeans;
  /** The same of further metrics; absent where there are none. */
  readonly alsoMetrics?: readonly MetricMeans[];
  readonly direction: Direction;
  /** What was patched in, or run in place of corrupted prompts, where it was not the other prompt of each pair. */
  readonly source?: string;
  /** Where `source` is a mean: how many prompts of which length it was taken over, position by position. */
  readonly averaged?: readonly AveragedLength[];
  /** σ, the standard deviation of all entries of the token embeddings, where `source` is noise. */
  readonly embeddingDeviation?: number;
  /** How the effects were estimated; absent when nothing was. */
  readonly method?: Method;
  readonly nodes: { readonly ranked: number; readonly verified: number };
  /** Where some nodes were verified and others only estimated: how good the estimates were, and what they leave open. */
  readonly agreement?: AgreementSummary;
  readonly engine: Engine;
  /** With a budget of memory: what was planned, and what it came to so far. */
  readonly memory?: MemorySummary;
  /** Forward passes of one prompt. */
  readonly forwardEquivalents: PerStage;
  /** Of a job: those of its workers, added up, without `load`. */
  readonly seconds: PerStage & { readonly load?: number };
}

/** What is known before the list is written. */
export type BegunSummary = Omit<RunSummary, "nodes" | "agreement">;

/**
 * Writes a summary as JSON, complete or not at all.
 * @throws RunError if the disk refuses
 */
export async function writeSummary(path: string, summary: RunSummary | BegunSummary): Promise<void> {
  await writeJson(path, summary);
}

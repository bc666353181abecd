/** @file What a ranked list was computed from, as its rows and the summary beside it say; and whether a run asks the same. */

import { dirname, join } from "node:path";
import type { Method } from "../atpstar/methods.js";
import { METHODS } from "../atpstar/methods.js";
import { InputError } from "../errors.js";
import { readJsonDocument } from "./json-document.js";
import { differentParts, type QUESTION_PARTS, type Question, questionId, questionOfRun } from "./question.js";
import { RESULT_FILES } from "./result-files.js";
import { type Summary, summarySchema } from "./schemas.js";

export interface ListOrigin {
  readonly file: string;
  /** The run that its rows name. */
  readonly run?: string;
  /** The summary beside it, where it is of that run. */
  readonly summary?: Summary;
}

/** The list that a run takes nodes from, as summaries have it. */
export interface ListReference {
  readonly file: string;
  readonly run?: string;
  /** In what its question differs from that of the run, for people: then no number was taken over. */
  readonly differs?: string;
}

/** What people call the parts of a question. */
export type QuestionNames = Readonly<Record<(typeof QUESTION_PARTS)[number], string>>;

/** @param run that of the list's rows */
export async function originOfList(file: string, run: string | undefined): Promise<ListOrigin> {
  const summary = run === undefined ? undefined : await summaryOf(file, run);
  return { file, ...(run !== undefined && { run }), ...(summary && { summary }) };
}

/** In what a list differs from a run that is to take numbers from it, for people; undefined where they answer the same question. */
export function differenceFrom(
  { run, summary }: ListOrigin,
  question: Question,
  names: QuestionNames,
): string | undefined {
  if (run === undefined) return "a model, pairs and a metric that it does not name";
  if (questionOfRun(run) === questionId(question)) return undefined;
  const asked = summary?.question;
  if (!summary || !asked) return `another model, pairs, metric, direction or source (run ${run})`;
  const then = namesInSummary(summary);
  return differentParts(asked, question)
    .map((part) => {
      if (then[part] !== names[part]) return `${part} ${then[part]} (now ${names[part]})`;
      return `${part} ${then[part]}, ${SAME_NAME[part]}`;
    })
    .join(", ");
}

const SAME_NAME: QuestionNames = {
  model: "whose files have changed since",
  pairs: "of which others were taken, or which have changed since",
  metric: "which read something else",
  direction: "in another sense",
  source: "of other values",
};

/** "8 of ioi.jsonl" */
export function pairsName(used: number, files: readonly string[]): string {
  return `${used} of ${files.join(", ")}`;
}

function namesInSummary({ model, pairs, metric, direction, source = "prompt" }: Summary): QuestionNames {
  return {
    model: model.name,
    pairs: pairsName(pairs.used, pairs.files ?? []),
    metric: metric.name,
    direction,
    source,
  };
}

/** How the estimates of a list were made, and how many first rows it was meant to settle, where its summary says so. */
export function estimatesOfList({ summary }: ListOrigin): {
  readonly method?: Method;
  readonly topK?: number;
} {
  const method = METHODS.find((known) => known === summary?.method);
  const topK = summary?.agreement?.topK;
  return { ...(method && { method }), ...(topK !== undefined && { topK }) };
}

async function summaryOf(file: string, run: string): Promise<Summary | undefined> {
  try {
    const summary = await readJsonDocument(join(dirname(file), RESULT_FILES.summary.name), summarySchema);
    return summary?.run === run ? summary : undefined;
  } catch (error) {
    // Cut, or of something else: the list's own rows say which question it answers.
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

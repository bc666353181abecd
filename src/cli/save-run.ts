/** @file The files of a run, and what is kept of its rows for the terminal. */

import { rm } from "node:fs/promises";
import type { Method } from "../atpstar/methods.js";
import { AgreementOfRows } from "../bounds/agreement.js";
import { meanOf } from "../exact/pair-statistics.js";
import type { MetricOfRuns } from "../exact/patched-runs.js";
import { DEFAULT_TOP_K } from "../localize.js";
import { type RankedNode, type Ranking, rankedNodes } from "../nodes/ranking.js";
import { memorySummary } from "../plan/memory-summary.js";
import { summarizePrompts } from "../report/prompt-summary.js";
import { writeRankedCsv } from "../report/ranked-csv.js";
import { type RunSummary, writeSummary } from "../report/summary.js";
import { noisedPositions } from "../sources/noise.js";
import { packageVersion } from "../version.js";
import { sourceText } from "./noise.js";
import type { StartedRun } from "./prepare-run.js";
import { withCommand } from "./settle.js";

/** Rows of the table on the terminal. */
export const SHOWN_ROWS = 20;

/** A list that is shorter is written in a moment: nobody has to be told how far it is. */
const ROWS_PER_REPORT = 100_000;

export interface SavedRun {
  readonly summary: RunSummary;
  /** The best rows; and every verified one, where only some are. */
  readonly rows: readonly RankedNode[];
}

export interface SaveOptions {
  readonly signal: AbortSignal;
  /** The list, if it is not the ranking's own. */
  readonly merged?: Iterable<RankedNode> | AsyncIterable<RankedNode>;
  /** How the list's estimates were made, where that was not this run. */
  readonly method?: Method;
  /** How many rows the list is meant to settle; default 20. */
  readonly topK?: number;
  /** Keep the best rows only: every row of a sweep is verified, and there may be very many. */
  readonly bestOnly?: boolean;
}

/** Writes ranked.csv, then summary.json. A certificate of the list that was there before goes with it. */
export async function saveRun(
  run: StartedRun,
  ranking: Ranking & { readonly metrics?: readonly MetricOfRuns[] },
  { signal, merged, method, topK = DEFAULT_TOP_K, bestOnly = false }: SaveOptions,
): Promise<SavedRun> {
  const { tokenizer } = run.opened;
  const rows = merged ?? rankedNodes(ranking, { ...(tokenizer && { tokenizer }) });
  const { seconds } = run.clock;
  const kept: RankedNode[] = [];
  const nodes = { ranked: 0, verified: 0 };
  const agreement = new AgreementOfRows(topK);
  async function* counted(): AsyncGenerator<RankedNode> {
    for await (const row of rows) {
      nodes.ranked++;
      agreement.add(row);
      if (row.verified) nodes.verified++;
      if ((row.verified && !bestOnly) || row.rank <= SHOWN_ROWS) kept.push(row);
      if (!merged && nodes.ranked % ROWS_PER_REPORT === 0) {
        run.progress.stage({ stage: "write", done: nodes.ranked, total: ranking.order.length });
      }
      yield row;
    }
  }
  await rm(run.files.certificate, { force: true });
  await writeRankedCsv(run.files.ranked, counted(), { signal });
  run.progress.finish();
  const settling = withCommand(agreement.result(), run.options, run.files.ranked);
  const summary: RunSummary = {
    ...describeRun(run, { base: meanOf(ranking.baseMetric), source: meanOf(ranking.sourceMetric) }),
    ...describeAlsoMetrics(ranking.metrics),
    ...(method && { method }),
    nodes,
    ...(settling && { agreement: settling }),
    forwardEquivalents: ranking.forwardEquivalents,
    seconds,
  };
  await writeSummary(run.files.summary, summary);
  run.clock.skip();
  return { summary, rows: kept };
}

/** What was run on what, with which mean metric of the base and of the source runs. */
export function describeRun(
  {
    command,
    options,
    date,
    opened,
    metric,
    pairs,
    available,
    engine,
    method,
    noise,
    noiseSource,
    averaged,
    plan,
    model,
  }: StartedRun,
  means: { readonly base: number; readonly source: number },
): Omit<RunSummary, "nodes" | "forwardEquivalents" | "seconds"> {
  const { family, layers } = opened.config;
  const source = sourceText(options);
  const prompts = summarizePrompts(
    pairs,
    opened.tokenizer,
    noise && ((pair) => noisedPositions(pair, noise.at)),
  );
  return {
    atpkit: packageVersion(),
    command,
    date: date.toISOString(),
    options,
    model: { name: opened.name, family, layers },
    pairs: { files: options.pairs, available, used: pairs.length },
    ...(prompts && { prompts }),
    metric: { name: metric.name, ...means },
    direction: options.direction,
    ...(source !== "prompt" && { source }),
    ...(averaged && { averaged: averaged.lengths }),
    ...(noiseSource && { embeddingDeviation: noiseSource.embeddingDeviation }),
    ...(method && { method }),
    engine,
    ...(plan && { memory: memorySummary(plan, model.weights.stats?.()) }),
  };
}

/** Mean base and source value of the metrics behind the first. */
export function describeAlsoMetrics(
  metrics: readonly MetricOfRuns[] = [],
): Pick<RunSummary, "alsoMetrics"> | undefined {
  const alsoMetrics = metrics
    .slice(1)
    .map(({ name, base, source }) => ({ name, base: meanOf(base), source: meanOf(source) }));
  return alsoMetrics.length > 0 ? { alsoMetrics } : undefined;
}

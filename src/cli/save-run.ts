/** @file The files of a run, and what is kept of its rows for the terminal. */

import type { Method } from "../atpstar/methods.js";
import { AgreementOfRows } from "../bounds/agreement.js";
import type { Certificate } from "../bounds/certificate.js";
import { meanOf } from "../exact/pair-statistics.js";
import type { MetricOfRuns } from "../exact/patched-runs.js";
import { DEFAULT_TOP_K, type VerifiedRanking } from "../localize.js";
import { type RankedNode, type Ranking, rankedNodes } from "../nodes/ranking.js";
import type { ScoreTable } from "../nodes/score-table.js";
import { memorySummary } from "../plan/memory-summary.js";
import { writeCertificate } from "../report/certificate-file.js";
import { type MetricsTable, writeMetricsCsv } from "../report/metrics-csv.js";
import { summarizePrompts } from "../report/prompt-summary.js";
import { writeRankedCsv } from "../report/ranked-csv.js";
import { type BegunSummary, type RunSummary, writeSummary } from "../report/summary.js";
import type { ListReference } from "../results/list-origin.js";
import type { RunState } from "../results/results-folder.js";
import { noisedPositions } from "../sources/noise.js";
import { packageVersion } from "../version.js";
import { type CliContext, printNote } from "./context.js";
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
  /** Whether the run is at its end with this list; "running" where it goes on. */
  readonly state: RunState;
  /** What an interrupted run had computed, for people. */
  readonly interrupted?: string;
  /** The list, if it is not the ranking's own. */
  readonly merged?: Iterable<RankedNode> | AsyncIterable<RankedNode>;
  /** Where nodes were taken from. */
  readonly list?: ListReference;
  /** How the list's estimates were made, where that was not this run. */
  readonly method?: Method;
  /** How many rows the list is meant to settle; default 20. */
  readonly topK?: number;
  /** Keep the best rows only: every row of a sweep is verified, and there may be very many. */
  readonly bestOnly?: boolean;
  /** Every metric of the same runs, as a file of its own. */
  readonly metrics?: MetricsTable;
  /** What is certain of the list. */
  readonly certificate?: Certificate;
}

/** Writes a list and what belongs to it, in the place of what was there. An interrupt does not stop it. */
export async function saveRun(
  run: StartedRun,
  ranking: Ranking & { readonly metrics?: readonly MetricOfRuns[] },
  options: SaveOptions,
): Promise<SavedRun> {
  const { state, interrupted, merged, list, method, topK = DEFAULT_TOP_K, bestOnly = false } = options;
  const { results } = run;
  const { tokenizer } = run.opened;
  // Not stopped by a signal: what has been computed is kept.
  const control = { run: run.run };
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
  const begun: BegunSummary = {
    ...describeRun(
      { ...run, pairs: ranking.pairs },
      { base: meanOf(ranking.baseMetric), source: meanOf(ranking.sourceMetric) },
    ),
    state: "running",
    ...(list && { list }),
    ...describeAlsoMetrics(ranking.metrics),
    ...(method && { method }),
    forwardEquivalents: ranking.forwardEquivalents,
    seconds,
  };
  await beginList(run, begun);
  if (options.metrics) await writeMetricsCsv(results.path("metrics"), options.metrics, control);
  await writeRankedCsv(results.path("ranked"), counted(), control);
  run.progress.finish();
  // Exact effects over some of the pairs say nothing of estimates over all of them.
  const settling =
    state === "interrupted"
      ? undefined
      : withCommand(agreement.result(), run.options, results.path("ranked"));
  const summary: RunSummary = {
    ...begun,
    state,
    ...(interrupted && { interrupted: { text: interrupted } }),
    nodes,
    ...(settling && { agreement: settling }),
  };
  if (options.certificate) await saveCertificate(results.path("certificate"), options.certificate, summary);
  await writeSummary(results.path("summary"), summary);
  run.clock.skip();
  return { summary, rows: kept };
}

/**
 * Writes what an interrupted run had computed, and says so in the context.
 * @param nodes of the run, all of which were to be patched
 */
export async function saveInterrupted(
  run: StartedRun,
  soFar: VerifiedRanking | Ranking,
  nodes: number,
  context: CliContext,
  options: Pick<SaveOptions, "topK" | "bestOnly" | "list" | "merged" | "metrics" | "method"> = {},
): Promise<void> {
  const { verified } = soFar;
  if (!verified) return;
  const over = overPairs(run, pairsOf(verified.scores));
  const interrupted = `exact effects of ${verified.nodes.length} of the ${nodes} nodes${over}`;
  await saveRun(run, soFar, { ...options, state: "interrupted", interrupted });
  context.saved = `${interrupted}, are in ${run.results.path("ranked")}`;
}

/** How many pairs exact effects are of, where some were interrupted. */
export function pairsOf({ count }: ScoreTable): number {
  return count.reduce((most, ofRow) => Math.max(most, ofRow), 0);
}

/** What is said of effects that are over fewer pairs than the run has: nothing where they are over all. */
export function overPairs({ pairs: { length } }: Pick<StartedRun, "pairs">, pairs: number): string {
  return pairs < length ? `, over ${pairs} of the ${length} pairs` : "";
}

/** Writes the summary of a list that is about to be written, and says what else it has replaced. */
export async function beginList({ run, results }: StartedRun, begun: BegunSummary): Promise<void> {
  const removed = await results.beginList(run, (path) => writeSummary(path, begun));
  if (removed.length > 0) {
    printNote(`${results.folder}: removed ${removed.join(", ")}, which belonged to an earlier list`);
  }
}

async function saveCertificate(
  path: string,
  certificate: Certificate,
  { nodes: _nodes, forwardEquivalents: _cost, seconds: _seconds, state: _state, ...about }: RunSummary,
): Promise<void> {
  await writeCertificate(path, certificate, about);
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
    run,
    question,
  }: StartedRun,
  means: { readonly base: number; readonly source: number },
): Omit<BegunSummary, "state" | "forwardEquivalents" | "seconds"> {
  const { family, layers } = opened.config;
  const source = sourceText(options);
  const prompts = summarizePrompts(
    pairs,
    opened.tokenizer,
    noise && ((pair) => noisedPositions(pair, noise.at)),
  );
  return {
    atpkit: packageVersion(),
    run,
    command,
    date: date.toISOString(),
    options,
    question,
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

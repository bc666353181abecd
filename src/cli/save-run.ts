/** @file The files of a run, and what is kept of its rows for the terminal. */

import { type RankedNode, type Ranking, rankedNodes } from "../nodes/ranking.js";
import { writeRankedCsv } from "../report/ranked-csv.js";
import { type RunSummary, writeSummary } from "../report/summary.js";
import type { StartedRun } from "./prepare-run.js";
import { packageVersion } from "./version.js";

/** Rows of the table on the terminal. */
export const SHOWN_ROWS = 20;

/** A list that is shorter is written in a moment: nobody has to be told how far it is. */
const ROWS_PER_REPORT = 100_000;

export interface SavedRun {
  readonly summary: RunSummary;
  /** The best rows, and every verified one. */
  readonly rows: readonly RankedNode[];
}

/**
 * Writes ranked.csv, then summary.json.
 * @param merged the list, if it is not the ranking's own
 */
export async function saveRun(
  run: StartedRun,
  ranking: Ranking,
  signal: AbortSignal,
  merged?: Iterable<RankedNode> | AsyncIterable<RankedNode>,
): Promise<SavedRun> {
  const { tokenizer } = run.opened;
  const rows = merged ?? rankedNodes(ranking, { ...(tokenizer && { tokenizer }) });
  const { seconds } = run.clock;
  const kept: RankedNode[] = [];
  const nodes = { ranked: 0, verified: 0 };
  async function* counted(): AsyncGenerator<RankedNode> {
    for await (const row of rows) {
      nodes.ranked++;
      if (row.verified) nodes.verified++;
      if (row.verified || row.rank <= SHOWN_ROWS) kept.push(row);
      if (!merged && nodes.ranked % ROWS_PER_REPORT === 0) {
        run.progress.stage({ stage: "write", done: nodes.ranked, total: ranking.order.length });
      }
      yield row;
    }
  }
  await writeRankedCsv(run.files.ranked, counted(), { signal });
  run.progress.finish();
  const summary: RunSummary = {
    ...describeRun(run, { base: mean(ranking.baseMetric), source: mean(ranking.sourceMetric) }),
    nodes,
    forwardEquivalents: ranking.forwardEquivalents,
    seconds,
  };
  await writeSummary(run.files.summary, summary);
  run.clock.skip();
  return { summary, rows: kept };
}

/** What was run on what, with which mean metric of the base and of the source runs. */
export function describeRun(
  { command, options, date, opened, metric, pairs, available, engine, method }: StartedRun,
  means: { readonly base: number; readonly source: number },
): Omit<RunSummary, "nodes" | "forwardEquivalents" | "seconds"> {
  const { family, layers } = opened.config;
  const { source = "prompt" } = options;
  return {
    atpkit: packageVersion(),
    command,
    date: date.toISOString(),
    options,
    model: { name: opened.name, family, layers },
    pairs: { files: options.pairs, available, used: pairs.length },
    metric: { name: metric.name, ...means },
    direction: options.direction,
    ...(source !== "prompt" && { source }),
    ...(method && { method }),
    engine,
  };
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

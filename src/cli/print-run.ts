/** @file The results of a run on stdout: a table between a few lines of context, or one JSON document. */

import { METHOD_DESCRIPTIONS } from "../atpstar/methods.js";
import type { Certificate } from "../bounds/certificate.js";
import { agreementLines, isOpen, openRows } from "../report/agreement-text.js";
import { rankedTable, withSign } from "../report/ranked-table.js";
import type { RunSummary } from "../report/summary.js";
import type { ResultName } from "../results/result-files.js";
import { describeAveraged } from "../sources/averaged.js";
import { printResult } from "./context.js";
import type { StartedRun } from "./prepare-run.js";
import { type SavedRun, SHOWN_ROWS } from "./save-run.js";

const DIRECTION_TEXTS = {
  noising: "corrupted activations patched into the clean run",
  denoising: "clean activations patched into the corrupted run",
} as const;

/** The files that a run has written, by what they are, in the order in which they are named. */
export type ShownFiles = Readonly<Partial<Record<ResultName | "report", string>>>;

/** The list's own, and what else a command has written with it. */
export function listFiles(
  { results }: Pick<StartedRun, "results">,
  more: readonly ResultName[] = [],
): ShownFiles {
  const names: ResultName[] = ["ranked", ...more, "summary"];
  return Object.fromEntries(names.map((name) => [name, results.path(name)]));
}

/**
 * @param json one JSON document, nothing else
 * @param certificate what is certain of the list, where that was asked for
 */
export function printRun(
  { summary, rows }: SavedRun,
  files: ShownFiles,
  json: boolean,
  certificate?: Certificate,
): void {
  if (json) {
    const document = {
      ...summary,
      files,
      ...(certificate && { certificate }),
      nodes: rows,
    };
    printResult(JSON.stringify(document, undefined, 2));
    return;
  }
  const { agreement } = summary;
  const certain = certificate?.certified === true;
  const open = openRows(agreement, certain);
  const table = rankedTable(
    rows.filter(({ rank }) => rank <= SHOWN_ROWS),
    ({ rank }) => isOpen(open, rank),
    summary.pairs.used,
  );
  printResult(
    [
      heading(summary),
      "",
      table,
      "",
      ...(agreement ? [labelled(agreementLines(agreement, certain)), ""] : []),
      ...(certificate ? [...certificateLines(certificate), ""] : []),
      footing(summary, Object.values(files)),
    ].join("\n"),
  );
}

function certainText(certified: boolean, { total, verified }: Certificate["nodes"]): string {
  if (!certified) return "no";
  return verified === total ? "yes" : "yes, by average marginal effects";
}

function certificateLines({ certified, nodes, claims, assumptions, cost }: Certificate): string[] {
  return [
    labelled([
      ["certain", certainText(certified, nodes)],
      ...claims.map((claim) => ["claim", claim] as const),
      ...assumptions.map((assumption) => ["assumed", assumption] as const),
      ["sampled", `${cost.sample.toFixed(1)} of the forward equivalents of verify`],
    ]),
  ];
}

/** What was run on what. */
export type RunHeading = Pick<
  RunSummary,
  | "model"
  | "pairs"
  | "metric"
  | "direction"
  | "source"
  | "averaged"
  | "embeddingDeviation"
  | "method"
  | "engine"
  | "list"
  | "interrupted"
>;

export function heading({ model, pairs, metric, direction, method, engine, ...run }: RunHeading): string {
  const sample = pairs.used < pairs.available ? ` (a sample of ${pairs.available})` : "";
  return labelled([
    ["model", `${model.name} (${model.family}, ${model.layers} layers)`],
    ["pairs", `${pairs.used}${sample} from ${pairs.files.join(", ")}`],
    ["metric", `${metric.name}: base ${withSign(metric.base, 3)} → source ${withSign(metric.source, 3)}`],
    ["direction", `${direction}: ${DIRECTION_TEXTS[direction]}`],
    ...sourceLine(run),
    ...(run.averaged ? [["averaged", describeAveraged(run.averaged)] as const] : []),
    ...(method ? [["method", `${method}: ${METHOD_DESCRIPTIONS[method]}`] as const] : []),
    ...listLine(run),
    ...(run.interrupted ? [["broken off", run.interrupted.text] as const] : []),
    ["engine", `${engine.backend} (${engine.device}): ${engine.reason}`],
  ]);
}

function listLine({ list }: Pick<RunHeading, "list">): (readonly [string, string])[] {
  if (!list) return [];
  const differs =
    list.differs === undefined
      ? ""
      : `, computed with ${list.differs}: only its choice and order of nodes is used, none of its numbers`;
  return [["list", `${list.file}${differs}`]];
}

function sourceLine({
  source,
  embeddingDeviation,
}: Pick<RunHeading, "source" | "embeddingDeviation">): (readonly [string, string])[] {
  if (source === undefined) return [];
  const text =
    embeddingDeviation === undefined
      ? "in place of the other prompt's activations"
      : `σ = ${embeddingDeviation.toPrecision(4)}: the clean prompt noised, in place of the corrupted one`;
  return [["source", `${source}, ${text}`]];
}

function footing(summary: RunSummary, files: readonly string[]): string {
  const { nodes, seconds, forwardEquivalents } = summary;
  const load = seconds.load === undefined ? [] : [`load ${seconds.load.toFixed(2)} s`];
  const stages = (["estimate", "verify"] as const)
    .filter((stage) => forwardEquivalents[stage] > 0)
    .map(
      (stage) =>
        `${stage} ${forwardEquivalents[stage].toFixed(1)} forward equivalents in ${seconds[stage].toFixed(2)} s`,
    );
  return labelled([
    ["nodes", `${nodes.ranked}, of which ${nodes.verified} verified by exact patching`],
    ["cost", [...load, ...stages].join(", ")],
    ["files", files.join(", ")],
  ]);
}

/** Lines of a label and a text. */
export function labelled(lines: readonly (readonly [string, string])[]): string {
  return lines.map(([label, text]) => `${label.padEnd(9)}  ${text}`).join("\n");
}

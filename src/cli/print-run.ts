/** @file The results of a run on stdout: a table between a few lines of context, or one JSON document. */

import { METHOD_DESCRIPTIONS } from "../atpstar/methods.js";
import type { Certificate } from "../bounds/certificate.js";
import { agreementLines, isOpen, openRows } from "../report/agreement-text.js";
import { rankedTable, withSign } from "../report/ranked-table.js";
import type { RunSummary } from "../report/summary.js";
import { describeAveraged } from "../sources/averaged.js";
import { printResult } from "./context.js";
import type { OutputFiles } from "./output-folder.js";
import { type SavedRun, SHOWN_ROWS } from "./save-run.js";

const DIRECTION_TEXTS = {
  noising: "corrupted activations patched into the clean run",
  denoising: "clean activations patched into the corrupted run",
} as const;

/** Those that every run writes, a certificate where there is one, and what else was written. */
export type ShownFiles = Omit<OutputFiles, "folder"> & {
  readonly metrics?: string;
  readonly scores?: string;
  readonly manifest?: string;
  readonly report?: string;
};

/**
 * @param json one JSON document, nothing else
 * @param certificate what is certain of the list, where that was asked for
 */
export function printRun(
  { summary, rows }: SavedRun,
  { ranked, summary: file, certificate: certificateFile, metrics, scores, manifest, report }: ShownFiles,
  json: boolean,
  certificate?: Certificate,
): void {
  const written = {
    ...(metrics && { metrics }),
    ...(scores && { scores }),
    ...(manifest && { manifest }),
    ...(report && { report }),
  };
  if (json) {
    const files = {
      ranked,
      ...written,
      ...(certificate && { certificate: certificateFile }),
      summary: file,
    };
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
      footing(summary, [ranked, ...Object.values(written), ...(certificate ? [certificateFile] : []), file]),
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
    ["engine", `${engine.backend} (${engine.device}): ${engine.reason}`],
  ]);
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

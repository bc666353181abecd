/** @file `atp report`: a folder of results as one page; and the same behind `--report` of the commands that write one. */

import { join } from "node:path";
import { type WrittenReport, writeReport } from "../report/html/write-report.js";
import { checkReplaceable } from "../results/make-folder.js";
import { RESULT_FILES } from "../results/result-files.js";
import { type CliContext, printNote, printResult } from "./context.js";
import type { ReportCommandOptions } from "./options.js";

export async function reportCommand(
  folder: string,
  { svg = false, json }: ReportCommandOptions,
  context: CliContext,
): Promise<void> {
  await checkReplaceable("report", join(folder, RESULT_FILES.page.name));
  const report = await writeReport(folder, { svg });
  const { page, figures, warnings } = report;
  for (const warning of warnings) printNote(`warning: ${folder}: ${warning}`);
  context.saved = `the page is ${page}`;
  printResult(json ? JSON.stringify(report, undefined, 2) : [page, ...figures].join("\n"));
}

/**
 * Writes the page of a run that was asked for one with `--report`.
 * @returns its path as a field of the run's files
 */
export async function reportOfRun({
  out,
  report,
}: {
  readonly out: string;
  readonly report?: true;
}): Promise<{ readonly report?: WrittenReport["page"] }> {
  if (!report) return {};
  const { page } = await writeReport(out);
  return { report: page };
}

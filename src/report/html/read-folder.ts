/** @file What an output folder holds, read and checked as a whole before a page is made of it. */

import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { InputError } from "../../errors.js";
import { NODE_COLUMNS } from "../metrics-csv.js";
import { WINDOW_COLUMNS } from "../windows-csv.js";
import { readJsonFile } from "./json-file.js";
import type { Sheet } from "./page-data.js";
import { collectRanked, type RankedContent } from "./ranked-content.js";
import { readSheet } from "./read-sheet.js";
import {
  type CertificateContent,
  certificateSchema,
  type FaithfulnessContent,
  faithfulnessSchema,
  type Summary,
  summarySchema,
} from "./schemas.js";

/**
 * Rows of a table on the page. A browser takes about a second for as many; whoever needs the rest has the CSV. Verified
 * rows of the ranked list come on top of it.
 */
export const MAX_ROWS = 100_000;

export interface ReportFolder {
  readonly summary?: Summary;
  readonly certificate?: CertificateContent;
  readonly faithfulness?: FaithfulnessContent;
  readonly ranked?: RankedContent;
  readonly sheets: readonly Sheet[];
  /** What lies there and is not shown, and why. */
  readonly notes: readonly string[];
}

/** Commands that write ranked.csv without metrics.csv: one that lies there is of an earlier run. */
const WITHOUT_METRICS: readonly string[] = ["estimate", "localize"];

/**
 * @throws InputError for a folder without results, and for a file that is not as this program writes it, with its field
 *   or line
 */
export async function readReportFolder(folder: string): Promise<ReportFolder> {
  if (!(await isFolder(folder))) {
    throw new InputError(`readReportFolder: expected a folder of results, got ${folder}`);
  }
  const at = (name: string) => join(folder, name);
  const summary = await readJsonFile(at("summary.json"), summarySchema);
  const certificate = await readJsonFile(at("certificate.json"), certificateSchema);
  const faithfulness = await readJsonFile(at("faithfulness.json"), faithfulnessSchema);
  const notes: string[] = [];
  /** The path of a file that is there and belongs to the run of summary.json. */
  const own = async (name: string, reason: string | undefined) => {
    if (!(await isFile(at(name)))) return undefined;
    if (reason === undefined) return at(name);
    notes.push(`${name} is not shown: ${reason}`);
    return undefined;
  };
  const ofWindows = summary?.windows !== undefined;
  const rankedCsv = await own(
    "ranked.csv",
    ofWindows ? "summary.json is of windows, so the list is of an earlier run" : undefined,
  );
  const windowsCsv = await own(
    "windows.csv",
    summary && !ofWindows
      ? "summary.json is of single nodes, so the windows are of an earlier run"
      : undefined,
  );
  const metricsCsv = await own("metrics.csv", foreignMetrics(summary));
  if (rankedCsv === undefined && windowsCsv === undefined && faithfulness === undefined) {
    throw new InputError(
      `readReportFolder: ${folder}: expected results, ranked.csv, windows.csv or faithfulness.json, got none of them`,
    );
  }
  const ranked = rankedCsv === undefined ? undefined : await collectRanked(rankedCsv, MAX_ROWS);
  const sheets: Sheet[] = [];
  const textColumns = new Set<string>([...NODE_COLUMNS, ...WINDOW_COLUMNS]);
  for (const column of ["layer", "index", "first_layer", "last_layer"]) textColumns.delete(column);
  for (const file of [windowsCsv, metricsCsv]) {
    if (file === undefined) continue;
    sheets.push(await readSheet(basename(file, ".csv"), file, { textColumns, limit: MAX_ROWS }));
  }
  return {
    ...(summary && { summary }),
    ...(certificate && { certificate }),
    ...(faithfulness && { faithfulness }),
    ...(ranked && { ranked }),
    sheets,
    notes,
  };
}

function foreignMetrics(summary: Summary | undefined): string | undefined {
  if (!summary) return undefined;
  const { command, options } = summary;
  const wrote =
    !WITHOUT_METRICS.includes(command) && (command !== "verify" || options?.alsoMetric !== undefined);
  return wrote ? undefined : `atp ${command} did not write it, so it is of an earlier run`;
}

async function isFolder(path: string): Promise<boolean> {
  return (await look(path))?.isDirectory() ?? false;
}

async function isFile(path: string): Promise<boolean> {
  return (await look(path))?.isFile() ?? false;
}

async function look(path: string) {
  try {
    return await stat(path);
  } catch {
    return undefined;
  }
}

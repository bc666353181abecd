/**
 * @file What a folder of results holds, read and checked as a whole before a page is made of it. Every file names its run: what is
 * of another one than summary.json is not shown, and said.
 */

import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { InputError } from "../../errors.js";
import { isFile } from "../../results/documents.js";
import { writerOf } from "../../results/folder-lock.js";
import { readJsonDocument } from "../../results/json-document.js";
import { RESULT_FILES, type ResultName } from "../../results/result-files.js";
import {
  type CertificateContent,
  certificateSchema,
  type FaithfulnessContent,
  faithfulnessSchema,
  type Summary,
  summarySchema,
} from "../../results/schemas.js";
import { NODE_COLUMNS } from "../metrics-csv.js";
import { WINDOW_COLUMNS } from "../windows-csv.js";
import type { Sheet } from "./page-data.js";
import { collectRanked, type RankedContent } from "./ranked-content.js";
import { readSheet } from "./read-sheet.js";

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
  /** Where the run of the list is not at its end: what became of it. */
  readonly unfinished?: string;
  /** What lies there and is not shown, and why; and what is not known of what is shown. */
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
  try {
    return await new FolderReader(folder).read();
  } catch (error) {
    if (error instanceof InputError && !error.message.startsWith("read")) {
      throw new InputError(`readReportFolder: ${error.message}`);
    }
    throw error;
  }
}

class FolderReader {
  readonly #notes: string[] = [];

  constructor(private readonly folder: string) {}

  async read(): Promise<ReportFolder> {
    const summary = await readJsonDocument(this.#at("summary"), summarySchema);
    const ranked = await this.#ranked(summary);
    const sheets = [
      await this.#sheet("windows", summary, windowsAreForeign(summary)),
      await this.#sheet("metrics", summary, metricsAreForeign(summary)),
    ].filter((sheet) => sheet !== undefined);
    const certificate = await this.#certificate(summary);
    const faithfulness = await this.#faithfulness(summary, ranked !== undefined);
    const unfinished = await this.#unfinished(summary);
    if (!ranked && !sheets.some(({ id }) => id === "windows") && !faithfulness && !unfinished) {
      const foreign = this.#notes.length === 0 ? "" : ` that belong together (${this.#notes.join("; ")})`;
      throw new InputError(
        `readReportFolder: ${this.folder}: expected results, ranked.csv, windows.csv or faithfulness.json, got none of them${foreign}`,
      );
    }
    if (ranked && summary && summary.run === undefined) {
      this.#notes.push(
        "an earlier version of atpkit wrote these files: they do not name their run, and may be of several",
      );
    }
    return {
      ...(summary && { summary }),
      ...(certificate && { certificate }),
      ...(faithfulness && { faithfulness }),
      ...(ranked && { ranked }),
      sheets,
      ...(unfinished && { unfinished }),
      notes: this.#notes,
    };
  }

  async #ranked(summary: Summary | undefined): Promise<RankedContent | undefined> {
    const reason = summary?.windows && "summary.json is of windows, so the list is of an earlier run";
    const file = await this.#own("ranked", reason);
    if (!file) return undefined;
    const ranked = await collectRanked(file, MAX_ROWS);
    return this.#isOf(summary, "ranked", ranked.run) ? ranked : undefined;
  }

  async #sheet(
    name: "windows" | "metrics",
    summary: Summary | undefined,
    reason: string | undefined,
  ): Promise<Sheet | undefined> {
    const file = await this.#own(name, reason);
    if (!file) return undefined;
    const id = basename(file, ".csv");
    const { run, sheet } = await readSheet(id, file, { textColumns: TEXT_COLUMNS, limit: MAX_ROWS });
    return this.#isOf(summary, name, run) ? sheet : undefined;
  }

  async #certificate(summary: Summary | undefined): Promise<CertificateContent | undefined> {
    const certificate = await readJsonDocument(this.#at("certificate"), certificateSchema);
    return certificate && this.#isOf(summary, "certificate", certificate.run) ? certificate : undefined;
  }

  async #faithfulness(
    summary: Summary | undefined,
    hasList: boolean,
  ): Promise<FaithfulnessContent | undefined> {
    const faithfulness = await readJsonDocument(this.#at("curve"), faithfulnessSchema);
    if (!faithfulness) {
      if (await isFile(this.#at("curvePoints"))) {
        this.#notes.push(
          "faithfulness.csv is not shown: there is no faithfulness.json, so its run broke off",
        );
      }
      return undefined;
    }
    if (!summary || !hasList) return faithfulness;
    return this.#isOf(summary, "curve", faithfulness.list?.run) ? faithfulness : undefined;
  }

  /** Whether a file is of the run of summary.json, which every file of that run says. */
  #isOf(summary: Summary | undefined, name: ResultName, run: string | undefined): boolean {
    // Without a summary, or with one of an earlier version, nothing is known.
    if (!summary || (summary.run === undefined && run === undefined) || summary.run === run) return true;
    const { name: file } = RESULT_FILES[name];
    const of = run === undefined ? "it does not name its run" : `it is of another run, ${run}`;
    this.#notes.push(
      `${file} is not shown: ${of}${summary.run === undefined ? "" : `; this one is ${summary.run}`}`,
    );
    return false;
  }

  /** What became of a run that is not at its end. */
  async #unfinished(summary: Summary | undefined): Promise<string | undefined> {
    if (summary?.state === "interrupted") {
      return `this run was interrupted: ${summary.interrupted?.text ?? "the list is not the last one"}`;
    }
    if (summary?.state !== "running") return undefined;
    const writer = await writerOf(this.folder);
    if (writer)
      return `process ${writer.pid} of ${writer.host} is still at this run: the list is not the last one`;
    return "this run broke off: the list is not the last one";
  }

  /** The path of a file that is there and belongs to the run of summary.json, as far as its command tells. */
  async #own(name: ResultName, reason: string | undefined): Promise<string | undefined> {
    const path = this.#at(name);
    if (!(await isFile(path))) return undefined;
    if (reason === undefined) return path;
    this.#notes.push(`${RESULT_FILES[name].name} is not shown: ${reason}`);
    return undefined;
  }

  #at(name: ResultName): string {
    return join(this.folder, RESULT_FILES[name].name);
  }
}

const TEXT_COLUMNS = new Set<string>([...NODE_COLUMNS, ...WINDOW_COLUMNS]);
for (const column of ["layer", "index", "first_layer", "last_layer"]) TEXT_COLUMNS.delete(column);

function windowsAreForeign(summary: Summary | undefined): string | undefined {
  return summary && !summary.windows
    ? "summary.json is of single nodes, so the windows are of an earlier run"
    : undefined;
}

function metricsAreForeign(summary: Summary | undefined): string | undefined {
  if (!summary) return undefined;
  const { command, options } = summary;
  const wrote =
    !WITHOUT_METRICS.includes(command) && (command !== "verify" || options?.alsoMetric !== undefined);
  return wrote ? undefined : `atp ${command} did not write it, so it is of an earlier run`;
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

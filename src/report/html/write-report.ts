/**
 * @file Reports: the files of an output folder as one page that people can look at, and its figures as SVG.
 */

import { join } from "node:path";
import { writeAtomically } from "../../atomic-file.js";
import { figureFile } from "../../results/own-files.js";
import { RESULT_FILES } from "../../results/result-files.js";
import { figureSections } from "./figure-sections.js";
import { reportPage } from "./page.js";
import { readReportFolder } from "./read-folder.js";
import { figureSvg } from "./svg.js";

export interface ReportOptions {
  /** Also write each figure as an SVG file beside the page. */
  readonly svg?: boolean;
}

export interface WrittenReport {
  /** Path of report.html. */
  readonly page: string;
  /** Paths of the SVG files. */
  readonly figures: readonly string[];
  /** What is not as a finished run leaves it: it broke off, or files of other runs lie there. The page says so, too. */
  readonly warnings: readonly string[];
}

/**
 * Makes report.html of the results in a folder (ranked.csv, summary.json, certificate.json, metrics.csv, windows.csv,
 * faithfulness.json, those that are there) and puts it beside them. The page needs no other file and makes no request.
 *
 * @throws InputError for a folder without results, and for a file that is not as this program writes it, naming the file
 *   and its field or line
 * @throws RunError if the disk refuses
 */
export async function writeReport(
  folder: string,
  { svg = false }: ReportOptions = {},
): Promise<WrittenReport> {
  const content = await readReportFolder(folder);
  const sections = figureSections(content);
  const page = join(folder, RESULT_FILES.page.name);
  const text = await reportPage(content, sections);
  await writeAtomically(page, (handle) => handle.writeFile(text));
  const figures: string[] = [];
  for (const figure of svg ? sections.flatMap((section) => section.figures) : []) {
    const path = join(folder, figureFile(figure.id));
    const drawing = await figureSvg(figure, content.summary?.run ?? content.faithfulness?.run);
    await writeAtomically(path, (handle) => handle.writeFile(drawing));
    figures.push(path);
  }
  const { unfinished, notes } = content;
  return { page, figures, warnings: [...(unfinished === undefined ? [] : [unfinished]), ...notes] };
}

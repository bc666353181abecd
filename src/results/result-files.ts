/** @file The files of a folder of results: what each is called, and what it belongs to. Whoever writes or reads one asks here. */

/**
 * What a command writes together. A folder has one list at most; beside it a faithfulness curve of that very list, and effects of
 * paths that answer the same question.
 */
export type ResultGroup = "list" | "curve" | "paths" | "page";

interface ResultFile {
  readonly name: string;
  readonly group: ResultGroup;
}

export const RESULT_FILES = {
  /** Of which run the list is, and how far that came: the one that says so is written first and last. */
  summary: { name: "summary.json", group: "list" },
  ranked: { name: "ranked.csv", group: "list" },
  windows: { name: "windows.csv", group: "list" },
  metrics: { name: "metrics.csv", group: "list" },
  certificate: { name: "certificate.json", group: "list" },
  scores: { name: "scores.parquet", group: "list" },
  manifest: { name: "manifest.json", group: "list" },
  curve: { name: "faithfulness.json", group: "curve" },
  curvePoints: { name: "faithfulness.csv", group: "curve" },
  paths: { name: "paths.json", group: "paths" },
  pathRows: { name: "paths.csv", group: "paths" },
  page: { name: "report.html", group: "page" },
} as const satisfies Record<string, ResultFile>;

export type ResultName = keyof typeof RESULT_FILES;

export const RESULT_NAMES = Object.keys(RESULT_FILES).filter((key): key is ResultName => key in RESULT_FILES);

/** The files of a group, in the order of the table. */
export function filesOfGroup(group: ResultGroup): ResultName[] {
  return RESULT_NAMES.filter((key) => RESULT_FILES[key].group === group);
}

/** The document of a group that says of which run it is; a page has none. */
export const DOCUMENTS = { list: "summary", curve: "curve", paths: "paths" } as const satisfies Record<
  Exclude<ResultGroup, "page">,
  ResultName
>;

/** @file The files of a folder of results: what each is called, and what it belongs to. Whoever writes or reads one asks here. */

/**
 * What a command writes together. A folder has one list at most; beside it a faithfulness curve of that very list, and effects of
 * paths that answer the same question.
 */
export type ResultGroup = "list" | "curve" | "paths" | "page";

interface ResultFile {
  readonly name: string;
  readonly group: ResultGroup;
  /** What a file of this kind has at its beginning or its end, and hardly any other file of the name. */
  readonly mark: RegExp;
}

/** The name of what says in pages and figures of which run they are. */
export const PAGE_META = "atpkit-run";
export const PAGE_MARK = /atpkit-run/;

/** Every document names the version that has written it. */
const DOCUMENT_MARK = /"atpkit": "/;

export const RESULT_FILES = {
  /** Of which run the list is, and how far that came: the one that says so is written first and last. */
  summary: { name: "summary.json", group: "list", mark: DOCUMENT_MARK },
  ranked: { name: "ranked.csv", group: "list", mark: /^rank,node,site,/ },
  windows: { name: "windows.csv", group: "list", mark: /^rank,window,site,/ },
  metrics: { name: "metrics.csv", group: "list", mark: /^(node|window),site,/ },
  certificate: { name: "certificate.json", group: "list", mark: DOCUMENT_MARK },
  scores: { name: "scores.parquet", group: "list", mark: /estimate_sum_abs/ },
  manifest: { name: "manifest.json", group: "list", mark: DOCUMENT_MARK },
  curve: { name: "faithfulness.json", group: "curve", mark: DOCUMENT_MARK },
  curvePoints: { name: "faithfulness.csv", group: "curve", mark: /^k,share,/ },
  paths: { name: "paths.json", group: "paths", mark: DOCUMENT_MARK },
  pathRows: { name: "paths.csv", group: "paths", mark: /^sender,receiver,/ },
  page: { name: "report.html", group: "page", mark: PAGE_MARK },
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

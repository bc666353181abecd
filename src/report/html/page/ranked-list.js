// @ts-check
/** @file The ranked list: rows, flags, filters, links to the figures and back. */
import { elementOf, nodeOfRow, numberInRow, pageData, rowOfNode } from "./data.js";
import { plainText } from "./numbers.js";
import { makeTable } from "./table.js";

/** As the page's words have it. */
const SATURATED = 0.5;
const CANCELS = 2;

/** @typedef {import("./table.js").TableColumn} TableColumn */

/** @type {(TableColumn & { number?: import("../page-data.js").NumberColumn })[]} */
const LIST_COLUMNS = [
  { field: "rank", title: "Rank", csvTitle: "rank", kind: "count", number: "rank", width: 76 },
  { field: "node", title: "Node", csvTitle: "node", kind: "text", width: 150 },
  { field: "token", title: "Token", csvTitle: "token", kind: "text", hint: "where every pair has the same" },
  {
    field: "contribution",
    title: "Contribution",
    csvTitle: "contribution",
    kind: "number",
    number: "contribution",
  },
  {
    field: "effect",
    title: "Effect",
    csvTitle: "effect_mean",
    kind: "signed",
    number: "effect_mean",
    hint: "exact: verified by patching",
  },
  {
    field: "effectSe",
    title: "± se",
    csvTitle: "effect_se",
    kind: "number",
    number: "effect_se",
    hint: "of the effect",
  },
  {
    field: "estimate",
    title: "Estimate",
    csvTitle: "estimate_mean",
    kind: "signed",
    number: "estimate_mean",
    hint: "of the effect, from gradients",
  },
  {
    field: "estimateSe",
    title: "± se",
    csvTitle: "estimate_se",
    kind: "number",
    number: "estimate_se",
    hint: "of the estimate",
  },
  {
    field: "recovered",
    title: "Recovered",
    csvTitle: "recovered",
    kind: "percent",
    number: "recovered",
    hint: "effect ÷ difference of the metric between the runs",
  },
  { field: "flags", title: "Flags", csvTitle: "flags", kind: "text", width: 120 },
  {
    field: "estimated",
    title: "Est. contribution",
    csvTitle: "estimate_contribution",
    kind: "number",
    number: "estimate_contribution",
    hint: "estimated contribution",
  },
  {
    field: "saturation",
    title: "Saturation gap",
    csvTitle: "saturation_gap",
    kind: "number",
    number: "saturation_gap",
  },
  {
    field: "cancellation",
    title: "Cancellation ratio",
    csvTitle: "cancellation_ratio",
    kind: "number",
    number: "cancellation_ratio",
  },
  { field: "pairs", title: "Pairs", csvTitle: "pairs", kind: "count", number: "pairs" },
];

/**
 * @param {(node: string) => boolean} hasCell whether a node is in a figure
 */
export async function showRankedList(hasCell) {
  const { ranked } = pageData;
  if (!ranked) return;
  const columns = LIST_COLUMNS.filter(({ field, number }) => {
    if (field === "token") return ranked.tokens.length > 0;
    return number === undefined || ranked.numbers[number] !== undefined;
  }).map((column) =>
    column.field === "node"
      ? { ...column, cell: (/** @type {any} */ row) => nodeCell(row, hasCell) }
      : column,
  );
  const rows = ranked.site.map((_, row) => rowOf(ranked, row));
  const table = makeTable(elementOf("ranked-table"), {
    label: "Ranked list",
    columns,
    rows,
    file: "ranked-rows.csv",
  });
  await table.built;
  connectFilters(ranked, table, rows.length);
  addEventListener("hashchange", () => showRow(table));
  showRow(table);
}

/**
 * @param {import("../page-data.js").RankedColumns} ranked
 * @param {number} row
 */
function rowOf(ranked, row) {
  const token = ranked.token[row];
  /** @type {Record<string, any>} */
  const cells = {
    row,
    node: nodeOfRow(ranked, row),
    token: token === null ? undefined : ranked.tokens[token],
    verified: ranked.verified[row] === 1,
    flags: flagsOf(ranked, row),
  };
  for (const { field, number } of LIST_COLUMNS) {
    if (number) cells[field] = numberInRow(ranked, number, row);
  }
  return cells;
}

/**
 * @param {import("../page-data.js").RankedColumns} ranked
 * @param {number} row
 */
function flagsOf(ranked, row) {
  const gap = numberInRow(ranked, "saturation_gap", row) ?? 0;
  const estimated = numberInRow(ranked, "estimate_contribution", row) ?? Number.NaN;
  const ratio = numberInRow(ranked, "cancellation_ratio", row) ?? 0;
  return [
    ...(gap > 0 && gap >= SATURATED * estimated ? ["saturated"] : []),
    ...(ratio >= CANCELS ? ["cancels"] : []),
    ...(ranked.missed[row] ? ["missed"] : []),
    ...(isOpen(numberInRow(ranked, "rank", row)) ? ["open"] : []),
  ].join(", ");
}

/** @param {number | undefined} rank */
function isOpen(rank) {
  const { openRows } = pageData;
  return openRows !== undefined && rank !== undefined && rank >= openRows.first && rank <= openRows.last;
}

/**
 * @param {Record<string, any>} row
 * @param {(node: string) => boolean} hasCell
 */
function nodeCell({ node, verified }, hasCell) {
  const text = hasCell(node) ? document.createElement("a") : document.createElement("span");
  if (text instanceof HTMLAnchorElement) text.href = `#cell-${encodeURIComponent(node)}`;
  text.textContent = node;
  if (verified) {
    text.className = "verified";
    text.title = "verified by exact patching";
  }
  return text;
}

/** @param {ReturnType<typeof makeTable>} table */
function showRow(table) {
  const hash = decodeURIComponent(location.hash);
  if (!hash.startsWith("#row-")) return;
  const row = rowOfNode(hash.slice("#row-".length));
  if (row === undefined) return;
  elementOf("filter-none").click();
  elementOf("list").scrollIntoView();
  table.show(row);
}

/**
 * @param {import("../page-data.js").RankedColumns} ranked
 * @param {ReturnType<typeof makeTable>} table
 * @param {number} total
 */
function connectFilters(ranked, table, total) {
  const [site, layer, position] = ["filter-site", "filter-layer", "filter-position"].map((id) =>
    selectOf(id),
  );
  const [node, verified, flagged] = ["filter-node", "filter-verified", "filter-flagged"].map((id) =>
    inputOf(id),
  );
  const layers = [...new Set(ranked.layer)].sort((a, b) => a - b);
  fillSelect(
    site,
    ranked.sites.map((name, place) => [String(place), name]),
  );
  fillSelect(
    layer,
    layers.map((each) => [String(each), String(each)]),
  );
  fillSelect(
    position,
    orderedPositions(ranked).map(({ place, text }) => [String(place), text]),
  );
  const apply = () => {
    const text = node.value.trim();
    const kept = (/** @type {Record<string, any>} */ { row, node: id, flags }) =>
      (site.value === "" || ranked.site[row] === Number(site.value)) &&
      (layer.value === "" || ranked.layer[row] === Number(layer.value)) &&
      (position.value === "" || ranked.position[row] === Number(position.value)) &&
      (text === "" || id.includes(text)) &&
      (!verified.checked || ranked.verified[row] === 1) &&
      (!flagged.checked || flags !== "");
    const every = [site, layer, position, node].every(({ value }) => value === "");
    table.filter(every && !verified.checked && !flagged.checked ? undefined : kept);
    elementOf("list-count").textContent = `${plainText(table.shownRows())} of ${plainText(total)} rows`;
  };
  for (const control of [site, layer, position, node, verified, flagged]) {
    control.addEventListener("input", apply);
  }
  elementOf("filter-none").addEventListener("click", () => {
    for (const control of [site, layer, position, node]) control.value = "";
    for (const control of [verified, flagged]) control.checked = false;
    apply();
  });
  elementOf("list-csv").addEventListener("click", () => table.download());
  apply();
}

/**
 * Places in `positions`: numbers first, then roles in their order.
 * @param {import("../page-data.js").RankedColumns} ranked
 */
export function orderedPositions({ positions }) {
  const key = (/** @type {number | string} */ position) =>
    typeof position === "number" ? position : Number.POSITIVE_INFINITY;
  return positions
    .map((position, place) => ({ place, position, text: position === "*" ? "* (all)" : String(position) }))
    .sort((a, b) => (key(a.position) === key(b.position) ? 0 : key(a.position) - key(b.position)));
}

/** @param {string} id */
function selectOf(id) {
  const element = elementOf(id);
  if (!(element instanceof HTMLSelectElement)) throw new Error(`selectOf: #${id} is no select`);
  return element;
}

/** @param {string} id */
function inputOf(id) {
  const element = elementOf(id);
  if (!(element instanceof HTMLInputElement)) throw new Error(`inputOf: #${id} is no input`);
  return element;
}

/**
 * @param {HTMLSelectElement} select
 * @param {string[][]} options value and text
 */
function fillSelect(select, options) {
  select.append(new Option("all", ""), ...options.map(([value, text]) => new Option(text, value)));
}

// @ts-check
/** @file The page's data, and the ranked list's rows by node. */

/** @typedef {import("../page-data.js").PageData} PageData */
/** @typedef {import("../page-data.js").RankedColumns} RankedColumns */
/** @typedef {import("../page-data.js").NumberColumn} NumberColumn */
/** @typedef {import("../page-data.js").Cell} Cell */

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export function elementOf(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`elementOf: expected #${id} on the page, got nothing`);
  return element;
}

/** @type {PageData} */
export const pageData = JSON.parse(elementOf("page-data").textContent ?? "");

/**
 * The number of a cell; undefined where nothing was computed.
 * @param {Cell | undefined} cell
 */
export function numberOf(cell) {
  return cell === null || cell === undefined ? undefined : Number(cell);
}

/**
 * @param {RankedColumns} ranked
 * @param {number} row
 */
export function nodeOfRow(ranked, row) {
  const index = ranked.index[row];
  const site = ranked.sites[ranked.site[row]];
  return `L${ranked.layer[row]}.${site}${index === null ? "" : `[${index}]`}@${ranked.positions[ranked.position[row]]}`;
}

/**
 * @param {RankedColumns} ranked
 * @param {NumberColumn} column
 * @param {number} row
 */
export function numberInRow(ranked, column, row) {
  return numberOf(ranked.numbers[column]?.[row]);
}

/** @type {Map<string, number> | undefined} */
let rows;

/**
 * Made when it is first asked for: a table of 100,000 rows does not wait for it.
 * @param {string} node
 * @returns {number | undefined}
 */
export function rowOfNode(node) {
  const { ranked } = pageData;
  if (!ranked) return undefined;
  rows ??= new Map(ranked.site.map((_, row) => [nodeOfRow(ranked, row), row]));
  return rows.get(node);
}

// @ts-check
/**
 * @file A table of any number of rows, of which only those in sight are elements. Cells and headings are made as nodes, never
 * as markup: what they show comes from data.
 */
import { measuredText, percentText, plainText, signedText } from "./numbers.js";

/**
 * @typedef {object} TableColumn
 * @property {string} field
 * @property {string} title
 * @property {string} [csvTitle]
 * @property {"text" | "count" | "number" | "signed" | "percent"} kind
 * @property {(row: Record<string, any>) => Node} [cell] in place of the field's own text
 * @property {number} [width]
 * @property {string} [hint]
 */

/**
 * @param {HTMLElement} element
 * @param {{ label: string, columns: TableColumn[], rows: Record<string, any>[], file: string }} content
 */
export function makeTable(element, { label, columns, rows, file }) {
  element.setAttribute("aria-label", label);
  const table = new Tabulator(element, {
    data: rows,
    index: "row",
    height: Math.min(620, 92 + rows.length * 29),
    // Tabulator's own way redraws whenever the table comes into sight, and with that loses the focus and where it was scrolled to.
    autoResize: false,
    layout: "fitDataFill",
    placeholder: "No rows",
    columnDefaults: { headerSortStartingDir: "desc", resizable: true, minWidth: 60 },
    columns: columns.map((column) => ({
      title: column.title,
      titleDownload: column.csvTitle ?? column.title,
      titleFormatter: () => headingOf(column),
      field: column.field,
      hozAlign: column.kind === "text" ? "left" : "right",
      headerSortStartingDir: column.kind === "text" || column.field === "rank" ? "asc" : "desc",
      sorter: column.kind === "text" ? textOrder : numberOrder,
      formatter: (/** @type {any} */ cell) =>
        column.cell ? column.cell(cell.getData()) : cellOf(cell.getValue(), column.kind),
      ...(column.width && { width: column.width }),
    })),
  });
  return {
    /** @type {Promise<void>} */
    built: new Promise((resolve) =>
      table.on("tableBuilt", () => {
        followWidth(element, () => table.redraw());
        resolve();
      }),
    ),
    /** @param {((row: Record<string, any>) => boolean) | undefined} keep */
    filter(keep) {
      if (keep) table.setFilter(keep);
      else table.clearFilter(true);
    },
    shownRows: () => table.getDataCount("active"),
    download: () => table.download("csv", file, {}, "active"),
    /** @param {number} row */
    async show(row) {
      await table.scrollToRow(row, "center", true);
      for (const other of element.querySelectorAll(".found")) other.classList.remove("found");
      const found = table.getRow(row).getElement();
      found.classList.add("found");
      found.querySelector("a")?.focus({ preventScroll: true });
    },
  };
}

/**
 * @param {HTMLElement} element
 * @param {() => void} redraw
 */
function followWidth(element, redraw) {
  let width = element.clientWidth;
  new ResizeObserver(() => {
    // 0 while it is printed.
    if (element.clientWidth === 0 || element.clientWidth === width) return;
    width = element.clientWidth;
    redraw();
  }).observe(element);
}

/** @param {TableColumn} column */
function headingOf({ title, hint }) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = title;
  if (hint) button.title = hint;
  return button;
}

/**
 * @param {unknown} value
 * @param {TableColumn["kind"]} kind
 */
function cellOf(value, kind) {
  if (value === undefined || value === null) return document.createTextNode("");
  if (kind === "text") {
    const text = document.createElement("bdi");
    text.textContent = String(value);
    return text;
  }
  const number = Number(value);
  const text = document.createElement("span");
  // Not the text of the page's rounding: what the file has.
  text.title = String(number);
  if (kind === "count" || kind === "number") {
    text.textContent = kind === "count" ? plainText(number) : measuredText(number);
    return text;
  }
  text.textContent = kind === "percent" ? percentText(number) : signedText(number);
  text.className = number < 0 ? "negative" : "positive";
  return text;
}

/**
 * What was not computed comes last, whichever way the column is sorted.
 * @param {unknown} a
 * @param {unknown} b
 * @param {unknown} _a
 * @param {unknown} _b
 * @param {unknown} _column
 * @param {string} direction
 */
function numberOrder(a, b, _a, _b, _column, direction) {
  // The table hands on "" for what is undefined.
  const [x, y] = [a, b].map((value) => (value === "" ? Number.NaN : Number(value)));
  if (Number.isNaN(x) || Number.isNaN(y)) {
    const order = Number(Number.isNaN(x)) - Number(Number.isNaN(y));
    return direction === "asc" ? order : -order;
  }
  return x === y ? 0 : x < y ? -1 : 1;
}

const texts = new Intl.Collator("en", { numeric: true });

/**
 * @param {unknown} a
 * @param {unknown} b
 */
function textOrder(a, b) {
  return texts.compare(String(a ?? ""), String(b ?? ""));
}

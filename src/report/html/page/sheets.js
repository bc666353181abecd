// @ts-check
/** @file The other tables: metrics, windows. */
import { elementOf, numberOf, pageData } from "./data.js";
import { plainText } from "./numbers.js";
import { makeTable } from "./table.js";

const COUNTS = /^(rank|layer|index|pairs|first_layer|last_layer)$/;

/** Effects; a metric itself is a number like any other. */
const SIGNED = "effect_mean";

export async function showSheets() {
  for (const sheet of pageData.sheets) await showSheet(sheet);
}

/** @param {string} name */
function numberKind(name) {
  if (COUNTS.test(name)) return "count";
  if (name === "recovered") return "percent";
  return name === SIGNED ? "signed" : "number";
}

/** @param {import("../page-data.js").Sheet} sheet */
async function showSheet({ id, columns, rows }) {
  const table = makeTable(elementOf(`${id}-table`), {
    label: `${id}.csv`,
    file: `${id}-rows.csv`,
    columns: columns.map(({ name, isNumber }, place) => ({
      field: `c${place}`,
      title: name,
      kind: isNumber ? numberKind(name) : "text",
    })),
    rows: rows.map((cells, row) => {
      const entries = cells.map((cell, place) => {
        const value = columns[place].isNumber && typeof cell !== "string" ? numberOf(cell) : cell;
        return [`c${place}`, columns[place].isNumber && typeof cell === "string" ? Number(cell) : value];
      });
      return { row, ...Object.fromEntries(entries) };
    }),
  });
  await table.built;
  const filter = elementOf(`${id}-filter`);
  const apply = () => {
    const text = filter instanceof HTMLInputElement ? filter.value.trim() : "";
    table.filter(text === "" ? undefined : ({ c0, c1 }) => `${c0}`.includes(text) || `${c1}`.includes(text));
    elementOf(`${id}-count`).textContent =
      `${plainText(table.shownRows())} of ${plainText(rows.length)} rows`;
  };
  filter.addEventListener("input", apply);
  elementOf(`${id}-csv`).addEventListener("click", () => table.download());
  apply();
}

/** @file The ranked list: its words, its filters, and the first rows as a table for paper and for browsers without scripts. */

import type { RankedNode } from "../../nodes/ranking.js";
import { visibleText } from "../../shown-text.js";
import { isOpen, type OpenRows } from "../agreement-text.js";
import { pairsCell } from "../ranked-table.js";
import { html, type Markup } from "./markup.js";
import { MISSED_TEXT } from "./missed-nodes.js";
import { measuredNumber, plainNumber, signedNumber, signedPercent } from "./number-text.js";
import type { RankedContent } from "./ranked-content.js";

/**
 * @param open the rows that unverified nodes could displace
 * @param pairs of the run, where that is known
 */
export function listSection(
  { columns, total, first }: RankedContent,
  open: OpenRows | undefined,
  pairs: number | undefined,
): Markup {
  const shown = columns.site.length;
  const cut =
    shown < total
      ? html`<p><b>This page has ${plainNumber(shown)} of ${plainNumber(total)} rows</b>: the first, and verified ones behind them. ranked.csv has all; the figures are of all.</p>`
      : undefined;
  return html`<section id="list" aria-labelledby="list-title">
<h2 id="list-title">Ranked list</h2>
<p>Best first. <b>Contribution</b> is the mean over pairs of the absolute effect, exact where the node was verified. <b>Effect</b> and <b>estimate</b> keep the sign: metric of the patched run − metric of the base run. Links lead to the node’s cell in the figures; numbers show all their digits when pointed at. All means of a row, <b>recovered</b> included, are over the pairs that have its position or role; the column of pairs says how many.</p>
${cut}
${open ? html`<p class="open"><b>Rows ${open.first} to ${open.last} are open</b>: unverified nodes could belong above them, see “open” in the summary.</p>` : undefined}
<details><summary>How to read the flags</summary><ul>
<li><b>saturated</b>: the saturation gap, mean |QK-fixed − plain estimate|, is at least half of the estimated contribution. The softmax of attention is saturated there, and plain AtP wrong; nodes that act through this query or key may be missed as well.</li>
<li><b>cancels</b>: the cancellation ratio, GradDrop ÷ plain contribution, is 2 or more. Paths cancel at the base point, and no estimate is the effect there: verify the node.</li>
<li><b>missed</b>: ${MISSED_TEXT}.</li>
<li><b>open</b>: a row that an unverified node could belong above, were its estimate too small by the largest factor seen among the verified nodes of the first rows.</li>
</ul></details>
<div class="controls needs-script" id="list-filters" role="group" aria-label="Filters of the ranked list">
<label>Site <select id="filter-site"></select></label>
<label>Layer <select id="filter-layer"></select></label>
<label>Position <select id="filter-position"></select></label>
<label>Node has <input id="filter-node" type="search" size="12" autocomplete="off" spellcheck="false"></label>
<label><input id="filter-verified" type="checkbox"> verified</label>
<label><input id="filter-flagged" type="checkbox"> flagged</label>
<button type="button" id="filter-none">All rows</button>
<button type="button" id="list-csv">CSV of these rows</button>
<span id="list-count" role="status"></span>
</div>
<div id="ranked-table" class="needs-script"></div>
${firstRows(first, total, open, pairs)}
</section>`;
}

function firstRows(
  rows: readonly RankedNode[],
  total: number,
  open: OpenRows | undefined,
  pairs: number | undefined,
): Markup {
  const signed = (value: number | undefined) => (value === undefined ? "" : signedNumber(value));
  const plain = (value: number | undefined) => (value === undefined ? "" : measuredNumber(value));
  const pairsOf = pairsCell(rows, pairs);
  const lacking = rows.some((row) => pairsOf(row) !== undefined);
  const heads = [
    ...["rank", "node", "token", "contribution", "effect", "± se", "estimate", "± se", "recovered"],
    ...(lacking ? ["pairs"] : []),
  ];
  return html`<table class="static"><caption>The first ${rows.length} of ${plainNumber(total)} rows</caption>
<thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
<tbody>${rows.map(
    (row) =>
      html`<tr><td>${row.rank}${isOpen(open, row.rank) ? "?" : ""}</td><td>${row.node}</td><td><bdi>${row.token === undefined ? "" : visibleText(row.token)}</bdi></td><td>${plain(row.contribution)}</td><td>${signed(row.effectMean)}</td><td>${plain(row.effectSe)}</td><td>${signed(row.estimateMean)}</td><td>${plain(row.estimateSe)}</td><td>${row.recovered === undefined ? "" : signedPercent(row.recovered)}</td>${lacking ? html`<td>${pairsOf(row)}</td>` : undefined}</tr>\n`,
  )}</tbody></table>`;
}

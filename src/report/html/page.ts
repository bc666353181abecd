/**
 * @file One HTML file with everything in it: words, tables, figures, the libraries that draw them. It asks for nothing: its
 * Content-Security-Policy forbids every request, and every script but those it was written with.
 */

import { PAGE_META } from "../../results/result-files.js";
import { openRows } from "../agreement-text.js";
import { cspHash, readAssets } from "./assets.js";
import type { FigureSection } from "./figure-sections.js";
import { listSection } from "./list-section.js";
import { html, Markup, scriptJson } from "./markup.js";
import { plainNumber } from "./number-text.js";
import type { PageData, Sheet } from "./page-data.js";
import type { ReportFolder } from "./read-folder.js";
import { summarySection, titleOf } from "./summary-section.js";
import { DARK_THEME, LIGHT_THEME } from "./themes.js";

/** The page of a folder. */
export async function reportPage(folder: ReportFolder, sections: readonly FigureSection[]): Promise<string> {
  const { scripts, style } = await readAssets();
  const title = titleOf(folder);
  const open = openRows(folder.summary?.agreement, folder.certificate?.certified === true);
  const data: PageData = {
    ...(folder.ranked && { ranked: folder.ranked.columns }),
    ...(open && { openRows: open }),
    sheets: folder.sheets,
    figures: sections.flatMap(({ figures }) => figures),
    themes: { light: LIGHT_THEME, dark: DARK_THEME },
  };
  const policy = [
    "default-src 'none'",
    `script-src ${scripts.map(cspHash).join(" ")}`,
    `style-src ${cspHash(style)}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${new Markup(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="${PAGE_META}" content="${folder.summary?.run ?? folder.faithfulness?.run ?? "unknown"}">
<title>${title} – atpkit</title>
<style>${new Markup(style)}</style>
</head>
<body>
<header>
<h1>${title}</h1>
<nav aria-label="Parts of this page"><ul>
<li><a href="#summary">Summary</a></li>
${folder.ranked ? html`<li><a href="#list">Ranked list</a></li>` : undefined}
${sections.map(({ id, title: name }) => html`<li><a href="#${id}">${name}</a></li>`)}
${folder.sheets.map(({ id }) => html`<li><a href="#${id}">${SHEETS[id].title}</a></li>`)}
</ul></nav>
</header>
<main>
<noscript><p><b>The figures and the whole tables need JavaScript</b>, which is part of this file.</p></noscript>
${summarySection(folder)}
${folder.ranked ? listSection(folder.ranked, open, folder.summary?.pairs.used) : undefined}
${sections.map(figureSection)}
${folder.sheets.map(sheetSection)}
</main>
<script type="application/json" id="page-data">${scriptJson(data)}</script>
${scripts.map((code) => html`<script>${new Markup(code)}</script>\n`)}
</body>
</html>
`.text;
}

function figureSection({ id, title, words, figures, controls }: FigureSection): Markup {
  return html`<section id="${id}" aria-labelledby="${id}-title">
<h2 id="${id}-title">${title}</h2>
${words}
${
  controls
    ? html`<div class="controls needs-script">
<label>Colours <select class="scale"><option value="shared">same limits in all panels</option><option value="own">each panel its own limits</option><option value="root">square root, same limits</option></select></label>
${controls === "scale and position" ? html`<label>Position <select class="heads-position"></select></label>` : undefined}
</div>`
    : undefined
}
<div class="figures">${figures.map(
    (figure) => html`<figure class="${figure.width > 700 ? "wide" : "narrow"}">
<figcaption>${figure.title}</figcaption>
<div class="scroll" tabindex="0" role="group" aria-label="${figure.title}"><div class="chart" id="figure-${figure.id}"></div></div>
</figure>`,
  )}</div>
</section>`;
}

/** The words of the tables that are not the ranked list. */
const SHEETS: Readonly<Record<string, { readonly title: string; readonly words: string }>> = {
  metrics: {
    title: "All metrics of the same runs",
    words:
      "One row per patch, one column per metric: the metric of the patched run itself, mean over pairs. The rows base and source are the unpatched runs; the columns …_base are the base runs of the same pairs, so that the change is metric − metric_base in every row. Sort by one metric and look at the other to see how much the choice matters.",
  },
  windows: {
    title: "Windows of neighbouring nodes",
    words:
      "Nodes of neighbouring layers or positions that were patched together, best first. The contribution is the mean over pairs of the absolute effect; the mean keeps the sign.",
  },
};

function sheetSection({ id, total, rows }: Sheet): Markup {
  const { title, words } = SHEETS[id];
  const cut =
    rows.length < total
      ? html`<p><b>This page has the first ${plainNumber(rows.length)} of ${plainNumber(total)} rows</b>; ${id}.csv has all.</p>`
      : undefined;
  return html`<section id="${id}" aria-labelledby="${id}-title">
<h2 id="${id}-title">${title}</h2>
<p>${words}</p>
${cut}
<div class="controls needs-script">
<label>Row has <input id="${id}-filter" type="search" size="14" autocomplete="off" spellcheck="false"></label>
<button type="button" id="${id}-csv">CSV of these rows</button>
<span id="${id}-count" role="status"></span>
</div>
<div id="${id}-table" class="needs-script"></div>
</section>`;
}

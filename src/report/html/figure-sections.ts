/** @file The figures of a page with the words around them: what each shows, and how to read it. */

import type { About } from "../../results/schemas.js";
import { boundFigure } from "./figures/bound.js";
import { estimateAgainstExact } from "./figures/estimate-against-exact.js";
import { faithfulnessFigure } from "./figures/faithfulness.js";
import { heatmaps } from "./figures/heatmaps.js";
import { html, type Markup } from "./markup.js";
import { MISSED_TEXT } from "./missed-nodes.js";
import { plainNumber } from "./number-text.js";
import type { Figure } from "./page-data.js";
import type { RankedContent } from "./ranked-content.js";
import type { ReportFolder } from "./read-folder.js";

/** Figures that are read together. */
export interface FigureSection {
  readonly id: string;
  readonly title: string;
  readonly words: Markup;
  readonly figures: readonly Figure[];
  /** Which controls stand above the figures. */
  readonly controls?: "scale" | "scale and position";
}

/** Only those that there is something to show in. */
export function figureSections(folder: ReportFolder): FigureSection[] {
  const { summary, ranked, certificate, faithfulness } = folder;
  const metric = (summary ?? faithfulness)?.metric.name ?? "metric";
  const sections: FigureSection[] = ranked ? rankedSections(ranked, folder, metric) : [];
  const bound = certificate && boundFigure(certificate, metric);
  if (bound) {
    sections.push({
      id: "bounds",
      title: "How the bound shrank",
      words: html`<p>With ${plainNumber(100 * (certificate?.confidence ?? 0))} % confidence the average marginal effect of every node that was not verified lies below the bound. The top ${certificate?.topK ?? ""} are certain where it is below the k-th verified contribution. The control variate is what the estimates explain; that bound decides. Each round samples anew.</p>`,
      figures: [bound],
    });
  }
  const curve = faithfulness && faithfulnessFigure(faithfulness);
  if (faithfulness && curve) {
    const { nodes } = faithfulness;
    sections.push({
      id: "curves",
      title: "How few nodes carry the behaviour",
      words: html`<p>The first k of ${plainNumber(nodes.ranked)} ranked nodes are left alone and all others of the ${plainNumber(nodes.space)} are patched (“keep only them”), or the reverse. f is 1 where the runs behave like the base runs and 0 where they behave like the source runs; it can lie outside. A good list rises at once when it is kept and falls at once when it is patched. The area is the mean of f along this axis: near 1 is best for keeping, near 0 for patching.</p>${otherRun(faithfulness, summary)}`,
      figures: [curve],
    });
  }
  return sections;
}

/** A curve may have been computed with another metric than the list beside it. */
function otherRun(curve: About, summary: About | undefined): Markup | undefined {
  if (!summary) return undefined;
  const differences = [
    ["model", curve.model.name, summary.model.name],
    ["metric", curve.metric.name, summary.metric.name],
    ["direction", curve.direction, summary.direction],
  ].filter(([, of, list]) => of !== list);
  if (differences.length === 0) return undefined;
  return html`<p><b>Not of the same run as the list:</b> ${differences.map(([what, of, list]) => `${what} ${of} (the list: ${list})`).join(", ")}.</p>`;
}

function rankedSections(ranked: RankedContent, { summary }: ReportFolder, metric: string): FigureSection[] {
  const maps = heatmaps(ranked, summary?.prompts);
  const mixed = ranked.verified > 0 && ranked.verified < ranked.total;
  const values = html`${mixed ? "Exact effects (bold) where nodes were verified, estimates (≈) elsewhere. " : ranked.verified === 0 ? "Estimates. " : "Exact effects. "}Cells that were not computed are grey (black in the dark); numbers below 0.5 % of the limit are left out.`;
  const tokens = summary?.prompts
    ? html` Tokens are those of the first of ${plainNumber(summary.pairs.used)} pairs; ▲ marks positions at which the two prompts of some pair differ, with the corrupted token behind ≠.`
    : undefined;
  const sections: FigureSection[] = [];
  if (maps.sites.length > 0) {
    sections.push({
      id: "layers-positions",
      title: "Where it happens: layers and positions",
      words: html`<p>Mean effect on the ${metric} of patching a site of one layer at one position. ${values}${tokens}</p>`,
      figures: maps.sites,
      controls: "scale",
    });
  }
  if (maps.heads.length > 0) {
    sections.push({
      id: "layers-heads",
      title: "Which heads",
      words: html`<p>Mean effect on the ${metric} per head: of single positions, added up (not the effect of patching them all together), or at one position. ${values}</p>`,
      figures: maps.heads,
      controls: "scale and position",
    });
  }
  if (maps.neurons) {
    sections.push({
      id: "neurons",
      title: "Which neurons",
      words: html`<p>The strongest neurons of each layer by contribution, each with its index, its position, and its mean effect on the ${metric}. ${values}</p>`,
      figures: [maps.neurons],
    });
  }
  const comparison = estimateAgainstExact(ranked, metric);
  if (comparison) {
    sections.push({
      id: "estimates",
      title: "How good the estimates were",
      words: html`<p>One mark per verified node: mean absolute exact effect and its estimate, over pairs. On the dashed line they agree; below it the estimate is too small. <b>Missed</b> (◆): ${MISSED_TEXT}: going down the list of estimates one would have come to the node late. Values too small for the axes stand at their edge.</p>`,
      figures: [comparison],
    });
  }
  return sections;
}

/** @file The run in words: what was done to which model, what was verified, what is certain, what it cost. */

import type { About, CertificateContent, FaithfulnessContent, Summary } from "../../results/schemas.js";
import { describeAveraged } from "../../sources/averaged.js";
import { agreementLines } from "../agreement-text.js";
import { html, type Markup } from "./markup.js";
import { plainNumber, signedNumber } from "./number-text.js";
import type { ReportFolder } from "./read-folder.js";

const DIRECTION_TEXTS = {
  noising: "corrupted activations patched into the clean run: what the behaviour needs",
  denoising: "clean activations patched into the corrupted run: what suffices to restore the behaviour",
} as const;

type Line = readonly [label: string, text: Markup | string];

/** The heading of the page. */
export function titleOf({ summary, faithfulness }: ReportFolder): string {
  const run = summary ?? faithfulness;
  return run ? `${run.metric.name} of ${run.model.name}` : "Results of atpkit";
}

export function summarySection(folder: ReportFolder): Markup {
  const { summary, faithfulness, certificate, ranked, unfinished, notes } = folder;
  const run = summary ?? faithfulness;
  const lines: Line[] = [
    ...(unfinished ? [["unfinished", html`<b class="open">${unfinished}</b>`] as const] : []),
    ...(run ? runLines(run) : []),
    ...listLines(summary?.list, "nodes from"),
    ...listLines(faithfulness?.list, "curve of"),
    ...(run ? [["estimates", estimatesText(run, ranked)] as const] : []),
    ...(ranked ? [["nodes", nodesText(ranked.total, ranked.verified)] as const] : []),
    ...(summary?.windows ? [["windows", windowsText(summary.windows)] as const] : []),
    ...agreementOnPage(folder),
    ...(certificate ? certificateLines(certificate) : []),
    ...costLines(folder),
    ...(run?.engine ? [["engine", `${run.engine.backend} (${run.engine.device})`] as const] : []),
    ...notes.map((note) => ["note", note] as const),
  ];
  return html`<section id="summary" aria-labelledby="summary-title">
<h2 id="summary-title">Summary</h2>
${run ? undefined : html`<p>There is no summary.json in this folder: model, pairs and metric are not known.</p>`}
<dl>${lines.map(([label, text]) => html`<dt>${label}</dt><dd>${text}</dd>`)}</dl>
${certificate ? assumptions(certificate) : undefined}
${run?.options ? html`<details><summary>All options of the run</summary><pre>${JSON.stringify(run.options, undefined, 2)}</pre></details>` : undefined}
</section>`;
}

function runLines({
  run: name,
  command,
  date,
  atpkit,
  model,
  pairs,
  prompts,
  metric,
  direction,
  source,
  averaged,
  embeddingDeviation,
  alsoMetrics = [],
}: About & Pick<Summary, "alsoMetrics">): Line[] {
  const about = [model.family, model.layers === undefined ? undefined : `${model.layers} layers`];
  const sample =
    pairs.available !== undefined && pairs.used < pairs.available
      ? ` (a random sample of ${plainNumber(pairs.available)})`
      : "";
  return [
    [
      "run",
      [name, `atp ${command}`, date && `begun ${date}`, atpkit && `atpkit ${atpkit}`]
        .filter(Boolean)
        .join(", "),
    ],
    ["model", `${model.name}${about.some(Boolean) ? ` (${about.filter(Boolean).join(", ")})` : ""}`],
    [
      "pairs",
      `${plainNumber(pairs.used)}${sample}${pairs.files ? ` from ${pairs.files.join(", ")}` : ""}${prompts ? `, ${prompts.length} tokens per prompt` : ""}`,
    ],
    ...[metric, ...alsoMetrics].map(
      ({ name, base, source: end }, place): Line => [
        place === 0 ? "metric" : "also",
        html`${name}: ${signedNumber(base)} on the base runs, ${signedNumber(end)} on the source runs, a difference of <b>${signedNumber(end - base)}</b> (means over pairs)`,
      ],
    ),
    ["direction", `${direction}: ${DIRECTION_TEXTS[direction]}`],
    ...(source === undefined
      ? []
      : [
          [
            "source",
            `${source}${embeddingDeviation === undefined ? "" : `, σ = ${plainNumber(embeddingDeviation)}`}`,
          ] as const,
        ]),
    ...(averaged ? [["averaged", describeAveraged(averaged)] as const] : []),
  ];
}

/** Values are called exact only where the list itself says that all of them are. */
function estimatesText({ method }: About, ranked: ReportFolder["ranked"]): string {
  if (method !== undefined) return method;
  return ranked && ranked.verified < ranked.total
    ? "those of an earlier run, by a method that is not known"
    : "none: every value is exact";
}

/** The list that nodes come from, or that a curve is of. */
function listLines(list: Summary["list"], label: string): Line[] {
  if (!list) return [];
  const name = `${list.file}${list.run === undefined ? "" : ` (run ${list.run})`}`;
  const differs =
    list.differs === undefined
      ? undefined
      : html`, which was computed with ${list.differs}: <b>only its choice and order of nodes is used, none of its numbers</b>`;
  return [[label, html`${name}${differs}`]];
}

function nodesText(total: number, verified: number): string {
  if (verified === total) return `${plainNumber(total)} ranked, all of them verified by exact patching`;
  if (verified === 0) return `${plainNumber(total)} ranked by estimate, none of them verified`;
  return `${plainNumber(total)} ranked, of which ${plainNumber(verified)} verified by exact patching`;
}

/** What the list may lack stands out: a list of poor estimates must not look like one of good ones. */
function agreementOnPage({ summary, certificate }: ReportFolder): Line[] {
  if (!summary?.agreement) return [];
  return agreementLines(summary.agreement, certificate?.certified === true).map(([label, text]) => [
    label === "estimates" ? "agreement" : label,
    label === "open" ? html`<b class="open">${text}</b>` : text,
  ]);
}

function windowsText({ over, width, ranked }: NonNullable<Summary["windows"]>): string {
  return `${plainNumber(ranked)} windows of ${width} ${over}, patched exactly`;
}

function certificateLines({ certified, claims, topK }: CertificateContent): Line[] {
  return [
    ["certain", html`<b>${certified ? "yes" : "no"}</b>, of the top ${topK}`],
    ...claims.map((claim) => ["proved", claim] as const),
  ];
}

function assumptions(certificate: CertificateContent): Markup {
  return html`<details open><summary>What the certificate assumes</summary><ul>${certificate.assumptions.map((text) => html`<li>${text}</li>`)}</ul></details>`;
}

function costLines({ summary, certificate, faithfulness }: ReportFolder): Line[] {
  const stage = (name: string, forwards: number, seconds: number | undefined) =>
    `${name} ${plainNumber(forwards)} forward equivalents${seconds === undefined ? "" : ` in ${plainNumber(seconds)} s`}`;
  const stages: string[] = [];
  if (summary?.seconds?.load !== undefined) stages.push(`load ${plainNumber(summary.seconds.load)} s`);
  for (const name of ["estimate", "verify"] as const) {
    const forwards = summary?.forwardEquivalents?.[name] ?? 0;
    if (forwards > 0) stages.push(stage(name, forwards, summary?.seconds?.[name]));
  }
  if (certificate)
    stages.push(`${plainNumber(certificate.cost.sample)} of these for the samples of the certificate`);
  if (faithfulness) stages.push(faithfulnessCost(faithfulness));
  return stages.length === 0
    ? []
    : [["cost", `${stages.join("; ")} (a forward equivalent is one unpatched pass of one prompt)`]];

  function faithfulnessCost({ forwardEquivalents, seconds }: FaithfulnessContent): string {
    return stage("faithfulness", forwardEquivalents, seconds.patch);
  }
}

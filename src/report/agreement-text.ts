/** @file What the verified nodes say of the estimates, in words: for the terminal and the page alike. */

import type { Agreement } from "../bounds/agreement.js";

/** What summary.json has of it: undefined numbers are left out. */
export interface AgreementSummary extends Agreement {
  /** What settles it, where something is open. */
  readonly settle?: Settlement;
}

/** Commands, or fields of a job's file. */
export interface Settlement {
  /** Verifies every node that could belong to the first rows. */
  readonly verify: string;
  /** Bounds the others, too. */
  readonly certify: string;
}

export type AgreementLine = readonly [label: "estimates" | "open" | "rows" | "settle", text: string];

const DIGITS = 3;

const number = (value: number): string => String(Number(value.toPrecision(DIGITS)));
const nodes = (count: number): string => `${count} unverified node${count === 1 ? "" : "s"}`;

/**
 * How good the estimates were; and, where nothing makes the list certain, what could belong above its rows.
 * @param certain whether a certificate speaks of the unverified nodes: then nothing is open
 */
export function agreementLines(agreement: AgreementSummary, certain: boolean): AgreementLine[] {
  const { settle, reachable } = agreement;
  return [
    ["estimates", estimatesText(agreement)],
    ...(certain ? [] : [openLine(agreement)]),
    ...(certain || reachable === 0 || settle === undefined
      ? []
      : [["settle", `${settle.verify} patches them; ${settle.certify} speaks of all others, too`] as const]),
  ];
}

function estimatesText({ compared, rankCorrelation, mostUnderestimated }: Agreement): string {
  const order =
    rankCorrelation === undefined
      ? `${compared} verified node${compared === 1 ? "" : "s"}, too few or too equal for a rank correlation`
      : `rank correlation ${rankCorrelation.toFixed(2)} with the exact effects of the ${compared} verified nodes`;
  if (!mostUnderestimated) return `${order}; none of the first rows is verified`;
  const { node, effect, estimate, factor } = mostUnderestimated;
  if (factor === undefined) return `${order}; that of ${node} is 0, and its effect ${number(effect)}`;
  if (factor <= 1) return `${order}; none was too small`;
  return `${order}; ${node} was estimated ${number(factor)} times too small, ${number(estimate)} for ${number(effect)}`;
}

function openLine({
  topK,
  threshold,
  reachable,
  lastRank,
  settledRows,
  mostUnderestimated,
}: Agreement): AgreementLine {
  const { factor } = mostUnderestimated ?? {};
  const wrong =
    factor === undefined
      ? "were estimates as wrong as that"
      : `were one more estimate ${number(Math.max(1, factor))} times too small`;
  if (reachable === 0) {
    return [
      "rows",
      `${wrong}, no unverified node would belong above row ${topK} (${number(threshold)}); what is more wrong than all of these ` +
        "only --confidence finds",
    ];
  }
  return [
    "open",
    `this list may lack nodes: ${wrong}, ${nodes(reachable)} down to rank ${lastRank} could belong above row ${topK} ` +
      `(${number(threshold)}); ${safeText(settledRows)}`,
  ];
}

function safeText(rows: number): string {
  if (rows === 0) return "no row is safe from them";
  return `row${rows === 1 ? " 1 is" : `s 1 to ${rows} are`} safe from them`;
}

/** Ranks, both included. */
export interface OpenRows {
  readonly first: number;
  readonly last: number;
}

/** The rows among the first k that unverified nodes could displace; undefined where there are none. */
export function openRows(agreement: Agreement | undefined, certain: boolean): OpenRows | undefined {
  if (agreement === undefined || certain || agreement.settledRows >= agreement.topK) return undefined;
  return { first: agreement.settledRows + 1, last: agreement.topK };
}

export function isOpen(open: OpenRows | undefined, rank: number): boolean {
  return open !== undefined && rank >= open.first && rank <= open.last;
}

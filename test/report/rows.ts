/** @file Rows of ranked lists for tests. */

import fc from "fast-check";
import type { RankedNode } from "../../src/nodes/ranking.js";

/** An estimated row, with what a test cares about put in. */
export function row(over: Partial<RankedNode> = {}): RankedNode {
  return {
    rank: 1,
    node: "L3.z[5]@12",
    site: "z",
    layer: 3,
    index: 5,
    position: 12,
    contribution: 0.5,
    estimateContribution: 0.5,
    estimateMean: -0.25,
    verified: false,
    pairs: 4,
    ...over,
  };
}

const float = fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0); // no −0: CSV has none
const text = fc
  .string({ unit: "binary", minLength: 1 })
  // fast-csv leaves U+0000 out.
  .filter((token) => !token.includes("\0"));

const anyRow: fc.Arbitrary<RankedNode> = fc
  .record(
    {
      layer: fc.nat({ max: 99 }),
      index: fc.nat({ max: 9999 }),
      position: fc.oneof(fc.nat({ max: 999 }), fc.constantFrom("end", "s2", "*")),
      token: text,
      contribution: float.map(Math.abs),
      estimateContribution: float.map(Math.abs),
      estimateMean: float,
      estimateSe: float.map(Math.abs),
      effectContribution: float.map(Math.abs),
      effectMean: float,
      effectSe: float.map(Math.abs),
      recovered: float,
      verified: fc.boolean(),
      pairs: fc.integer({ min: 1, max: 1e6 }),
      saturationGap: float.map(Math.abs),
      cancellationRatio: fc.oneof(float.map(Math.abs), fc.constant(Number.POSITIVE_INFINITY)),
    },
    { requiredKeys: ["layer", "position", "contribution", "verified", "pairs"] },
  )
  .map(({ index, ...rest }) => ({
    rank: 1,
    node: `L${rest.layer}.${index === undefined ? "mlpOut" : `z[${index}]`}@${rest.position}`,
    site: index === undefined ? ("mlpOut" as const) : ("z" as const),
    ...(index !== undefined && { index }),
    ...rest,
  }));

/** A ranked list: in order of contribution, ranks from 1. Nodes may repeat. */
export const anyRankedList: fc.Arbitrary<RankedNode[]> = fc
  .array(anyRow, { minLength: 1, maxLength: 40 })
  .map((rows) =>
    rows.sort((a, b) => b.contribution - a.contribution).map((each, place) => ({ ...each, rank: place + 1 })),
  );

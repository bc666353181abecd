import { expect, it } from "vitest";
import { parseNodeId } from "../../src/nodes/node-id.js";
import { makeNodeSpace } from "../../src/nodes/node-space.js";
import { rankedNodes } from "../../src/nodes/ranking.js";
import { gapAt, gapOfPairs, recoveredOf } from "../../src/nodes/recovered.js";
import { addScore, makeScoreTable } from "../../src/nodes/score-table.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

// Two pairs of four tokens, whose metric falls by 20 and by 10, beside one of three tokens whose metric rises by 60.
const PAIRS = [
  tokenPair([1, 2, 3, 4], [1, 7, 3, 4]),
  tokenPair([9, 8, 7, 6], [9, 8, 2, 6]),
  tokenPair([5, 6, 7], [5, 1, 7]),
];
const UNPATCHED = { base: Float64Array.of(10, 5, -30), source: Float64Array.of(-10, -5, 30) };

it("the gap is that of the pairs that are meant", () => {
  expect(gapOfPairs(UNPATCHED, () => true)).toBe((-20 - 10 + 60) / 3);
  expect(gapOfPairs(UNPATCHED, (pair) => pair < 2)).toBe(-15);
  expect(gapOfPairs(UNPATCHED, () => false)).toBeNaN();
  expect(gapAt(UNPATCHED, PAIRS, 3)).toBe(-15);
  expect(gapAt(UNPATCHED, PAIRS, 2)).toBe(10);
  expect(gapAt(UNPATCHED, PAIRS, "*")).toBe(10);
});

it("nothing is recovered of no gap", () => {
  expect(recoveredOf(1, 0)).toEqual({});
  expect(recoveredOf(-3, -4)).toEqual({ recovered: 0.75 });
});

it("a row divides what belongs to the same pairs, whatever others are in the file", () => {
  const space = makeNodeSpace({ ...TINY_CONFIGS.plain, layers: 1 }, ["mlpOut"], [2, 3]);
  const scores = makeScoreTable(2);
  // The node at position 3, which the short pair lacks, takes both others all the way and a tenth further.
  for (const effect of [-22, -11]) addScore(scores, 1, effect);
  for (const effect of [-20, -10, 60]) addScore(scores, 0, effect);
  const rows = [
    ...rankedNodes({
      space,
      pairs: PAIRS,
      baseMetric: UNPATCHED.base,
      sourceMetric: UNPATCHED.source,
      verified: { nodes: Uint32Array.of(0, 1), scores },
      order: Uint32Array.of(1, 0),
      forwardEquivalents: { estimate: 0, verify: 0 },
    }),
  ];
  expect(rows.map(({ node }) => parseNodeId(node).position)).toEqual([3, 2]);
  expect(rows[0]).toMatchObject({ pairs: 2, effectMean: -16.5 });
  expect(rows[0].recovered).toBeCloseTo(1.1, 12);
  expect(rows[1]).toMatchObject({ pairs: 3, effectMean: 10, recovered: 1 });
});

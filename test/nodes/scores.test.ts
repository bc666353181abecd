import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { makeNodeSpace } from "../../src/nodes/node-space.js";
import { orderByContribution } from "../../src/nodes/order.js";
import { type Ranking, rankedNodes, rankNodes } from "../../src/nodes/ranking.js";
import {
  addScore,
  contribution,
  makeScoreTable,
  meanEffect,
  mergeScores,
  standardError,
} from "../../src/nodes/score-table.js";
import type { Pair } from "../../src/prompts/pair.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";

describe("score table", () => {
  it("keeps contribution, mean and standard error", () => {
    const table = makeScoreTable(3);
    for (const effect of [1, -2, 4]) addScore(table, 1, effect);
    // mean |x| = 7/3, mean = 1; deviations 0, −3, 3: variance of the mean 18 / (3·2) = 3.
    expect(contribution(table, 1)).toBeCloseTo(7 / 3, 12);
    expect(meanEffect(table, 1)).toBeCloseTo(1, 12);
    expect(standardError(table, 1)).toBeCloseTo(Math.sqrt(3), 12);
    expect(table.count[1]).toBe(3);
  });

  it("has NaN, not 0, where nothing was computed, and no error bar from one pair", () => {
    const table = makeScoreTable(2);
    addScore(table, 1, 5);
    expect([contribution(table, 0), meanEffect(table, 0), standardError(table, 1)]).toEqual([NaN, NaN, NaN]);
    expect(contribution(table, 1)).toBe(5);
  });

  it("merges shards to the table of all pairs; sums of integers to the bit", () => {
    const shards = fc.array(fc.array(fc.integer({ min: -1000, max: 1000 }), { maxLength: 5 }), {
      maxLength: 6,
    });
    fc.assert(
      fc.property(shards, (effects) => {
        const whole = makeScoreTable(1);
        const merged = makeScoreTable(1);
        for (const shard of effects) {
          const part = makeScoreTable(1);
          for (const effect of shard) {
            addScore(whole, 0, effect);
            addScore(part, 0, effect);
          }
          mergeScores(merged, part);
        }
        expect(merged).toEqual(whole);
      }),
    );
    expect(() => mergeScores(makeScoreTable(2), makeScoreTable(3))).toThrow(
      "mergeScores: expected a table of 2 nodes and 4 columns, got 3 and 4",
    );
  });

  it("holds and ranks ten million nodes", () => {
    const size = 10_000_000;
    const table = makeScoreTable(size);
    // A permutation of 0 … size − 1, so that the order is known: 3 has no factor in common with 10^7.
    for (let node = 0; node < size; node++) addScore(table, node, ((node * 3) % size) - size);
    const order = orderByContribution(size, (node) => contribution(table, node));
    let wrong = 0;
    for (let rank = 1; rank < size; rank++) {
      if (contribution(table, order[rank - 1]) < contribution(table, order[rank])) wrong++;
    }
    expect(wrong).toBe(0);
    expect(order[0]).toBe(0);
  });
});

describe("order", () => {
  it("is a stable sort by decreasing contribution with NaN last", () => {
    const values = fc.array(
      fc.oneof(fc.float({ min: 0, noNaN: true }), fc.constant(Number.NaN), fc.constantFrom(0, 1, 1)),
    );
    fc.assert(
      fc.property(values, (contributions) => {
        const wanted = contributions
          .map((value, node) => ({ value: Number.isNaN(value) ? Number.NEGATIVE_INFINITY : value, node }))
          .sort((a, b) => (a.value === b.value ? a.node - b.node : b.value - a.value))
          .map(({ node }) => node);
        expect([...orderByContribution(contributions.length, (node) => contributions[node])]).toEqual(wanted);
      }),
    );
  });
});

describe("ranking", () => {
  const pairs: Pair[] = [
    [7, 8, 9],
    [7, 5, 9],
  ].map((clean) => ({
    clean,
    corrupted: [7, clean[1], 4],
    answers: [1],
    wrong: [2],
    roles: new Map(),
    metricPosition: 2,
    origin: "test",
  }));
  const space = makeNodeSpace({ ...TINY_CONFIGS.plain, layers: 1 }, ["mlpOut"], [0, 1, 2, "*"]);

  function ranking(): Ranking {
    const estimates = makeScoreTable(space.size);
    // Contributions of positions 0, 1, 2 and *: 1, 2, 3, 4.
    for (let node = 0; node < 4; node++) {
      addScore(estimates, node, node + 1);
      addScore(estimates, node, -(node + 1));
    }
    // Position 2 verified at 0.5, and * at 10.
    const scores = makeScoreTable(2);
    addScore(scores, 0, 0.5);
    addScore(scores, 0, 0.5);
    addScore(scores, 1, -10);
    addScore(scores, 1, -10);
    const verified = { nodes: Uint32Array.of(2, 3), scores };
    return {
      space,
      pairs,
      baseMetric: Float64Array.of(3, 5),
      sourceMetric: Float64Array.of(-2, -4),
      estimates,
      verified,
      order: rankNodes(space, estimates, verified),
      forwardEquivalents: { estimate: 6, verify: 4 },
    };
  }

  it("orders by the verified value where there is one", () => {
    expect([...ranking().order]).toEqual([3, 1, 0, 2]);
  });

  it("ranks verified nodes only when nothing was estimated", () => {
    const { verified } = ranking();
    expect([...rankNodes(space, undefined, verified)]).toEqual([3, 2]);
  });

  it("makes rows with everything that was computed and nothing that was not", () => {
    const rows = [...rankedNodes(ranking())];
    // The metric falls from 4 to −3 on average: an effect of −10 recovers 10/7 of it.
    expect(rows[0]).toEqual({
      rank: 1,
      node: "L0.mlpOut@*",
      site: "mlpOut",
      layer: 0,
      position: "*",
      contribution: 10,
      estimateContribution: 4,
      estimateMean: 0,
      estimateSe: 4,
      effectContribution: 10,
      effectMean: -10,
      effectSe: 0,
      recovered: 10 / 7,
      verified: true,
      pairs: 2,
    });
    // Position 0 holds token 7 in all prompts; position 1 differs between pairs; position 2 within a pair.
    expect(rows.map(({ node, token }) => [node, token])).toEqual([
      ["L0.mlpOut@*", undefined],
      ["L0.mlpOut@1", undefined],
      ["L0.mlpOut@0", "7"],
      ["L0.mlpOut@2", undefined],
    ]);
    expect(rows[1]).not.toHaveProperty("effectMean");
    expect(rows[1].verified).toBe(false);
    expect([...rankedNodes(ranking(), { limit: 2 })]).toHaveLength(2);
  });
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Agreement, AgreementOfRows } from "../../src/bounds/agreement.js";
import { agreementLines, openRows } from "../../src/report/agreement-text.js";
import { row } from "../report/rows.js";

/** A node with an estimate, verified where it has an effect. */
interface Known {
  readonly estimate: number;
  readonly effect?: number;
}

/** The rows of a list, best first, as `rankedNodes` gives them. */
function agreement(nodes: readonly Known[], topK: number): Agreement | undefined {
  const rows = new AgreementOfRows(topK);
  const ranked = nodes
    .map(({ estimate, effect }, n) => ({
      node: `L${n}.mlpOut@0`,
      estimate,
      effect,
      contribution: effect ?? estimate,
    }))
    .sort((a, b) => b.contribution - a.contribution);
  ranked.forEach(({ node, estimate, effect, contribution }, place) => {
    rows.add(
      row({
        node,
        rank: place + 1,
        contribution,
        verified: effect !== undefined,
        estimateContribution: estimate,
        ...(effect !== undefined && { effectContribution: effect }),
      }),
    );
  });
  return rows.result();
}

describe("agreement of estimates and exact effects", () => {
  it("takes the largest factor of the first rows to the unverified nodes", () => {
    // Verified: 8 for an estimate of 2 (4 times too small), 3 for 3, 1 for 4. Row 3 has 1, so t = 1: an unverified node of 0.3
    // could have 1.2 and belong above it, one of 0.2 only 0.8. The best unverified, 0.9, could have 3.6: below row 1 (8), but
    // above row 2 (3), so one row is settled.
    const found = agreement(
      [
        { estimate: 2, effect: 8 },
        { estimate: 3, effect: 3 },
        { estimate: 4, effect: 1 },
        { estimate: 0.9 },
        { estimate: 0.3 },
        { estimate: 0.2 },
      ],
      3,
    );
    expect(found).toEqual({
      topK: 3,
      compared: 3,
      // Effects 8, 3, 1 against estimates 2, 3, 4: exactly reversed.
      rankCorrelation: expect.closeTo(-1, 12),
      mostUnderestimated: { node: "L0.mlpOut@0", effect: 8, estimate: 2, factor: 4 },
      threshold: 1,
      settledRows: 1,
      reachable: 2,
      lastRank: 5,
    });
  });

  it("leaves nothing open where the factor does not bring any node up", () => {
    // 5 for 4 is 1.25 times too small; 1.25 · 1.5 = 1.875 is below row 2's 2.
    const found = agreement([{ estimate: 4, effect: 5 }, { estimate: 2, effect: 2 }, { estimate: 1.5 }], 2);
    expect(found).toMatchObject({ reachable: 0, settledRows: 2, threshold: 2 });
    expect(found).not.toHaveProperty("lastRank");
    // Two nodes have no order worth a number.
    expect(found).not.toHaveProperty("rankCorrelation");
  });

  it("counts unverified nodes that stand in the first rows, whatever the factor", () => {
    // No estimate was too small; node 1 fell from 6 to 0.5, so the unverified 3 stands in row 2, above t = 3: itself.
    const found = agreement(
      [{ estimate: 9, effect: 8 }, { estimate: 6, effect: 0.5 }, { estimate: 3 }, { estimate: 2.9 }],
      2,
    );
    expect(found).toMatchObject({
      mostUnderestimated: { factor: 8 / 9 },
      threshold: 3,
      reachable: 1,
      lastRank: 2,
      settledRows: 1,
    });
  });

  it("takes every node as open where an estimate of 0 had an effect, or no first row is verified", () => {
    const nothing = agreement([{ estimate: 0, effect: 2 }, { estimate: 1 }, { estimate: 0 }], 1);
    expect(nothing).toMatchObject({ settledRows: 0, reachable: 2, lastRank: 3 });
    expect(nothing?.mostUnderestimated).toEqual({ node: "L0.mlpOut@0", effect: 2, estimate: 0 });
    const low = agreement([{ estimate: 5, effect: 0.1 }, { estimate: 1 }, { estimate: 0.5 }], 1);
    expect(low).toMatchObject({ settledRows: 0, reachable: 2, lastRank: 2 });
    expect(low).not.toHaveProperty("mostUnderestimated");
  });

  it("is not there where nothing was verified, or nothing is left to verify", () => {
    expect(agreement([{ estimate: 5 }, { estimate: 1 }], 1)).toBeUndefined();
    expect(agreement([{ estimate: 5, effect: 1 }], 1)).toBeUndefined();
  });

  it("is right whenever no unverified estimate is more wrong than the verified ones of the first rows", () => {
    // The promise itself: with hidden effects that are at most `factor` times their estimates, each node that truly belongs above
    // row k is verified, or within the named ranks; and settled rows are the true first ones.
    const nodes = fc.array(
      fc.record({
        estimate: fc.double({ min: 0.01, max: 10, noNaN: true }),
        share: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      { minLength: 3, maxLength: 25 },
    );
    fc.assert(
      fc.property(
        nodes,
        fc.integer({ min: 1, max: 6 }),
        fc.double({ min: 1, max: 20, noNaN: true }),
        (all, topK, worst) => {
          const hidden = all.map(({ estimate, share }) => estimate * share * worst);
          const byEstimate = [...all.keys()].sort((a, b) => all[b].estimate - all[a].estimate);
          const verified = new Set(byEstimate.slice(0, topK));
          const known = all.map(({ estimate }, n) => ({
            estimate,
            ...(verified.has(n) && { effect: hidden[n] }),
          }));
          const found = agreement(known, topK);
          if (!found) return;
          const factor = found.mostUnderestimated
            ? Math.max(1, found.mostUnderestimated.factor ?? Number.POSITIVE_INFINITY)
            : Number.POSITIVE_INFINITY;
          const actual = hidden.map((effect, n) =>
            verified.has(n) ? effect : Math.min(effect, all[n].estimate * factor),
          );
          const ranks = [...all.keys()].sort(
            (a, b) => (known[b].effect ?? known[b].estimate) - (known[a].effect ?? known[a].estimate),
          );
          const above = [...all.keys()].filter((n) => !verified.has(n) && actual[n] > found.threshold);
          for (const n of above) expect(ranks.indexOf(n) + 1).toBeLessThanOrEqual(found.lastRank ?? 0);
          for (const n of ranks.slice(0, found.settledRows)) {
            expect(verified.has(n)).toBe(true);
            for (const other of above) expect(actual[other]).toBeLessThanOrEqual(actual[n]);
          }
        },
      ),
      { seed: 1, numRuns: 500 },
    );
  });
});

describe("in words", () => {
  const found: Agreement = {
    topK: 20,
    compared: 20,
    rankCorrelation: 0.4321,
    mostUnderestimated: { node: "L0.mlpOut@9", effect: 10.65, estimate: 0.32, factor: 33.28 },
    threshold: 0.4344,
    settledRows: 2,
    reachable: 214,
    lastRank: 234,
  };

  it("a list with poor estimates says so, and names what would settle it", () => {
    expect(
      agreementLines({ ...found, settle: { verify: "atp verify …", certify: "atp localize …" } }, false),
    ).toEqual([
      [
        "estimates",
        "rank correlation 0.43 with the exact effects of the 20 verified nodes; L0.mlpOut@9 was estimated 33.3 times too small, 0.32 for 10.7",
      ],
      [
        "open",
        "this list may lack nodes: were one more estimate 33.3 times too small, 214 unverified nodes down to rank 234 could belong above row 20 (0.434); rows 1 to 2 are safe from them",
      ],
      ["settle", "atp verify … patches them; atp localize … speaks of all others, too"],
    ]);
    expect(openRows(found, false)).toEqual({ first: 3, last: 20 });
  });

  it("a certificate leaves nothing open", () => {
    expect(
      agreementLines({ ...found, settle: { verify: "atp verify …", certify: "atp localize …" } }, true).map(
        ([label]) => label,
      ),
    ).toEqual(["estimates"]);
    expect(openRows(found, true)).toBeUndefined();
  });

  it("a list with good estimates says what it does not cover", () => {
    const { lastRank: _, ...good } = {
      ...found,
      mostUnderestimated: { node: "L1.z[0]@3", effect: 1.1, estimate: 1, factor: 1.1 },
      settledRows: 20,
      reachable: 0,
    };
    expect(agreementLines(good, false)[1]).toEqual([
      "rows",
      "were one more estimate 1.1 times too small, no unverified node would belong above row 20 (0.434); what is more wrong than all of these only --confidence finds",
    ]);
  });
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RankedNode } from "../../src/nodes/ranking.js";
import { mergeVerified, withEstimateOf } from "../../src/report/merge-verified.js";
import { anyRankedList, row } from "./rows.js";

async function merged(list: readonly RankedNode[], verified: readonly RankedNode[]): Promise<RankedNode[]> {
  async function* rows() {
    yield* list;
  }
  const result: RankedNode[] = [];
  for await (const each of mergeVerified(rows(), verified)) result.push(each);
  return result;
}

describe("mergeVerified", () => {
  it("is what sorting everything anew gives", async () => {
    await fc.assert(
      fc.asyncProperty(anyRankedList, anyRankedList, async (list, verified) => {
        const replaced = verified.map(({ node }) => node);
        const expected = [...verified, ...list.filter(({ node }) => !replaced.includes(node))]
          .sort((a, b) => b.contribution - a.contribution) // stable: of equal ones, the verified first
          .map((each, place) => ({ ...each, rank: place + 1 }));
        expect(await merged(list, verified)).toEqual(expected);
      }),
    );
  });

  it("puts not-a-number last", async () => {
    const list = [
      row({ node: "L0.q[0]@0", contribution: 1 }),
      row({ node: "L0.q[1]@0", contribution: Number.NaN }),
    ];
    const verified = [
      row({ node: "L0.q[2]@0", contribution: 0.5 }),
      row({ node: "L0.q[3]@0", contribution: Number.NaN }),
    ];
    expect((await merged(list, verified)).map(({ rank, node }) => [rank, node])).toEqual([
      [1, "L0.q[0]@0"],
      [2, "L0.q[2]@0"],
      [3, "L0.q[1]@0"],
      [4, "L0.q[3]@0"],
    ]);
  });
});

describe("withEstimateOf", () => {
  it("keeps the estimate of the older row and nothing else of it", () => {
    const older = row({
      contribution: 9,
      estimateContribution: 9,
      estimateMean: 8,
      estimateSe: 7,
      recovered: 6,
    });
    const { estimateContribution: _, estimateMean: __, ...effect } = row({ effectMean: 1, verified: true });
    expect(withEstimateOf(effect, older)).toEqual({
      ...effect,
      estimateContribution: 9,
      estimateMean: 8,
      estimateSe: 7,
    });
  });
});

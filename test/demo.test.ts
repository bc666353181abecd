/** What the README says about the demo: which nodes come first, and what their heads look at. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../src/checkpoint/load-model.js";
import { localize } from "../src/localize.js";
import type { Model } from "../src/model/model.js";
import { logits } from "../src/model/transformer.js";
import { rankedNodes } from "../src/nodes/ranking.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import type { Pair } from "../src/prompts/pair.js";
import { readPairs } from "../src/prompts/read-pairs.js";
import { startTestEngine } from "./support/engine.js";

let model: Model;
let pairs: Pair[];

beforeAll(async () => {
  await startTestEngine();
  model = await loadModel("models/demo");
  pairs = await readPairs("models/demo/pairs/ioi.jsonl", model, metricByName("logit-diff").needs);
});
afterAll(() => model.dispose());

/** Mean over the clean prompts of the attention that a head pays from one role to another. */
async function attention(layer: number, head: number, from: string, to: string): Promise<number> {
  let sum = 0;
  const all = await logits(
    model,
    pairs.map(({ clean }) => clean),
    (point, l, value) => {
      if (point === "pattern" && l === layer) {
        const data = value.dataSync();
        const [, H = 0, T = 0] = value.shape;
        pairs.forEach(({ roles }, b) => {
          const [query, key] = [roles.get(from) ?? Number.NaN, roles.get(to) ?? Number.NaN];
          sum += data[((b * H + head) * T + query) * T + key];
        });
      }
      return value;
    },
  );
  all.dispose();
  return sum / pairs.length;
}

describe("the demo", () => {
  it("finds the duplicate-token head's output and value, then the name movers' queries and outputs", async () => {
    const ranking = await localize(model, pairs, { positions: "roles" });
    const rows = [...rankedNodes(ranking, { limit: 20 })];
    expect(rows.slice(0, 8).map(({ node }) => node)).toEqual([
      "L0.z[3]@end",
      "L0.v[3]@s2",
      "L2.q[3]@end",
      "L2.z[3]@end",
      "L1.q[2]@end",
      "L1.z[2]@end",
      "L2.q[1]@end",
      "L2.z[1]@end",
    ]);
    expect(rows.every(({ verified }) => verified)).toBe(true);
    // Patching the duplicate-token head turns the answer around; the name movers act behind it.
    expect(rows[0].recovered).toBeGreaterThan(0.95);
    expect(rows[1].recovered).toBeGreaterThan(0.95);
    for (const row of rows.slice(2, 8)) expect(row.effectMean).toBeLessThan(-2);
  });

  it("the duplicate-token head looks from the last token at the second name", async () => {
    expect(await attention(0, 3, "end", "s2")).toBeGreaterThan(0.95);
  });

  it.each([
    [2, 3],
    [1, 2],
    [2, 1],
  ])("the name mover L%i head %i looks from the last token at the other name first", async (layer, head) => {
    const [other, first, second] = await Promise.all(
      ["io", "s1", "s2"].map((role) => attention(layer, head, "end", role)),
    );
    expect(other).toBeGreaterThan(0.4);
    expect(other).toBeGreaterThan(2 * first);
    expect(other).toBeGreaterThan(10 * second);
  });
});

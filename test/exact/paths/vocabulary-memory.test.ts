import { beforeAll, expect, it } from "vitest";
import { randomModel } from "../../../bench/random-model.js";
import { estimateBy } from "../../../src/atpstar/estimate.js";
import { exactEffects } from "../../../src/exact/patch-sets.js";
import { directPaths } from "../../../src/exact/paths/path-effects.js";
import { sweepNodes } from "../../../src/exact/sweep/sweep.js";
import { makeNodeSpace } from "../../../src/nodes/node-space.js";
import { metricByName } from "../../../src/prompts/metrics/index.js";
import { startTestEngine } from "../../support/engine.js";
import { largestError } from "../../support/errors.js";
import { tensorPeak } from "../../support/tensor-peak.js";
import { TINY_CONFIGS } from "../../support/tiny-config.js";
import { tokenPair } from "../../support/token-pair.js";

beforeAll(async () => {
  await startTestEngine();
});

const VOCABULARY = 20_000;
/** Logits of all rows of a batch are three times as much, and what is made of them ten times that. */
const BUDGET = 2 ** 20;

it.each(["prob", "logprob", "kl", "rank"])(
  "products with a large vocabulary keep to the budget: %s",
  async (name) => {
    const model = randomModel({ ...TINY_CONFIGS.plain, vocabulary: VOCABULARY });
    const pairs = Array.from({ length: 40 }, (_, p) => tokenPair([1, 2, 3, 4], [1, 100 + p, 3, 4]));
    const metric = metricByName(name);
    const control = { metric, direction: "denoising", batchSize: 40 } as const;
    const space = makeNodeSpace(model.config, ["z"], ["*"]);
    const budget = { activationBudgetBytes: BUDGET };
    const ends = { senders: ["L0.z[0]@*", "L1.z[2]@*"], receivers: ["final", "L2.q[0]@*"] };
    const nodes = Uint32Array.of(0, 5);
    const runs: readonly ((options: object) => Promise<ArrayLike<number>>)[] = [
      async (options) => (await directPaths(model, pairs, { ...control, ...ends, ...options })).effects,
      async (options) =>
        (await exactEffects(model, pairs, space, [nodes], { ...control, ...options })).effects,
      async (options) =>
        (await sweepNodes(model, pairs, space, nodes, { ...control, metrics: [metric], ...options }))
          .metrics[0].patched,
      ...(metric.differentiable
        ? [
            async (options: object) =>
              (await estimateBy("atp", model, pairs, { ...control, space, ...options })).scores.sum,
          ]
        : []),
    ];
    for (const run of runs) {
      let within: ArrayLike<number> = [];
      const peak = await tensorPeak(async () => {
        within = await run(budget);
      });
      // Beside it there are the unpatched runs and what patched ones rest as.
      expect(peak).toBeLessThan(2 * BUDGET);
      // Effects of rank are whole numbers.
      expect(largestError(within, await run({}))).toBeLessThan(1e-5);
    }
    model.dispose();
  },
);

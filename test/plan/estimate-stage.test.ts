import { beforeAll, expect, it } from "vitest";
import { madeUpPairs } from "../../bench/made-up-pairs.js";
import { randomModel } from "../../bench/random-model.js";
import { estimateBy } from "../../src/atpstar/estimate.js";
import { METHODS } from "../../src/atpstar/methods.js";
import { planRun } from "../../src/plan/plan-run.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { attentionWeight } from "../../src/prompts/metrics/internal.js";
import { startTestEngine } from "../support/engine.js";
import { tensorPeak } from "../support/tensor-peak.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { questionFor } from "./planned.js";

beforeAll(async () => {
  await startTestEngine();
});

/** Wide enough that what does not grow with the batch is small beside it. */
const CONFIGS = Object.entries(TINY_CONFIGS).map(
  ([name, config]) => [name, { ...config, layers: 4, width: 36, mlpWidth: 60 }] as const,
);

/** Everything fits; some records do; none does, and each gradient stream has a sweep of its own. */
const BUDGETS = [2 ** 30, 200_000, 1];

it.each(CONFIGS)(
  "the %s block: costs are those of the run, and tensors keep to the plan",
  async (_name, config) => {
    const model = randomModel(config);
    const pairs = [...madeUpPairs(3, 12, config.vocabulary), ...madeUpPairs(1, 7, config.vocabulary)];
    for (const nodes of ["q,k,v,z,mlpOut", "neuron,residPre"]) {
      for (const method of METHODS) {
        for (const activationBytes of BUDGETS) {
          const question = questionFor(config, pairs, { nodes, method, batchSize: 2 });
          const [stage] = planRun(question, { activationBytes }).stages;
          let forwardEquivalents = Number.NaN;
          const peak = await tensorPeak(async () => {
            const run = await estimateBy(method, model, pairs, {
              metric: question.metrics[0],
              direction: "noising",
              space: question.space,
              batchSize: 2,
              activationBudgetBytes: activationBytes,
              streamBudgetBytes: activationBytes,
            });
            forwardEquivalents = run.forwardEquivalents;
          });
          expect(stage.forwardEquivalents, `${nodes} ${method} ${activationBytes}`).toBeCloseTo(
            forwardEquivalents,
            9,
          );
          const planned = stage.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
          expect(planned / peak, `${nodes} ${method} ${activationBytes}`).toBeGreaterThanOrEqual(1);
          expect(planned / peak, `${nodes} ${method} ${activationBytes}`).toBeLessThan(1.6);
        }
      }
    }
    model.dispose();
  },
);

it("internal metrics end below the top, and draws multiply what is run", async () => {
  const config = { ...TINY_CONFIGS.plain, layers: 4 };
  const pairs = madeUpPairs(3, 6, config.vocabulary);
  const metric = attentionWeight({ layer: 2, head: 0, query: -1, key: 0 });
  const question = questionFor(config, pairs, { method: "atp*", metrics: [metric], batchSize: 3 });
  // Both runs through layers 0 to 2, one gradient through layers 2, 1, 0 and that of dropped layer 1 through layer 0.
  expect(planRun(question).stages[0].forwardEquivalents).toBeCloseTo((3 * (2 * 3 + 3 + 1)) / 4, 12);
  const drawn = planRun({ ...question, draws: 2, metrics: [metricByName("logit-diff")] });
  // Twice as many rows; gradients through 4 layers, and of dropped layers 3, 2, 1 through 3, 2 and 1.
  expect(drawn.stages[0].forwardEquivalents).toBeCloseTo((2 * 3 * (2 * 4 + 4 + 6)) / 4, 12);
});

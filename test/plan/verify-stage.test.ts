import { beforeAll, expect, it } from "vitest";
import { madeUpPairs } from "../../bench/made-up-pairs.js";
import { randomModel } from "../../bench/random-model.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import type { Model } from "../../src/model/model.js";
import { planRun } from "../../src/plan/plan-run.js";
import { startTestEngine } from "../support/engine.js";
import { tensorPeak } from "../support/tensor-peak.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { questionFor } from "./planned.js";

beforeAll(async () => {
  await startTestEngine();
});

const CONFIGS = Object.entries(TINY_CONFIGS).map(
  ([name, config]) => [name, { ...config, width: 36, mlpWidth: 60 }] as const,
);

/** One run in a chunk and one chunk in a wave; some. */
const BUDGETS = [1, 300_000];

it.each(CONFIGS)(
  "the %s block: a sweep costs, reads and holds at most what is planned",
  async (_name, config) => {
    const model = randomModel(config);
    const pairs = madeUpPairs(3, 8, config.vocabulary);
    for (const nodes of ["q,v", "mlpOut"]) {
      for (const activationBytes of BUDGETS) {
        const base = questionFor(config, pairs, { nodes });
        const question = { ...base, patches: { nodes: base.space.size } };
        const { stages } = planRun(question, { memoryBytes: 1, activationBytes });
        const visited = { layers: 0 };
        let forwardEquivalents = Number.NaN;
        const peak = await tensorPeak(async () => {
          const all = Uint32Array.from({ length: base.space.size }, (_, node) => node);
          const run = await sweepNodes(countingVisits(model, visited), pairs, base.space, all, {
            metrics: base.metrics,
            direction: "noising",
            batchSize: 8,
            activationBudgetBytes: activationBytes,
          });
          forwardEquivalents = run.forwardEquivalents;
        });
        const [{ forwardEquivalents: most = Number.NaN, reads, tensors }] = stages;
        expect(forwardEquivalents).toBeLessThanOrEqual(most);
        expect(forwardEquivalents).toBeGreaterThan(most / 12);
        expect(visited.layers).toBeLessThanOrEqual(reads.layers);
        expect(visited.layers).toBeGreaterThan(reads.layers / 6);
        const planned = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
        expect(planned / peak, `${nodes} ${activationBytes}`).toBeGreaterThanOrEqual(1);
        expect(planned / peak, `${nodes} ${activationBytes}`).toBeLessThan(3);
      }
    }
    model.dispose();
  },
);

/** Every visit is a read where no layer is held. */
function countingVisits(model: Model, visited: { layers: number }): Model {
  const { weights } = model;
  return {
    ...model,
    weights: {
      ...weights,
      layer(l, next) {
        visited.layers++;
        return weights.layer(l, next);
      },
    },
  };
}

it("of nodes that are not known yet the most expensive ones are planned", () => {
  const config = TINY_CONFIGS.plain;
  const pairs = madeUpPairs(2, 5, config.vocabulary);
  const question = questionFor(config, pairs, { nodes: "z", patches: { nodes: 5 } });
  const [{ forwardEquivalents }] = planRun(question).stages;
  // Two unpatched runs of each pair; four heads of layer 0 at position 0, a forward pass each; one more at position 1, or in
  // layer 1 at position 0, whichever costs more: 4/5 of a pass, or 2/3.
  expect(forwardEquivalents).toBeCloseTo(2 * 2 + 2 * (4 + 4 / 5), 12);
});

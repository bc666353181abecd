/** A number that is not finite is an error that says where it begins, whatever is computed and whichever metric is read. */

import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { estimateBy } from "../../src/atpstar/estimate.js";
import { RunError } from "../../src/errors.js";
import { minimality } from "../../src/exact/circuits.js";
import { faithfulness } from "../../src/exact/faithfulness.js";
import { exactEffects } from "../../src/exact/patch-sets.js";
import { pathEffects } from "../../src/exact/paths/path-effects.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import type { Model } from "../../src/model/model.js";
import type { BlockWeights } from "../../src/model/weights.js";
import { makeNodeSpace, type NodeSpace } from "../../src/nodes/node-space.js";
import { METRICS, metricByName } from "../../src/prompts/metrics/index.js";
import { attentionWeight, neuronActivation, projection } from "../../src/prompts/metrics/internal.js";
import type { Metric } from "../../src/prompts/metrics/metric.js";
import type { ActivationSource } from "../../src/sources/source.js";
import { startTestEngine } from "../support/engine.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

const PAIRS = [tokenPair([1, 2, 3, 4], [1, 7, 3, 4]), tokenPair([9, 8, 6], [9, 5, 6])];
const CONTROL = { direction: "noising", batchSize: 4 } as const;

let model: Model;
let space: NodeSpace;

beforeAll(async () => {
  await startTestEngine();
  model = randomModel(TINY_CONFIGS.plain);
  space = makeNodeSpace(model.config, ["v", "mlpOut"], [0, 1, 2, 3]);
});
afterAll(() => model.dispose());

/** The model with one layer's block as `change` has it. */
function withLayer(layer: number, change: (block: BlockWeights) => BlockWeights): Model {
  const { weights } = model;
  const changed = async (at: number) => {
    const block = await weights.layer(at);
    return at === layer ? change(block) : block;
  };
  return { ...model, weights: Object.assign(Object.create(weights), { layer: changed }) };
}

/** Without tensors left behind. */
async function refusal(run: () => Promise<unknown>): Promise<string> {
  const before = tf.memory().numTensors;
  const error = await run().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(RunError);
  expect(tf.memory().numTensors).toBe(before);
  return error instanceof Error ? error.message : "";
}

const INTERNAL: readonly Metric[] = [
  attentionWeight({ layer: 2, head: 1, query: -1, key: 0 }),
  neuronActivation({ layer: 2, neuron: 3, position: -1 }),
  projection({ layer: 1, site: "residPost", position: -1, direction: Array(12).fill(1) }),
];

/** Adds to the MLP's output of layer 1, at every position. */
const biasOf = (bad: number) => tf.tensor1d(Array.from({ length: 12 }, (_, d) => (d === 5 ? bad : 0)));

describe.each([Number.NaN, Number.POSITIVE_INFINITY])("a bias of %s in the MLP of layer 1", (bad) => {
  let bias: tf.Tensor1D;
  let broken: Model;
  beforeAll(() => {
    bias = biasOf(bad);
    broken = withLayer(1, (block) => ({ ...block, mlpOut: { ...block.mlpOut, bias } }));
  });
  afterAll(() => bias.dispose());

  const begin = `values begin to be not finite at L1.mlpOut@0 of the base run, which is ${bad}`;

  it.each([...METRICS, ...INTERNAL].map((metric) => [metric.name, metric] as const))(
    "is found by %s",
    async (name, metric) => {
      const nodes = Uint32Array.of(0, 1);
      const text = await refusal(() =>
        sweepNodes(broken, PAIRS, space, nodes, { ...CONTROL, metrics: [metric] }),
      );
      expect(text).toContain(
        `prepareOnRuns: expected a finite ${name} on both runs of pair of 1,2,3,4, got `,
      );
      expect(text).toContain(`: ${begin}`);
    },
  );

  it("is found by whatever is computed", async () => {
    const metric = metricByName("accuracy");
    const exact = { ...CONTROL, metric };
    const order = Uint32Array.of(3, 0, 1);
    const runs: readonly (() => Promise<unknown>)[] = [
      () => exactEffects(broken, PAIRS, space, [order], exact),
      () => faithfulness(broken, PAIRS, { space, order }, exact),
      () => minimality(broken, PAIRS, space, order, exact),
      () => pathEffects(broken, PAIRS, { ...exact, senders: ["L0.z[0]@1"], receivers: ["final"] }),
      () => estimateBy("atp", broken, PAIRS, { ...exact, metric: metricByName("logit"), space }),
      () => estimateBy("atp*", broken, PAIRS, { ...exact, metric: metricByName("prob"), space }),
    ];
    for (const run of runs) expect(await refusal(run)).toContain(begin);
  });
});

it("only logits that are not finite are said to be these", async () => {
  const rows = await model.weights.unembedding();
  const data = Float32Array.from(rows.dataSync());
  model.weights.releaseUnembedding();
  // Finite itself: products of 12 such numbers are not. No pair names the last token.
  const bad = tf.tensor2d(data.fill(-3e38, 16 * 12), rows.shape);
  const weights = Object.assign(Object.create(model.weights), {
    unembedding: async () => bad,
    releaseUnembedding() {},
  });
  for (const name of ["rank", "accuracy", "prob", "kl"]) {
    const options = { ...CONTROL, metrics: [metricByName(name)] };
    const text = await refusal(() =>
      sweepNodes({ ...model, weights }, PAIRS, space, Uint32Array.of(0), options),
    );
    expect(text).toContain(": its activations are finite, its logits are not");
  }
  bad.dispose();
});

/** The same number wherever it is patched in. */
const constant = (value: number): ActivationSource => ({
  description: "a constant",
  valuesAt: (_site, _layer, like) => tf.fill(like.shape, value),
  dispose() {},
});

describe("what is patched in", () => {
  const metric = metricByName("rank");

  it("is named where it is not finite itself", async () => {
    const options = { ...CONTROL, metrics: [metric], source: constant(Number.NaN) };
    expect(await refusal(() => sweepNodes(model, PAIRS, space, Uint32Array.of(1), options))).toBe(
      "exactEffects: expected a finite rank of every patched run, got NaN for L0.v[1]@0 on pair of 1,2,3,4: values begin to be not finite at L0.v among the values that are patched in, which is NaN",
    );
  });

  it("is finite, and the patched run is not: where that overflows", async () => {
    const options = { ...CONTROL, metric, source: constant(3e38) };
    const text = await refusal(() =>
      exactEffects(model, PAIRS, space, [Uint32Array.of(0, 1, 2, 3)], options),
    );
    expect(text).toMatch(
      /for set 0 on pair of 1,2,3,4: values begin to be not finite at L0\.attnOut@0 of the patched run, which is (NaN|-?Infinity)$/,
    );
  });

  it("makes estimates that are not finite an error, and effects of paths", async () => {
    const options = { ...CONTROL, metric: metricByName("logit"), source: constant(Number.POSITIVE_INFINITY) };
    expect(await refusal(() => estimateBy("atp", model, PAIRS, { ...options, space }))).toBe(
      "estimate: expected finite estimates, got one of L2.mlpOut@0 that is not: the runs are finite, its gradient or what is patched in is not",
    );
    const ends = { senders: ["L0.z[0]@1"], receivers: ["L1.q[0]@1"] };
    expect(await refusal(() => pathEffects(model, PAIRS, { ...options, ...ends }))).toContain(
      "for sender L0.z[0]@1 on pair of 1,2,3,4: the unpatched runs are finite, the patched one is not",
    );
  });
});

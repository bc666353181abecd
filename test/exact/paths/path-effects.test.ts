import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../../bench/random-model.js";
import { exactEffects } from "../../../src/exact/patch-sets.js";
import { directPaths, type PathOptions, pathEffects } from "../../../src/exact/paths/path-effects.js";
import type { Edit } from "../../../src/model/block.js";
import type { Model } from "../../../src/model/model.js";
import type { HookPoint, Site } from "../../../src/model/sites.js";
import { logits } from "../../../src/model/transformer.js";
import { type Node, parseNodeId } from "../../../src/nodes/node-id.js";
import { indexOfNode, makeNodeSpace } from "../../../src/nodes/node-space.js";
import { metricByName } from "../../../src/prompts/metrics/index.js";
import type { Pair } from "../../../src/prompts/pair.js";
import { zeroSource } from "../../../src/sources/zero.js";
import { startTestEngine } from "../../support/engine.js";
import { largestError } from "../../support/errors.js";
import { A, B, twoPathModel } from "../../support/hand-made.js";
import { TINY_CONFIGS } from "../../support/tiny-config.js";
import { tokenPair } from "../../support/token-pair.js";

/** Float32, metrics of order 1, the same sums in another order. */
const TOLERANCE = 2e-5;

const PAIRS: Pair[] = [
  tokenPair([1, 2, 3, 4, 5], [1, 7, 3, 4, 5], { changed: 1, end: 4 }),
  tokenPair([4, 4, 1], [4, 10, 1], { changed: 1 }),
  tokenPair([9, 8, 7, 6, 5], [3, 8, 2, 6, 1], { changed: 2, end: 4 }),
];

const OPTIONS = { metric: metricByName("logit-diff"), direction: "noising", batchSize: 8 } as const;

/** `pathEffects` without a leak. */
async function effectsOf(
  model: Model,
  options: Partial<PathOptions> & Pick<PathOptions, "senders" | "receivers">,
) {
  const before = tf.memory().numTensors;
  const result = await pathEffects(model, PAIRS, { ...OPTIONS, ...options });
  expect(tf.memory().numTensors).toBe(before);
  return result;
}

/** A value of a run, as plain numbers. */
interface Value {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

type Trace = ReadonlyMap<string, Value>;

/** A full forward pass of one prompt: its metric, and the values at all sites. */
async function fullPass(
  model: Model,
  prompt: readonly number[],
  pair: Pair,
  edit: Edit = (_point, _layer, value) => value,
): Promise<{ metric: number; trace: Trace }> {
  const trace = new Map<string, Value>();
  const all = await logits(model, [prompt], (point, layer, value) => {
    const edited = edit(point, layer, value);
    trace.set(`${layer}.${point}`, { shape: edited.shape, data: Float32Array.from(edited.dataSync()) });
    return edited;
  });
  const row = all.dataSync().slice(pair.metricPosition * model.config.vocabulary);
  all.dispose();
  const mean = (tokens: readonly number[]) =>
    tokens.reduce((sum, token) => sum + row[token], 0) / tokens.length;
  return { metric: mean(pair.answers) - mean(pair.wrong), trace };
}

function at(trace: Trace, point: HookPoint, layer: number): Value {
  const value = trace.get(`${layer}.${point}`);
  if (!value) throw new Error(`no ${point} in layer ${layer}`);
  return value;
}

/** `into` with the numbers of `from` at the node, whose position is a number or "*". */
function withNode(into: Value, from: Value, { site, index = 0, position }: Node): Value {
  const data = Float32Array.from(into.data);
  const heads = into.shape.length === 4;
  const T = into.shape[heads ? 2 : 1];
  const width = into.shape[into.shape.length - 1];
  for (let t = 0; t < T; t++) {
    if (position !== "*" && t !== position) continue;
    const start = site === "neuron" ? t * width + index : heads ? (index * T + t) * width : t * width;
    const end = start + (site === "neuron" ? 1 : width);
    data.set(from.data.subarray(start, end), start);
  }
  return { shape: into.shape, data };
}

const tensorOf = ({ data, shape }: Value) => tf.tensor(data, [...shape]);

interface Ends {
  readonly sender: string;
  /** Where the receivers' values show, as node ids: `L2.mlpOut@3` for the receiver `L2.mlp@3`. */
  readonly receivers: readonly string[];
}

/** `z` and `neuron` show in these outputs of their own layer. */
const SENDS_THROUGH: Partial<Record<Site, HookPoint>> = { z: "attnOut", neuron: "mlpOut" };

/**
 * The definition, by whole forward passes of one prompt and nothing but edits. One run per receiver captures its value: the
 * sender has its source value, and all attention and MLP outputs are held at their base values but for the one that shows
 * the sender, and the receiver's own. A last run has the captured values patched in. Of "final" the first run is all.
 */
async function effectByFullPasses(model: Model, pair: Pair, { sender, receivers }: Ends): Promise<number> {
  const base = await fullPass(model, pair.clean, pair);
  const source = await fullPass(model, pair.corrupted, pair);
  const node = parseNodeId(sender);
  const captured: { node: Node; value: Value }[] = [];
  for (const id of receivers) {
    const receiver = id === "final" ? undefined : parseNodeId(id);
    const { trace, metric } = await fullPass(model, pair.clean, pair, (point, layer, value) => {
      if (point === node.site && layer === node.layer) {
        return tensorOf(withNode(at(base.trace, point, layer), at(source.trace, point, layer), node));
      }
      const showsSender = layer === node.layer && point === SENDS_THROUGH[node.site];
      const isReceiver = layer === receiver?.layer && point === receiver.site;
      if ((point === "attnOut" || point === "mlpOut") && !showsSender && !isReceiver) {
        return tensorOf(at(base.trace, point, layer));
      }
      return value;
    });
    if (!receiver) return metric - base.metric;
    captured.push({ node: receiver, value: at(trace, receiver.site, receiver.layer) });
  }
  const patched = await fullPass(model, pair.clean, pair, (point, layer, value) => {
    const here = captured.filter(({ node: { site, layer: l } }) => site === point && l === layer);
    if (here.length === 0) return value;
    const own: Value = { shape: value.shape, data: Float32Array.from(value.dataSync()) };
    return tensorOf(here.reduce((into, receiver) => withNode(into, receiver.value, receiver.node), own));
  });
  return patched.metric - base.metric;
}

const receiverId = (id: string) => id.replace("mlpOut", "mlp");

describe.each(["plain", "parallel", "gated"] as const)("%s model", (kind) => {
  let model: Model;
  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(TINY_CONFIGS[kind]);
  });
  afterAll(() => model.dispose());

  const SENDERS = [
    "L0.z[2]@1",
    "L0.attnOut@*",
    "L0.mlpOut@1",
    "L0.neuron[4]@*",
    "L1.residPre@1",
    "L0.residPost@*",
  ];

  it.each([
    [["L2.q[3]@*"]],
    [["L1.k[1]@1"]],
    [["L2.v[0]@*"]],
    [["L2.mlpOut@*"]],
    [["final"]],
    [["L1.mlpOut@1"]],
    [["L2.q[1]@*", "L2.q[3]@*", "L2.k[0]@1", "L2.v[1]@*"]],
    [["L1.k[1]@*", "L1.mlpOut@*", "L2.v[1]@1", "L2.mlpOut@2"]],
  ])("is the definition by whole forward passes, through %s", async (receivers) => {
    const { effects } = await effectsOf(model, { senders: SENDERS, receivers: receivers.map(receiverId) });
    for (const [p, pair] of PAIRS.entries()) {
      const wanted: number[] = [];
      for (const sender of SENDERS) wanted.push(await effectByFullPasses(model, pair, { sender, receivers }));
      // NaN says that there is no path: the sender's change is not where the receiver reads.
      const got = effects.subarray(p * SENDERS.length, (p + 1) * SENDERS.length);
      const orZero = got.map((effect) => (Number.isNaN(effect) ? 0 : effect));
      expect(largestError(orZero, wanted)).toBeLessThan(TOLERANCE);
      expect(Math.max(...wanted.map(Math.abs))).toBeGreaterThan(1e-3);
    }
  });

  /** Effects of single nodes, by the other implementation. */
  const nodeEffects = async (ids: string[]) => {
    const space = makeNodeSpace(
      model.config,
      [...new Set(ids.map((id) => parseNodeId(id).site))],
      [...new Set(ids.map((id) => parseNodeId(id).position))],
    );
    const sets = ids.map((id) => Uint32Array.of(indexOfNode(space, parseNodeId(id))));
    return (await exactEffects(model, PAIRS, space, sets, OPTIONS)).effects;
  };

  it("from the whole stream is the effect of the receiver's own node, at every kind of receiver", async () => {
    const receivers = ["L1.q[3]@2", "L2.q[0]@*", "L1.k[1]@1", "L2.v[1]@*", "L1.v[0]@0"];
    const { effects } = await directOf({ senders: ["L1.residPre@*", "L2.residPre@*"], receivers });
    const wanted = await nodeEffects(receivers);
    const count = receivers.length;
    PAIRS.forEach((_, pair) => {
      receivers.forEach((id, r) => {
        const sender = id.startsWith("L1") ? 0 : 1;
        const got = effects[(pair * 2 + sender) * count + r];
        expect(Math.abs(got - wanted[pair * count + r]), id).toBeLessThan(TOLERANCE);
      });
    });
    const mid = model.config.parallelResidual ? "L2.residPre@*" : "L2.residMid@*";
    const mlp = await effectsOf(model, { senders: [mid], receivers: ["L2.mlp@*"] });
    expect(largestError(mlp.effects, await nodeEffects(["L2.mlpOut@*"]))).toBeLessThan(TOLERANCE);
  });

  it("to the final stream is the whole effect of what only the final stream hears", async () => {
    const late = [
      "L2.mlpOut@*",
      "L2.neuron[3]@*",
      "L2.residPost@*",
      ...(model.config.parallelResidual ? ["L2.z[1]@*"] : []),
    ];
    const { effects, baseMetric, sourceMetric } = await effectsOf(model, {
      senders: late,
      receivers: ["final"],
    });
    expect(largestError(effects, await nodeEffects(late))).toBeLessThan(TOLERANCE);
    const all = late.indexOf("L2.residPost@*");
    const gaps = sourceMetric.map((source, pair) => source - baseMetric[pair]);
    expect(
      largestError(
        PAIRS.map((_, pair) => effects[pair * late.length + all]),
        gaps,
      ),
    ).toBeLessThan(TOLERANCE);
  });

  it("to the final stream with its norm frozen adds up over senders: all of them make the stream", async () => {
    const parts = ["L0.residPre@*", ...[0, 1, 2].flatMap((l) => [`L${l}.attnOut@*`, `L${l}.mlpOut@*`])];
    const frozen = { receivers: ["final"], freezeNorm: true };
    const { effects } = await effectsOf(model, { ...frozen, senders: parts });
    const whole = await effectsOf(model, { ...frozen, senders: ["L2.residPost@*"] });
    const sums = PAIRS.map((_, pair) =>
      parts.reduce((sum, _part, s) => sum + effects[pair * parts.length + s], 0),
    );
    expect(largestError(sums, whole.effects)).toBeLessThan(TOLERANCE);
    const recomputed = await effectsOf(model, { receivers: ["final"], senders: ["L2.residPost@*"] });
    expect(largestError(whole.effects, recomputed.effects)).toBeGreaterThan(1e-3);
  });

  it("sweeps all senders and receivers as one by one, whatever the batch size", async () => {
    const senders = ["L0.z[1]@*", "L1.mlpOut@changed", "L0.neuron[2]@1"];
    const receivers = ["L1.q[2]@*", "L2.k[0]@changed", "L2.mlp@*", "final"];
    const many = await directOf({ senders, receivers, batchSize: 64 });
    const few = await directOf({ senders, receivers, batchSize: 2 });
    expect([many.senders, many.receivers]).toEqual([senders, receivers]);
    const present = (effects: Float32Array) => effects.filter((effect) => !Number.isNaN(effect));
    expect([...many.effects].map(Number.isNaN)).toEqual([...few.effects].map(Number.isNaN));
    expect(present(many.effects).length).toBeGreaterThan(20);
    expect(largestError(present(many.effects), present(few.effects))).toBeLessThan(TOLERANCE);
    for (const [r, receiver] of receivers.entries()) {
      const { effects } = await effectsOf(model, { senders, receivers: [receiver] });
      const column = effects.map((_, at) => many.effects[at * receivers.length + r]);
      expect([...column].map(Number.isNaN)).toEqual([...effects].map(Number.isNaN));
      expect(largestError(present(column), present(effects))).toBeLessThan(TOLERANCE);
    }
  });

  const directOf = async (options: Pick<PathOptions, "senders" | "receivers"> & Partial<PathOptions>) => {
    const before = tf.memory().numTensors;
    const result = await directPaths(model, PAIRS, { ...OPTIONS, ...options });
    expect(tf.memory().numTensors).toBe(before);
    return result;
  };
});

describe("which paths there are", () => {
  let model: Model;
  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(TINY_CONFIGS.plain);
  });
  afterAll(() => model.dispose());

  /** Whether each sender reaches the receiver, on the first pair. */
  const reached = async (of: Model, senders: string[], receiver: string) => {
    const { effects } = await effectsOf(of, { senders, receivers: [receiver] });
    return [...effects.subarray(0, senders.length)].map((effect) => !Number.isNaN(effect));
  };

  it("only to what reads behind the sender, and at its positions", async () => {
    const own = [
      "L1.residPre@*",
      "L1.z[0]@*",
      "L1.attnOut@*",
      "L1.residMid@*",
      "L1.neuron[0]@*",
      "L1.mlpOut@*",
    ];
    expect(await reached(model, own, "L1.q[0]@*")).toEqual([true, false, false, false, false, false]);
    expect(await reached(model, own, "L1.mlp@*")).toEqual([true, true, true, true, false, false]);
    expect(await reached(model, [...own, "L1.residPost@*"], "L2.v[0]@*")).toEqual(Array(7).fill(true));
    expect(await reached(model, ["L2.residPost@4", "L0.z[0]@3", "L2.mlpOut@end"], "final")).toEqual([
      true,
      false,
      true,
    ]);
    expect(await reached(model, ["L0.z[0]@1", "L0.z[0]@2", "L0.z[0]@changed"], "L2.q[0]@1")).toEqual([
      true,
      false,
      true,
    ]);

    const parallel = randomModel(TINY_CONFIGS.parallel);
    const ofParallel = own.filter((id) => !id.includes("residMid"));
    expect(await reached(parallel, ofParallel, "L1.mlp@*")).toEqual([true, false, false, false, false]);
    expect(await reached(parallel, ofParallel, "L2.mlp@*")).toEqual(Array(5).fill(true));
    parallel.dispose();
  });

  it("none on a pair that lacks a position", async () => {
    const { effects } = await effectsOf(model, {
      senders: ["L0.z[0]@*"],
      receivers: ["L1.q[0]@end", "L2.v[0]@*"],
    });
    expect([...effects].map(Number.isNaN)).toEqual([false, true, false]);
  });

  it("without effect, and without a run, behind where the metric is read", async () => {
    const early = PAIRS.map((pair) => ({ ...pair, metricPosition: 1 }));
    const options = { ...OPTIONS, senders: ["L0.mlpOut@2", "L0.mlpOut@1"], receivers: ["L1.v[0]@*"] };
    const { effects, forwardEquivalents } = await pathEffects(model, early, options);
    expect([effects[0], effects[2], effects[4]]).toEqual([0, 0, 0]);
    expect(Math.abs(effects[1])).toBeGreaterThan(1e-3);
    // Layers 1 and 2 of three, and layer 1 once more to hear; from position 1 on.
    expect(forwardEquivalents).toBeCloseTo(3 * 2 + 2 * (4 / 5) + 2 / 3, 10);
  });

  it("cost: the layers behind the first receiver, and each receiver's layer once more", async () => {
    const cost = async (receivers: string[]) =>
      (await effectsOf(model, { senders: ["L0.z[0]@*"], receivers })).forwardEquivalents / PAIRS.length;
    expect(await cost(["L2.q[0]@*", "L2.mlp@*"])).toBeCloseTo(2 + 2 / 3, 10);
    expect(await cost(["L1.q[0]@*", "L2.mlp@*"])).toBeCloseTo(2 + 4 / 3, 10);
    expect(await cost(["final"])).toBeCloseTo(2, 10);
  });

  it("in the other direction, with the other metrics, and from a space of nodes", async () => {
    const ends = { senders: ["L1.mlpOut@*"], receivers: ["final"] };
    const swapped = PAIRS.map((pair) => ({ ...pair, clean: pair.corrupted, corrupted: pair.clean }));
    const denoised = await effectsOf(model, {
      ...ends,
      direction: "denoising",
      metric: metricByName("prob"),
    });
    const noised = await pathEffects(model, swapped, { ...OPTIONS, ...ends, metric: metricByName("prob") });
    expect(denoised.effects).toEqual(noised.effects);
    const space = makeNodeSpace(model.config, ["mlpOut"], ["*"]);
    const bySpace = await effectsOf(model, { ...ends, senders: { space, nodes: [1] } });
    expect(bySpace.effects).toEqual((await effectsOf(model, ends)).effects);
  });

  it("from zeros: without what the sender adds", async () => {
    const { effects, baseMetric } = await effectsOf(model, {
      senders: ["L2.residPost@*"],
      receivers: ["final"],
      source: zeroSource(),
    });
    // The layer norm of 0 is its bias, whatever the prompt.
    const without = effects.map((effect, pair) => effect + baseMetric[pair]);
    expect(
      largestError(
        without,
        without.map(() => without[0]),
      ),
    ).toBeLessThan(TOLERANCE);
    expect(Math.abs(effects[0])).toBeGreaterThan(1e-2);
  });
});

describe("two paths by hand (docs/why-atp-star.md)", () => {
  it("w = −1: −3 directly, +1 through the neuron, −2 in all", async () => {
    await startTestEngine();
    const model = twoPathModel(-1);
    const pair: Pair = { ...tokenPair([A], [B]), answers: [A], wrong: [B] };
    const { effects, baseMetric } = await directPaths(model, [pair], {
      ...OPTIONS,
      senders: ["L0.z[0]@0"],
      receivers: ["final", "L1.mlp@0"],
    });
    model.dispose();
    // The head's output x goes from 1 to −2. Base: x − relu(x) = 1 − 1.
    expect(baseMetric[0]).toBeCloseTo(0, 5);
    // Directly: −2 − relu(1) = −3, less the base's 0.
    expect(effects[0]).toBeCloseTo(-3, 5);
    // Through the neuron: 1 − relu(−2) = 1. The paths join in a sum, so they make the whole effect, −2 − relu(−2) = −2.
    expect(effects[1]).toBeCloseTo(1, 5);
  });
});

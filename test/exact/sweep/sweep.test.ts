import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../../bench/random-model.js";
import { exactEffects, type PatchOptions } from "../../../src/exact/patch-sets.js";
import { pathEffects } from "../../../src/exact/paths/path-effects.js";
import { sweepNodes } from "../../../src/exact/sweep/sweep.js";
import { forwardFlops } from "../../../src/model/flops.js";
import type { Model } from "../../../src/model/model.js";
import { sitesOf } from "../../../src/model/sites.js";
import { logits } from "../../../src/model/transformer.js";
import { formatNodeId, type Node } from "../../../src/nodes/node-id.js";
import { indexOfNode, makeNodeSpace, type NodeSpace, nodeAt } from "../../../src/nodes/node-space.js";
import { type PositionMode, positionLabels, spanInPair } from "../../../src/nodes/positions.js";
import { basePrompt, type Direction, sourcePrompt } from "../../../src/prompts/direction.js";
import { metricByName } from "../../../src/prompts/metrics/index.js";
import { isOutput, type OutputMetric } from "../../../src/prompts/metrics/metric.js";
import type { Pair } from "../../../src/prompts/pair.js";
import { zeroSource } from "../../../src/sources/zero.js";
import { startTestEngine } from "../../support/engine.js";
import { largestError } from "../../support/errors.js";
import { TINY_CONFIGS } from "../../support/tiny-config.js";
import { tokenPair } from "../../support/token-pair.js";

/** Float32, metrics of order 1, the same sums in another order. */
const TOLERANCE = 2e-5;

/** Two lengths; roles that lie elsewhere in each pair, and not in all; one pair whose metric is read before its end. */
const PAIRS: Pair[] = [
  tokenPair([1, 2, 3, 4, 5, 6], [1, 7, 3, 4, 5, 6], { changed: 1, end: 5 }),
  tokenPair([4, 4, 1], [4, 10, 1], { changed: 1 }),
  { ...tokenPair([9, 8, 7, 6, 5, 4], [9, 8, 2, 6, 11, 4], { changed: 2, end: 3 }), metricPosition: 4 },
  tokenPair([12, 8, 7, 6, 5, 16], [3, 8, 7, 6, 5, 16], { changed: 0, end: 5 }),
];

const METRIC = metricByName("logit-diff");

/** The values of one run at every site and layer, as plain numbers. */
async function valuesByHand(model: Model, prompt: readonly number[]): Promise<Map<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  const all = await logits(model, [prompt], (site, layer, value) => {
    values.set(`${layer}.${site}`, Float32Array.from(value.dataSync()));
    return value;
  });
  values.set("logits", Float32Array.from(all.dataSync()));
  all.dispose();
  return values;
}

function logitDiff(
  values: Float32Array,
  vocabulary: number,
  { answers, wrong, metricPosition }: Pair,
): number {
  const row = values.subarray(metricPosition * vocabulary, (metricPosition + 1) * vocabulary);
  const mean = (tokens: readonly number[]) =>
    tokens.reduce((sum, token) => sum + row[token], 0) / tokens.length;
  return mean(answers) - mean(wrong);
}

/** The unpatched runs of one pair by hand. */
async function runsByHand(model: Model, pair: Pair, direction: Direction) {
  return {
    base: await valuesByHand(model, basePrompt(pair, direction)),
    source: await valuesByHand(model, sourcePrompt(pair, direction)),
  };
}

/** The effect of a node by one full forward pass of one prompt, its values written over by hand. */
async function effectByHand(
  model: Model,
  pair: Pair,
  direction: Direction,
  { site, layer, index = 0, position }: Node,
  runs: Awaited<ReturnType<typeof runsByHand>>,
): Promise<number> {
  const span = spanInPair(position, pair);
  if (!span) return Number.NaN;
  const source = runs.source.get(`${layer}.${site}`);
  if (!source) throw new Error(`no values of ${site}`);
  const patched = await logits(model, [basePrompt(pair, direction)], (at, l, value) => {
    if (at !== site || l !== layer) return value;
    const data = Float32Array.from(value.dataSync());
    const width = value.shape[value.rank - 1] ?? 0;
    const T = pair.clean.length;
    for (let t = span.first; t < span.end; t++) {
      // [1, n, T, h] for heads, [1, T, F] for neurons, [1, T, D] otherwise.
      const first = value.rank === 4 ? (index * T + t) * width : t * width + index;
      const length = site === "neuron" ? 1 : width;
      data.set(source.subarray(first, first + length), first);
    }
    return tf.tensor(data, value.shape);
  });
  const { vocabulary } = model.config;
  const after = logitDiff(Float32Array.from(patched.dataSync()), vocabulary, pair);
  patched.dispose();
  return after - logitDiff(runs.base.get("logits") ?? new Float32Array(), vocabulary, pair);
}

describe.each(["plain", "parallel", "gated"] as const)("%s model", (kind) => {
  let model: Model;

  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(TINY_CONFIGS[kind], { gain: 1.5, layout: kind === "gated" ? "out-in" : "in-out" });
  });
  afterAll(() => model.dispose());

  const spaceOf = (mode: PositionMode) =>
    makeNodeSpace(model.config, sitesOf(model.config), positionLabels(mode, PAIRS));

  const allNodes = ({ size }: NodeSpace) => Uint32Array.from({ length: size }, (_, node) => node);

  async function sweep(
    space: NodeSpace,
    nodes: Uint32Array,
    options: Partial<PatchOptions> = {},
    pairs = PAIRS,
  ) {
    const before = tf.memory().numTensors;
    const result = await sweepNodes(model, pairs, space, nodes, {
      metrics: [METRIC],
      direction: "noising",
      batchSize: 8,
      ...options,
    });
    expect(tf.memory().numTensors).toBe(before);
    const [{ patched, base }] = result.metrics;
    return { ...result, effects: patched.map((value, at) => value - base[Math.floor(at / nodes.length)]) };
  }

  describe.each(["noising", "denoising"] as const)("%s", (direction) => {
    it.each(["each", "roles", "all"] as const)(
      "equals full forward passes with every node's values written over, positions %s",
      async (mode) => {
        const space = spaceOf(mode);
        const nodes = allNodes(space).filter((node) => mode !== "each" || node % 3 === 0);
        const { effects } = await sweep(space, nodes, { direction });
        for (const [p, pair] of PAIRS.entries()) {
          const runs = await runsByHand(model, pair, direction);
          // Every node of one pair would take a minute: some of each site and layer.
          for (let n = p; n < nodes.length; n += mode === "each" ? 7 : 3) {
            const node = nodeAt(space, nodes[n]);
            const wanted = await effectByHand(model, pair, direction, node, runs);
            const got = effects[p * nodes.length + n];
            if (Number.isNaN(wanted)) expect(got, formatNodeId(node)).toBeNaN();
            else expect(Math.abs(got - wanted), formatNodeId(node)).toBeLessThan(TOLERANCE);
          }
        }
      },
      60_000,
    );

    it.each(["each", "roles", "all"] as const)(
      "equals runs patched by masks, all nodes, positions %s",
      async (mode) => {
        const space = spaceOf(mode);
        const nodes = allNodes(space);
        const { effects } = await sweep(space, nodes, { direction });
        const sets = Array.from(nodes, (node) => Uint32Array.of(node));
        const masked = await exactEffects(model, PAIRS, space, sets, {
          metric: METRIC,
          direction,
          batchSize: 8,
        });
        expect([...effects].map(Number.isNaN)).toEqual([...masked.effects].map(Number.isNaN));
        const present = (values: Float32Array) => values.filter((value) => !Number.isNaN(value));
        expect(largestError(present(effects), present(masked.effects))).toBeLessThan(TOLERANCE);
        expect(present(effects).some((effect) => Math.abs(effect) > 0.1)).toBe(true);
      },
    );
  });

  it("patches zeros in as masks do", async () => {
    const space = spaceOf("each");
    const nodes = allNodes(space);
    const source = zeroSource();
    const { effects } = await sweep(space, nodes, { source });
    const sets = Array.from(nodes, (node) => Uint32Array.of(node));
    const masked = await exactEffects(model, PAIRS, space, sets, {
      metric: METRIC,
      direction: "noising",
      batchSize: 8,
      source,
    });
    const present = (values: Float32Array) => values.filter((value) => !Number.isNaN(value));
    expect(largestError(present(effects), present(masked.effects))).toBeLessThan(TOLERANCE);
  });

  it("gives the same whatever fits into a chunk, and in whatever order the nodes are asked for", async () => {
    const space = spaceOf("each");
    const nodes = allNodes(space).filter((node) => node % 5 === 0);
    const whole = await sweep(space, nodes);
    const oneByOne = await sweep(space, nodes, { activationBudgetBytes: 1 });
    const some = await sweep(space, nodes, { activationBudgetBytes: 40_000, batchSize: 2 });
    const reversed = await sweep(space, Uint32Array.from(nodes).reverse());
    const present = (values: Float32Array) => values.filter((value) => !Number.isNaN(value));
    for (const other of [oneByOne, some]) {
      expect(largestError(present(other.effects), present(whole.effects))).toBeLessThan(TOLERANCE);
    }
    const back = PAIRS.flatMap((_, p) =>
      [...reversed.effects.subarray(p * nodes.length, (p + 1) * nodes.length)].reverse(),
    );
    expect(largestError(present(Float32Array.from(back)), present(whole.effects))).toBeLessThan(TOLERANCE);
  });

  it("gives every metric of one run what it gives alone", async () => {
    const space = spaceOf("each");
    const nodes = allNodes(space).filter((node) => node % 11 === 0);
    const metrics = ["logit-diff", "prob", "kl", "rank"].map(metricByName);
    // So small a budget that the logits of a few rows are read at a time.
    const together = await sweep(space, nodes, { metrics, activationBudgetBytes: 2_000 });
    for (const [m, metric] of metrics.entries()) {
      const alone = await sweep(space, nodes, { metrics: [metric] });
      const [{ name, patched, base, source }] = alone.metrics;
      expect(together.metrics[m].name).toBe(name);
      expect(largestError(together.metrics[m].base, base)).toBeLessThan(TOLERANCE);
      expect(largestError(together.metrics[m].source, source)).toBeLessThan(TOLERANCE);
      const present = (values: Float32Array) => values.filter((value) => !Number.isNaN(value));
      expect(largestError(present(together.metrics[m].patched), present(patched))).toBeLessThan(TOLERANCE);
    }
  });

  it("counts two unpatched runs a pair, and the FLOPs of what a patched run computes", async () => {
    const [pair] = PAIRS;
    const { width: D, heads: H, kvHeads: K, headWidth: h, mlpWidth: F, gated } = model.config;
    const mlp = (gated ? 3 : 2) * 2 * D * F;
    const space = spaceOf("each");
    const cost = async (id: Node) => {
      const nodes = Uint32Array.of(indexOfNode(space, id));
      const { forwardEquivalents } = await sweep(space, nodes, {}, [pair]);
      return Math.round((forwardEquivalents - 2) * forwardFlops(model.config, 6));
    };
    // The last of three layers, read at position 5: the neuron adds to the stream there, and nothing else is multiplied.
    expect(await cost({ site: "neuron", layer: 2, index: 3, position: 5 })).toBe(0);
    // From layer 1 to layer 2: its key and value, one query and its row of 6 keys, the output matrix and one MLP.
    const lastLayer = 2 * D * (2 * K * h + H * h + H * h) + 6 * 4 * H * h + mlp;
    expect(await cost({ site: "mlpOut", layer: 1, position: 5 })).toBe(lastLayer);
    // A position before the one that is read: no query is new.
    expect(await cost({ site: "mlpOut", layer: 1, position: 2 })).toBe(lastLayer - 2 * D * H * h);
  });

  it("refuses a budget that is none, before anything runs", async () => {
    const space = spaceOf("each");
    for (const activationBudgetBytes of [0, Number.NaN]) {
      await expect(sweep(space, Uint32Array.of(0), { activationBudgetBytes })).rejects.toThrow(
        `checkBudget: expected a positive activationBudgetBytes, got ${activationBudgetBytes}`,
      );
    }
  });

  it("frees everything when a source breaks off in the middle of the unpatched runs, swept or patched by masks", async () => {
    const space = spaceOf("each");
    const zeros = zeroSource();
    const source: typeof zeros = {
      ...zeros,
      valuesAt(site, layer, like) {
        if (layer === 2 && site === "mlpOut") throw new Error("no such values");
        return zeros.valuesAt(site, layer, like);
      },
    };
    const options = { direction: "noising" as const, batchSize: 8, source };
    const nodes = allNodes(space);
    const before = tf.memory().numTensors;
    await expect(sweepNodes(model, PAIRS, space, nodes, { ...options, metrics: [METRIC] })).rejects.toThrow(
      "no such values",
    );
    expect(tf.memory().numTensors).toBe(before);
    const sets = Array.from(nodes, (node) => Uint32Array.of(node));
    await expect(exactEffects(model, PAIRS, space, sets, { ...options, metric: METRIC })).rejects.toThrow(
      "no such values",
    );
    expect(tf.memory().numTensors).toBe(before);
    const senders = { senders: ["L1.mlpOut@*", "L2.mlpOut@*"], receivers: ["final"] };
    await expect(pathEffects(model, PAIRS, { ...options, ...senders, metric: METRIC })).rejects.toThrow(
      "no such values",
    );
    expect(tf.memory().numTensors).toBe(before);
  });

  it("frees everything when a metric breaks off while patched runs are read", async () => {
    const space = spaceOf("each");
    if (!isOutput(METRIC)) throw new Error("expected a metric of the logits");
    const { prepare } = METRIC;
    let reads = 0;
    const metric: OutputMetric = {
      ...METRIC,
      async prepare(input) {
        const prepared = await prepare(input);
        return {
          ...prepared,
          read(final, pairOfRow) {
            // The base and the source run are read first.
            if (++reads > 2) throw new Error("not today");
            return prepared.read(final, pairOfRow);
          },
        };
      },
    };
    const options = { direction: "noising", batchSize: 8, metrics: [metric] } as const;
    const before = tf.memory().numTensors;
    const swept = sweepNodes(model, PAIRS, space, allNodes(space), options);
    await expect(swept).rejects.toThrow("not today");
    expect(tf.memory().numTensors).toBe(before);
  });

  it("frees everything when it is stopped between two layers", async () => {
    const space = spaceOf("each");
    const before = tf.memory().numTensors;
    const controller = new AbortController();
    let batches = 0;
    const stopped = sweepNodes(model, PAIRS, space, allNodes(space), {
      metrics: [METRIC],
      direction: "noising",
      batchSize: 8,
      activationBudgetBytes: 20_000,
      signal: controller.signal,
      onProgress: () => {
        if (++batches === 2) controller.abort(new Error("enough"));
      },
    });
    await expect(stopped).rejects.toThrow("enough");
    expect(tf.memory().numTensors).toBe(before);
  });

  it("runs nothing for nodes that cannot have an effect", async () => {
    const space = spaceOf("each");
    const idle: Node[] = [
      { site: "z", layer: 2, index: 1, position: 3 }, // last layer, not where the metric is read
      { site: "mlpOut", layer: 1, position: 0 }, // before the first token that differs
      { site: "k", layer: 0, index: 0, position: 2 }, // of a token that is the same in both prompts
    ];
    const nodes = Uint32Array.from(idle, (node) => indexOfNode(space, node));
    const { effects, forwardEquivalents } = await sweep(space, nodes, {}, [PAIRS[0]]);
    expect([...effects]).toEqual([0, 0, 0]);
    expect(forwardEquivalents).toBe(2);
    const runs = await runsByHand(model, PAIRS[0], "noising");
    for (const node of idle) {
      expect(Math.abs(await effectByHand(model, PAIRS[0], "noising", node, runs))).toBeLessThan(1e-6);
    }
    // Zeros differ from the base run everywhere.
    const zeros = await sweep(space, nodes, { source: zeroSource() }, [PAIRS[0]]);
    expect(zeros.effects[0]).toBe(0);
    expect(Math.abs(zeros.effects[1])).toBeGreaterThan(1e-4);
    expect(Math.abs(zeros.effects[2])).toBeGreaterThan(1e-4);
  });
});

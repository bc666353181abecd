/** Receivers with frozen norms against their definition in float64, written without the engine. */

import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../../bench/random-model.js";
import { pathEffects } from "../../../src/exact/paths/path-effects.js";
import type { Edit } from "../../../src/model/block.js";
import type { ModelConfig } from "../../../src/model/config.js";
import type { Model } from "../../../src/model/model.js";
import type { HookPoint, Site } from "../../../src/model/sites.js";
import { logits } from "../../../src/model/transformer.js";
import type { Linear, NormWeights } from "../../../src/model/weights.js";
import { parseNodeId } from "../../../src/nodes/node-id.js";
import { metricByName } from "../../../src/prompts/metrics/index.js";
import { startTestEngine } from "../../support/engine.js";
import { largestError } from "../../support/errors.js";
import { TINY_CONFIGS } from "../../support/tiny-config.js";
import { tokenPair } from "../../support/token-pair.js";

/** Float32 of the engine, metrics of order 1. */
const TOLERANCE = 2e-5;

const PAIR = tokenPair([1, 2, 3, 4, 5], [6, 7, 3, 8, 9]);

type Row = readonly number[];

const mean = (row: Row) => row.reduce((sum, x) => sum + x, 0) / row.length;

/** The norm of x with the scale that it has on y. */
function normLike(kind: "layer" | "rms", eps: number, { scale, bias }: NormWeights, x: Row, y: Row): Row {
  const centred = (row: Row) => (kind === "layer" ? row.map((value) => value - mean(row)) : row);
  const r = 1 / Math.sqrt(mean(centred(y).map((value) => value ** 2)) + eps);
  const [scales, biases] = [scale.dataSync(), bias?.dataSync()];
  return centred(x).map((value, d) => value * r * scales[d] + (biases?.[d] ?? 0));
}

function times(x: Row, { weight, layout, bias }: Linear): Row {
  const [rows, columns] = weight.shape;
  const [data, biases] = [weight.dataSync(), bias?.dataSync()];
  const outputs = layout === "in-out" ? columns : rows;
  return Array.from({ length: outputs }, (_, o) => {
    const weightOf = (i: number) => (layout === "in-out" ? data[i * columns + o] : data[o * columns + i]);
    return x.reduce((sum, value, i) => sum + value * weightOf(i), biases?.[o] ?? 0);
  });
}

function turned({ rotary }: ModelConfig, x: Row, t: number): Row {
  if (!rotary) return x;
  const half = rotary.dims / 2;
  return x.map((value, i) => {
    if (i >= rotary.dims) return value;
    const angle = t * rotary.inverseFrequencies[i % half];
    const partner = i < half ? -x[i + half] : x[i - half];
    return value * Math.cos(angle) + partner * Math.sin(angle);
  });
}

const ACTIVATIONS: Readonly<Record<string, (x: number) => number>> = {
  relu: (x) => Math.max(0, x),
  silu: (x) => x / (1 + Math.exp(-x)),
};

/**
 * What a receiver computes of the stream x at position t where its norms have the scales that they have on y: a query, key
 * or value of one head, or the MLP's output. With y = x nothing is frozen.
 */
async function receiverByHand(model: Model, id: string, t: number, x: Row, y: Row): Promise<Row> {
  const { config } = model;
  const { layer, site, index = 0 } = parseNodeId(id);
  const weights = await model.weights.layer(layer);
  const { norm, normEps: eps, headWidth: h } = config;
  if (site === "mlpOut") {
    const normed = normLike(norm, eps, weights.mlpNorm, x, y);
    const act = ACTIVATIONS[config.activation];
    const into = times(normed, weights.mlpIn);
    const gate = weights.mlpGate && times(normed, weights.mlpGate);
    return times(gate ? gate.map((value, f) => act(value) * into[f]) : into.map(act), weights.mlpOut);
  }
  if (site !== "q" && site !== "k" && site !== "v") throw new Error(site);
  const head = (stream: Row) =>
    times(normLike(norm, eps, weights.attnNorm, stream, y), weights[site]).slice(index * h, (index + 1) * h);
  if (site === "v") return head(x);
  const scale = site === "q" ? weights.qNorm : weights.kNorm;
  const raw = scale ? normLike("rms", eps, { scale }, head(x), head(y)) : head(x);
  return turned(config, raw, t);
}

/** A full forward pass of one prompt: its metric, and the values at all sites. */
async function fullPass(model: Model, prompt: Row, edit: Edit = (_point, _layer, value) => value) {
  const trace = new Map<string, Row>();
  const all = await logits(model, [[...prompt]], (point, layer, value) => {
    const edited = edit(point, layer, value);
    trace.set(`${layer}.${point}`, [...edited.dataSync()]);
    return edited;
  });
  const row = all.dataSync().slice(PAIR.metricPosition * model.config.vocabulary);
  all.dispose();
  const at = (point: HookPoint, layer: number): Row => trace.get(`${layer}.${point}`) ?? [];
  const of = (tokens: readonly number[]) => mean(tokens.map((token) => row[token]));
  return { metric: of(PAIR.answers) - of(PAIR.wrong), at };
}

const CONFIGS: readonly (readonly [string, ModelConfig])[] = [
  ["layer norm, learned positions", { ...TINY_CONFIGS.plain, activation: "relu" }],
  ["layer norm, parallel residual, partial rotary", { ...TINY_CONFIGS.parallel, activation: "relu" }],
  ["rms norm, gated, grouped kv-heads, q/k norm, rotary", TINY_CONFIGS.gated],
];

describe.each(CONFIGS)("%s", (_name, config) => {
  let model: Model;
  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(config, { layout: "out-in" });
  });
  afterAll(() => model.dispose());

  const streamSite = (id: string): Site =>
    id.includes("mlpOut") && !config.parallelResidual ? "residMid" : "residPre";

  it.each(["L2.q[3]@*", "L2.k[1]@*", "L2.v[1]@*", "L2.mlpOut@*"])(
    "%s hears the sender with and without freezing as float64 says",
    async (id) => {
      const base = await fullPass(model, PAIR.clean);
      const source = await fullPass(model, PAIR.corrupted);
      const { site, layer, index = 0 } = parseNodeId(id);
      const [T, D, h] = [PAIR.clean.length, config.width, config.headWidth];
      const stream = base.at(streamSite(id), layer);
      const change = source.at("mlpOut", 0).map((value, at) => value - base.at("mlpOut", 0)[at]);
      const rowOf = (values: Row, t: number) => values.slice(t * D, (t + 1) * D);
      const metrics: number[] = [];
      for (const freezeNorm of [false, true]) {
        const values: Row[] = [];
        for (let t = 0; t < T; t++) {
          const y = rowOf(stream, t);
          const x = y.map((value, d) => value + rowOf(change, t)[d]);
          // Nothing heard, nothing changed: what is written here is what the engine computes.
          const unchanged = await receiverByHand(model, id, t, y, y);
          const inBase = base
            .at(site, layer)
            .slice(
              ...(site === "mlpOut" ? [t * D, (t + 1) * D] : [(index * T + t) * h, (index * T + t + 1) * h]),
            );
          expect(largestError(inBase, unchanged)).toBeLessThan(TOLERANCE);
          values.push(await receiverByHand(model, id, t, x, freezeNorm ? y : x));
        }
        const { metric } = await fullPass(model, PAIR.clean, (point, l, value) => {
          if (point !== site || l !== layer) return value;
          const data = Float32Array.from(value.dataSync());
          values.forEach((row, t) => {
            data.set(row, site === "mlpOut" ? t * D : (index * T + t) * h);
          });
          return tf.tensor(data, value.shape);
        });
        const before = tf.memory().numTensors;
        const { effects } = await pathEffects(model, [PAIR], {
          metric: metricByName("logit-diff"),
          direction: "noising",
          batchSize: 4,
          senders: ["L0.mlpOut@*"],
          receivers: [id.replace("mlpOut", "mlp")],
          freezeNorm,
        });
        expect(tf.memory().numTensors).toBe(before);
        expect(Math.abs(effects[0] - (metric - base.metric))).toBeLessThan(TOLERANCE);
        metrics.push(metric);
      }
      // Freezing makes a difference that the test could not miss.
      expect(Math.abs(metrics[1] - metrics[0])).toBeGreaterThan(5 * TOLERANCE);
    },
  );

  it("final hears the sender with and without freezing as float64 says", async () => {
    const base = await fullPass(model, PAIR.clean);
    const source = await fullPass(model, PAIR.corrupted);
    const [t, D] = [PAIR.metricPosition, config.width];
    const last = (values: Row) => values.slice(t * D, (t + 1) * D);
    const y = last(base.at("residPost", config.layers - 1));
    const [from, to] = [base, source].map((run) => last(run.at("attnOut", 1)));
    const x = y.map((value, d) => value + to[d] - from[d]);
    const norm = await model.weights.finalNorm();
    const table = (await model.weights.unembedding()).dataSync();
    const logit = (final: Row, token: number) =>
      final.reduce((sum, value, d) => sum + value * table[token * D + d], 0);
    for (const freezeNorm of [false, true]) {
      const final = normLike(config.norm, config.normEps, norm, x, freezeNorm ? y : x);
      const of = (tokens: readonly number[]) => mean(tokens.map((token) => logit(final, token)));
      const { effects } = await pathEffects(model, [PAIR], {
        metric: metricByName("logit-diff"),
        direction: "noising",
        batchSize: 4,
        senders: ["L1.attnOut@*"],
        receivers: ["final"],
        freezeNorm,
      });
      expect(Math.abs(effects[0] - (of(PAIR.answers) - of(PAIR.wrong) - base.metric))).toBeLessThan(
        TOLERANCE,
      );
    }
  });
});

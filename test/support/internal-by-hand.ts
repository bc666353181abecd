/**
 * @file Internal metrics read by plain slicing, in runs built from blocks; their gradients at every site by autodiff, with a
 * layer's contribution held constant if wanted. Shares nothing with how estimates and patched runs compute them.
 */

import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs"; // registers the gradients that autodiff needs
import { blockForward, disposeBlockContext, type Edit, makeBlockContext } from "../../src/model/block.js";
import type { ModelConfig } from "../../src/model/config.js";
import type { Model } from "../../src/model/model.js";
import { type HookPoint, type Site, sitesOf } from "../../src/model/sites.js";
import { embed } from "../../src/model/transformer.js";
import {
  attentionWeight,
  neuronActivation,
  type ProjectionSite,
  projection,
} from "../../src/prompts/metrics/internal.js";
import type { InternalMetric } from "../../src/prompts/metrics/metric.js";
import type { Pair } from "../../src/prompts/pair.js";
import { TINY_CONFIGS } from "./tiny-config.js";
import { tokenPair } from "./token-pair.js";

/** One layer more than usual, so that there is one above the metrics and two below. */
export const FOUR_LAYERS = {
  plain: { ...TINY_CONFIGS.plain, layers: 4 },
  parallel: { ...TINY_CONFIGS.parallel, layers: 4 },
  gated: { ...TINY_CONFIGS.gated, layers: 4 },
} as const;

export const METRIC_LAYER = 2;

export const ROLE_PAIRS: readonly Pair[] = [
  tokenPair([1, 2, 3, 4, 5], [1, 7, 3, 4, 5], { changed: 1, end: 4 }),
  tokenPair([4, 4, 1], [4, 10, 1], { changed: 1, end: 2 }),
  tokenPair([9, 8, 7, 6, 5], [9, 8, 2, 6, 5], { changed: 2, end: 4 }),
];

/** A metric, and how it is read off the values at its hook point by hand. */
export interface ByHand {
  readonly metric: InternalMetric;
  /** @param value of one prompt, [1, …] */
  readonly read: (value: tf.Tensor, pair: Pair) => tf.Tensor;
}

function directionOf({ width }: ModelConfig): number[] {
  return Array.from({ length: width }, (_, d) => Math.sin(1 + 3 * d));
}

function byProjection(
  config: ModelConfig,
  site: ProjectionSite,
  layer = METRIC_LAYER,
  position = "end",
): ByHand {
  const direction = directionOf(config);
  return {
    metric: projection({ layer, site, position, direction, directionName: "sines" }),
    read: (value, { roles }) =>
      tf.dot(
        tf.reshape(tf.slice(value, [0, roles.get(position) ?? -1, 0], [1, 1, -1]), [-1]),
        tf.tensor1d(direction),
      ),
  };
}

/** Every kind of internal metric, most of them in layer 2. */
export function metricsByHand(config: ModelConfig): readonly ByHand[] {
  const sites = (["residPre", "attnOut", "residMid", "mlpOut", "residPost"] as const).filter((site) =>
    sitesOf(config).includes(site),
  );
  return [
    {
      metric: attentionWeight({ layer: METRIC_LAYER, head: 1, query: "end", key: "changed" }),
      read: (value, { clean: { length: T }, roles }) =>
        tf.slice(value, [0, 1, T - 1, roles.get("changed") ?? -1], [1, 1, 1, 1]),
    },
    {
      metric: attentionWeight({ layer: METRIC_LAYER, head: 3, query: 2, key: 0 }),
      read: (value) => tf.slice(value, [0, 3, 2, 0], [1, 1, 1, 1]),
    },
    {
      metric: neuronActivation({ layer: METRIC_LAYER, neuron: 5, position: -1 }),
      read: (value, { clean: { length: T } }) => tf.slice(value, [0, T - 1, 5], [1, 1, 1]),
    },
    ...sites.map((site) => byProjection(config, site)),
    // The embedding itself: it differs where the token does.
    byProjection(config, "residPre", 0, "changed"),
  ];
}

/** One prompt's run, made ready to be run again and again. */
export interface RunByHand {
  readonly pair: Pair;
  /** The metric in the run with the edit; a tensor of one number. To be called in a tidy. */
  metric(of: ByHand, edit?: Edit): tf.Tensor;
  dispose(): void;
}

export async function runByHand(model: Model, prompt: readonly number[], pair: Pair): Promise<RunByHand> {
  const { config } = model;
  const context = makeBlockContext(config, prompt.length);
  const embedded = await embed(model, [prompt]);
  const weights = await Promise.all(Array.from({ length: config.layers }, (_, l) => model.weights.layer(l)));
  // Read within a block, which would dispose them.
  const kept: tf.Tensor[] = [];
  return {
    pair,
    metric({ metric: { reads }, read }, edit = (_point, _layer, value) => value) {
      let seen: tf.Tensor | undefined;
      let resid = embedded;
      weights.forEach((block, layer) => {
        resid = blockForward(context, block, layer, resid, (point, at, value) => {
          const edited = edit(point, at, value);
          if (point === reads.point && at === reads.layer) seen = tf.keep(read(edited, pair));
          return edited;
        }).residPost;
      });
      if (!seen) throw new Error("metric: expected a hook point of the run, got none");
      kept.push(seen);
      return tf.reshape(seen, []);
    },
    dispose() {
      tf.dispose([...kept, embedded]);
      disposeBlockContext(context);
    },
  };
}

export type SiteKey = `${number}.${HookPoint}`;

/** Values of a run at every site. The caller disposes them. */
export function valuesByHand(run: RunByHand, of: ByHand): Map<SiteKey, tf.Tensor> {
  const values = new Map<SiteKey, tf.Tensor>();
  tf.tidy(() => {
    run.metric(of, (point, layer, value) => {
      values.set(`${layer}.${point}`, tf.keep(tf.clone(value)));
      return value;
    });
  });
  return values;
}

/**
 * Gradients of a metric at every site, by autodiff. The caller disposes them.
 * @param values of the run, as `valuesByHand` gives them
 * @param held a layer whose attention and MLP outputs stay as they are in `values`, whatever they read
 */
export function gradientsByHand(
  run: RunByHand,
  of: ByHand,
  values: ReadonlyMap<SiteKey, tf.Tensor>,
  held?: number,
): Map<SiteKey, tf.Tensor> {
  const keys = [...values.keys()].filter((key) => !key.endsWith("pattern"));
  const valueAt = (key: SiteKey): tf.Tensor => {
    const value = values.get(key);
    if (!value) throw new Error(`valueAt: expected a value at ${key}, got none`);
    return value;
  };
  const metric = (...deltas: tf.Tensor[]): tf.Tensor => {
    let stream: tf.Tensor | undefined;
    let below: tf.Tensor | undefined;
    const value = run.metric(of, (point, layer, computed) => {
      const key: SiteKey = `${layer}.${point}`;
      let out = computed;
      if (layer === held && stream && below && (point === "residMid" || point === "residPost")) {
        out = tf.add(stream, tf.sub(valueAt(key), below));
      }
      const delta = deltas[keys.indexOf(key)];
      if (delta) out = tf.add(out, delta);
      if (point === "residPre" || point === "residMid") {
        stream = out;
        below = valueAt(key);
      }
      return out;
    });
    // What the metric does not depend on has a gradient of 0, not none.
    return deltas.reduce((sum, delta) => tf.add(sum, tf.mul(tf.sum(delta), 0)), value);
  };
  const gradients = tf.tidy(() => tf.grads(metric)(keys.map((key) => tf.zerosLike(valueAt(key)))));
  return new Map(keys.map((key, k) => [key, gradients[k]]));
}

/**
 * First-order estimates at every position and index of a site, from a gradient and the values of two runs.
 * @returns in the order of a node space's group: [positions, indices]
 */
export function estimatesByHand(
  site: Site,
  gradient: tf.Tensor,
  source: tf.Tensor,
  base: tf.Tensor,
): Float32Array {
  return tf.tidy(() => {
    const product = tf.mul(gradient, tf.sub(source, base));
    if (product.rank === 4) return tf.transpose(tf.squeeze(tf.sum(product, -1), [0]), [1, 0]).dataSync();
    return (site === "neuron" ? product : tf.sum(product, -1)).dataSync();
  }) as Float32Array;
}

/**
 * @file One transformer block, forward and backward, for every family.
 *
 *   sequential:  residMid = residPre + attn(norm(residPre));  residPost = residMid + mlp(norm(residMid))
 *   parallel:    residPost = residPre + attn(norm(residPre)) + mlp(norm'(residPre))
 *
 * An *edit* sees every hook point's value on the way forward and returns what the run goes on with: caching, patching and
 * ablation are edits. It returns the value it was given or a new tensor that then belongs to the run. A *visit* sees
 * every hook point's gradient on the way back. Neither disposes what it is given; to keep it beyond the call, `tf.keep` a
 * clone.
 */

import * as tf from "@tensorflow/tfjs-core";
import type { ModelConfig } from "./config.js";
import {
  type AttentionSaved,
  attend,
  attendVjp,
  attentionPattern,
  attentionScores,
  causalMask,
  patternVjp,
} from "./ops/attention.js";
import { linear, linearVjp } from "./ops/linear.js";
import { type MlpSaved, neurons, neuronsVjp } from "./ops/mlp.js";
import { type NormSaved, norm, normVjp } from "./ops/norm.js";
import { type RotaryTables, rotaryTables, rotate, rotateVjp } from "./ops/rotary.js";
import type { HookPoint } from "./sites.js";
import type { BlockWeights } from "./weights.js";

/** Shapes in `sites.ts`. Returns a tensor of the same shape: the value itself, or another one. */
export type Edit = (point: HookPoint, layer: number, value: tf.Tensor) => tf.Tensor;

/** The gradient has the hook point's shape with the stream axis S in front. */
export type Visit = (point: HookPoint, layer: number, gradient: tf.Tensor) => void;

/** A gradient that enters a block from a reader of one of its hook points, beside the layers above. */
export interface Seed {
  readonly point: HookPoint;
  /** In the hook point's shape with the stream axis in front. */
  readonly gradient: tf.Tensor;
}

/**
 * What all blocks of a run share. A run covers the positions `from` … T−1 of prompts of T tokens; all of them, unless what
 * lies before is known to be that of another run.
 */
export interface BlockContext {
  readonly config: ModelConfig;
  readonly mask: tf.Tensor2D; // [T − from, T]
  readonly rotary?: RotaryTables;
}

/** Keys and values of the positions before a run's first, as they entered the attention of one layer. */
export interface Past {
  readonly k: tf.Tensor4D; // [B, K, from, h]
  readonly v: tf.Tensor4D; // [B, K, from, h]
}

/** Everything the VJP of a block needs of its forward run. */
export type BlockSaved = {
  readonly attnNorm: NormSaved;
  readonly qNorm?: NormSaved;
  readonly kNorm?: NormSaved;
  readonly attention: AttentionSaved;
  readonly mlpNorm: NormSaved;
  readonly mlp: MlpSaved;
};

/** The caller owns the tables: `disposeBlockContext` when the run is over. */
export function makeBlockContext(config: ModelConfig, T: number, from = 0): BlockContext {
  return {
    config,
    mask: causalMask(T, from),
    ...(config.rotary && { rotary: rotaryTables(config.rotary, T, config.headWidth, from) }),
  };
}

/** Frees the tables of a context. */
export function disposeBlockContext({ mask, rotary }: BlockContext): void {
  tf.dispose([mask, { ...rotary }]);
}

/** [B, T, n·h] -> [B, n, T, h] */
export function splitHeads(x: tf.Tensor, heads: number): tf.Tensor {
  const [B, T, width] = x.shape;
  return tf.transpose(tf.reshape(x, [B, T, heads, width / heads]), [0, 2, 1, 3]);
}

/** [..., n, T, h] -> [..., T, n·h] */
export function joinHeads(x: tf.Tensor): tf.Tensor {
  const lead = x.rank - 3;
  const [heads, T, h] = x.shape.slice(lead);
  const order = [...Array(lead).keys(), lead + 1, lead, lead + 2];
  return tf.reshape(tf.transpose(x, order), [...x.shape.slice(0, lead), T, heads * h]);
}

/**
 * Runs block `layer` on the residual stream.
 *
 * @param residPre [B, T, D], or [B, T − from, D] in a run that starts at position `from`
 * @param edit sees and may replace every hook point's value, in the order of computation; values cover the positions of
 *   the run only
 * @param past for a run that starts behind position 0: keys and values of the positions before it
 * @returns residPost, in the shape of residPre, and what `blockVjp` needs, both owned by the caller. The VJP is that of
 *   the run as edited, with respect to the values the edits returned; there is none of a run with a past.
 */
export function blockForward(
  context: BlockContext,
  weights: BlockWeights,
  layer: number,
  residPre: tf.Tensor3D,
  edit: Edit = (_point, _layer, value) => value,
  past?: Past,
): { residPost: tf.Tensor3D; saved: BlockSaved } {
  const { config, mask, rotary } = context;
  const { norm: normKind, normEps, heads, kvHeads } = config;
  const at = (point: HookPoint, value: tf.Tensor) => edit(point, layer, value);
  const turned = (x: tf.Tensor) => (rotary ? rotate(rotary, x) : x);

  return tf.tidy(() => {
    const pre = at("residPre", residPre);
    const attnNorm = norm(normKind, normEps, weights.attnNorm, pre);
    const rawQ = splitHeads(linear(attnNorm.y, weights.q), heads);
    const rawK = splitHeads(linear(attnNorm.y, weights.k), kvHeads);
    const qNorm = weights.qNorm && norm("rms", normEps, { scale: weights.qNorm }, rawQ);
    const kNorm = weights.kNorm && norm("rms", normEps, { scale: weights.kNorm }, rawK);
    const q = at("q", turned(qNorm ? qNorm.y : rawQ)) as tf.Tensor4D;
    const k = at("k", turned(kNorm ? kNorm.y : rawK)) as tf.Tensor4D;
    const v = at("v", splitHeads(linear(attnNorm.y, weights.v), kvHeads)) as tf.Tensor4D;
    const allKeys = past ? tf.concat([past.k, k], 2) : k;
    const allValues = past ? tf.concat([past.v, v], 2) : v;
    const pattern = at("pattern", attentionPattern(attentionScores(q, allKeys), mask)) as tf.Tensor4D;
    const z = at("z", attend(pattern, allValues));
    const attnOut = at("attnOut", linear(joinHeads(z), weights.o));
    const withAttn = tf.add(pre, attnOut);
    const mid = config.parallelResidual ? withAttn : at("residMid", withAttn);

    const mlpNorm = norm(normKind, normEps, weights.mlpNorm, config.parallelResidual ? pre : mid);
    const { neuron: rawNeuron, saved: mlp } = neurons(config.activation, weights, mlpNorm.y);
    const neuron = at("neuron", rawNeuron);
    const mlpOut = at("mlpOut", linear(neuron, weights.mlpOut));
    const residPost = at("residPost", tf.add(mid, mlpOut)) as tf.Tensor3D;

    const saved: BlockSaved = {
      attnNorm: attnNorm.saved,
      ...(qNorm && { qNorm: qNorm.saved }),
      ...(kNorm && { kNorm: kNorm.saved }),
      attention: { q, k, v, pattern },
      mlpNorm: mlpNorm.saved,
      mlp,
    };
    return { residPost, saved };
  });
}

/**
 * Vector-Jacobian product of block `layer`.
 *
 * @param dResidPost [S, B, T, D] gradient at residPost
 * @param visit sees the gradient of every hook point, from the last to the first
 * @param seed added to the gradient at its hook point, before it is visited and goes on
 * @returns gradient at residPre [S, B, T, D], owned by the caller
 */
export function blockVjp(
  context: BlockContext,
  weights: BlockWeights,
  layer: number,
  saved: BlockSaved,
  dResidPost: tf.Tensor4D,
  visit: Visit = () => {},
  seed?: Seed,
): tf.Tensor4D {
  const { config } = context;
  const at: AtPoint = (point, gradient) => {
    const whole = seed?.point === point ? tf.add(gradient, seed.gradient) : gradient;
    visit(point, layer, whole);
    return whole;
  };
  return tf.tidy(() => {
    const dPost = at("residPost", dResidPost);
    const dThroughMlp = mlpVjp(config, weights, saved, dPost, at);
    const dMid = config.parallelResidual ? dPost : at("residMid", tf.add(dPost, dThroughMlp));
    const dThroughAttn = attnVjp(context, weights, saved, dMid, at);
    const dWithAttn = tf.add(dMid, dThroughAttn);
    const dPre = at("residPre", config.parallelResidual ? tf.add(dWithAttn, dThroughMlp) : dWithAttn);
    return dPre as tf.Tensor4D;
  });
}

/** Visits a hook point with the gradient that comes down to it; returns the one that goes on. */
type AtPoint = (point: HookPoint, gradient: tf.Tensor) => tf.Tensor;

/** Gradient at mlpOut [S, B, T, D] -> gradient at what the MLP's norm read, [S, B, T, D]. */
function mlpVjp(
  config: ModelConfig,
  weights: BlockWeights,
  saved: BlockSaved,
  dOut: tf.Tensor,
  at: AtPoint,
): tf.Tensor {
  const dMlpOut = at("mlpOut", dOut);
  const dNeuron = at("neuron", linearVjp(weights.mlpOut, dMlpOut));
  const dNormed = neuronsVjp(config.activation, weights, saved.mlp, dNeuron);
  return normVjp(config.norm, weights.mlpNorm, saved.mlpNorm, dNormed);
}

/** Gradient at attnOut [S, B, T, D] -> gradient at what the attention's norm read, [S, B, T, D]. */
function attnVjp(
  { config, rotary }: BlockContext,
  weights: BlockWeights,
  saved: BlockSaved,
  dOut: tf.Tensor,
  at: AtPoint,
): tf.Tensor {
  const dAttnOut = at("attnOut", dOut);
  const dJoined = linearVjp(weights.o, dAttnOut); // [S, B, T, H·h]
  const [S, B, T] = dJoined.shape;
  const perHead = tf.reshape(dJoined, [S, B, T, config.heads, config.headWidth]);
  const dz = at("z", tf.transpose(perHead, [0, 1, 3, 2, 4]));
  const throughHeads = attendVjp(saved.attention, dz);
  const dv = at("v", throughHeads.dv);
  const dPattern = at("pattern", throughHeads.dPattern);
  const throughScores = patternVjp(saved.attention, dPattern);
  const dq = at("q", throughScores.dq);
  const dk = at("k", throughScores.dk);

  const beforeRotary = (d: tf.Tensor) => (rotary ? rotateVjp(rotary, d) : d);
  const throughNorm = (d: tf.Tensor, scale?: tf.Tensor1D, stats?: NormSaved) =>
    scale && stats ? normVjp("rms", { scale }, stats, d) : d;
  const dRawQ = throughNorm(beforeRotary(dq), weights.qNorm, saved.qNorm);
  const dRawK = throughNorm(beforeRotary(dk), weights.kNorm, saved.kNorm);
  const dNormed = tf.addN([
    linearVjp(weights.q, joinHeads(dRawQ)),
    linearVjp(weights.k, joinHeads(dRawK)),
    linearVjp(weights.v, joinHeads(dv)),
  ]);
  return normVjp(config.norm, weights.attnNorm, saved.attnNorm, dNormed);
}

/**
 * @file What the activations of a batch take, in float32 numbers, derived from `model/block.ts`, `atp/` and `atpstar/`: what a
 * layer's record keeps, and what is there at the worst moment of one layer forward and backward. Values that only share
 * memory (reshapes, clones) count once. Beside what is kept, everything made within a `tf.tidy` lives to its end: that is
 * what is counted here, operation by operation.
 */

import type { Activation, ModelConfig } from "../model/config.js";
import type { Site } from "../model/sites.js";

export const FLOAT_BYTES = 4;

/** The rows that go through a layer together: B prompts of T tokens, all draws of a noise source counted. */
export interface Rows {
  readonly B: number;
  readonly T: number;
}

/** What the axes of `model/config.ts` come to for a batch. */
function sizesOf({ width, heads, kvHeads, headWidth, mlpWidth }: ModelConfig, { B, T }: Rows) {
  const N = B * T;
  const [D, Q, KV, F] = [width, heads * headWidth, kvHeads * headWidth, mlpWidth].map((size) => N * size);
  return { N, D, Q, KV, F, P: N * heads * T };
}

/** Numbers of one site's values in one layer. */
export function floatsOfSite(config: ModelConfig, rows: Rows, site: Site): number {
  const { D, Q, KV, F } = sizesOf(config, rows);
  if (site === "q" || site === "z") return Q;
  if (site === "k" || site === "v") return KV;
  return site === "neuron" ? F : D;
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

/** One residual stream. */
export function floatsOfStream(config: ModelConfig, rows: Rows): number {
  return sizesOf(config, rows).D;
}

/** What the VJP of a layer needs of the base run. */
function floatsSaved(config: ModelConfig, rows: Rows): number {
  const { N, D, Q, KV, F, P } = sizesOf(config, rows);
  const headNorms = config.qkNorm ? Q + KV + N * (config.heads + config.kvHeads) : 0;
  return 2 * (D + N) + headNorms + Q + 2 * KV + P + (config.gated ? 4 : 2) * F;
}

/** A layer's record, exactly as `recordRuns` counts it against the activation budget. */
export function floatsOfRecord(config: ModelConfig, rows: Rows, sites: readonly Site[]): number {
  return floatsSaved(config, rows) + sum(sites, (site) => floatsOfSite(config, rows, site));
}

/** Terms of an activation function that live beside its value and its gate. */
const ACTIVATION_TERMS: Readonly<Record<Activation, number>> = { "gelu-tanh": 4, gelu: 3, silu: 0, relu: 0 };

/** One block forward, everything that is made in it, at the worst moment. */
export function floatsForward(config: ModelConfig, rows: Rows): number {
  const { D, Q, KV, F, P } = sizesOf(config, rows);
  const [turned, normed] = [config.rotary ? 1 : 0, config.qkNorm ? 2 : 0];
  const made =
    8 * D + (4 + turned + normed) * Q + (4 + turned + normed) * KV + 2 * P + (config.gated ? 5 : 3) * F;
  // Terms of the activation; a product with its bias, transposed on the embedded engine; scores with their mask.
  return made + Math.max(ACTIVATION_TERMS[config.activation] * F, 2 * F + D, P + 2 * Q);
}

/** Values that are captured for the differences and are not among what the VJP keeps anyway. */
const CAPTURED: readonly Site[] = ["z", "attnOut", "residMid", "neuron", "mlpOut"];

/** Base and source run through one layer, and the layer's record. */
export function floatsOfBothRuns(config: ModelConfig, rows: Rows, sites: readonly Site[]): number {
  const stream = floatsOfStream(config, rows);
  const saved = floatsSaved(config, rows);
  const captured = sum(
    sites.filter((site) => CAPTURED.includes(site)),
    (site) => floatsOfSite(config, rows, site),
  );
  const differences = sum(sites, (site) => floatsOfSite(config, rows, site));
  // Both streams on entry and the base run's on leaving; then the source run's block, or both records and their differences.
  const afterBase = 3 * stream + saved + captured;
  return afterBase + Math.max(floatsForward(config, rows), stream + saved + captured + differences);
}

export interface Backward {
  /** Gradient streams that are live, the main one among them. */
  readonly streams: number;
  readonly sites: readonly Site[];
  readonly qkFix: boolean;
  readonly gradDrop: boolean;
}

/** Matrices of attention weights that the QK fix makes of one layer, and keeps of it. */
const FIX_TERMS = 34;
const FIX_KEPT = 5;
/** The same of each gradient stream. */
const FIX_STREAM_TERMS = 10;

/** One layer backward, without its record. */
export function floatsBackward(
  config: ModelConfig,
  rows: Rows,
  { streams: S, sites, qkFix, gradDrop }: Backward,
): number {
  const { D, Q, KV, F, P } = sizesOf(config, rows);
  const [turned, normed] = [config.rotary ? 1 : 0, config.qkNorm ? 1 : 0];
  const fixed = qkFix && (sites.includes("q") || sites.includes("k"));
  // Of neurons the estimates are as large as the gradients, and stay to the end of the layer: of all streams, and of one
  // stream each contribution, its terms and the signed estimate.
  const ofNeurons = sites.includes("neuron") ? S * F + (gradDrop ? 5 : qkFix ? 3 : 0) * F : 0;
  const folding = sites.includes("neuron") && gradDrop ? 3 * S * F + F : 0;
  const outside = S * D + (gradDrop ? (S + 3) * D : 0);

  const inMlp =
    S * F + ofNeurons + Math.max(folding, S * ((config.gated ? 4 : 2) * F + 3 * D) + 7 * F) + 5 * S * D;
  const behindMlp = S * F + ofNeurons + 3 * S * D;
  const pattern = S * P + (fixed ? FIX_KEPT * P : 0);
  const inAttention =
    behindMlp +
    S * (4 * Q + 2 * KV) +
    pattern +
    Math.max(fixed ? FIX_TERMS * P : 0, (fixed ? FIX_STREAM_TERMS : 4) * S * P);
  const atTheEnd =
    behindMlp + S * (12 * D + (4 + turned + normed) * Q + (4 + turned + normed) * KV) + pattern;
  return outside + Math.max(inMlp, inAttention, atTheEnd);
}

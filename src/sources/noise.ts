/**
 * @file Causal tracing: the corrupted run is the clean prompt with Gaussian noise on some of its token embeddings, and an
 * effect is the mean over several draws of the noise. With direction denoising (clean activations into the noised run)
 * this is the method of Meng et al. 2022 (ROME, arXiv 2202.05262, section 2), whose noise is 3 σ on the subject's tokens.
 *
 *   residPre of layer 0 at a noised position = token embedding + multiple·σ·ε + position's part,   ε ~ N(0, 1)
 *   σ = standard deviation of all entries of the token embedding matrix
 *
 * ε depends on nothing but seed, draw, the clean prompt's token ids, and the position: not on the other pairs, their
 * batches, or the other noised positions. ROME's own code takes σ over the tokens of its subjects alone.
 */

import { createHash } from "node:crypto";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plusFromState } from "pure-rand/generator/xoroshiro128plus";
import { InputError } from "../errors.js";
import { isLostInFloat32 } from "../float32.js";
import { checkLimit, LIMITS } from "../limits.js";
import type { Model } from "../model/model.js";
import { type NodePosition, parsePosition } from "../nodes/node-id.js";
import { spanInPair } from "../nodes/positions.js";
import type { Pair } from "../prompts/pair.js";

/** As in ROME. */
export const DEFAULT_NOISE = { multiple: 3, draws: 10, seed: 0 } as const;

export interface NoiseOptions {
  /** What gets noise: positions, role names, or "*"; every pair must have all of them. */
  readonly at: readonly NodePosition[];
  /** Standard deviation of the noise, in σ; default 3. */
  readonly multiple?: number;
  /** How many draws an effect is averaged over; default 10. */
  readonly draws?: number;
  /** An int32; default 0. */
  readonly seed?: number;
}

/** Noised prompts in place of corrupted ones. Estimates and exact effects take it as they take an `ActivationSource`. */
export interface NoiseSource {
  /** For summaries: "noise of 3 σ at subject, 10 draws, seed 0". */
  readonly description: string;
  /** σ */
  readonly embeddingDeviation: number;
  /** How many draws an effect is averaged over. */
  readonly draws: number;
  /**
   * The pair with its clean prompt, noised, as the corrupted one.
   * @param draw 0 … draws − 1
   * @throws InputError for a pair without one of the positions or roles, or with all of them behind its metric's position
   */
  noised(pair: Pair, draw: number): Pair;
  /** Frees what the source holds. */
  dispose(): void;
}

/**
 * Noise for the embeddings of a model. Holds nothing.
 * @throws InputError for no positions, one that is malformed, a multiple that is not a positive number, draws that are not a
 *   positive integer or beyond their limit, a seed that is not an int32
 */
export async function noiseSource(model: Model, options: NoiseOptions): Promise<NoiseSource> {
  checkOptions(options);
  const {
    at,
    multiple = DEFAULT_NOISE.multiple,
    draws = DEFAULT_NOISE.draws,
    seed = DEFAULT_NOISE.seed,
  } = options;
  const embeddingDeviation = await embeddingDeviationOf(model);
  const deviation = multiple * embeddingDeviation;
  if (isLostInFloat32(deviation)) {
    throw new InputError(
      `noiseSource: expected multiple·σ to be a number that float32 can hold, got ${multiple} · ${embeddingDeviation}`,
    );
  }
  const { width } = model.config;
  return {
    description: describeNoise(options),
    embeddingDeviation,
    draws,
    noised(pair, draw) {
      const positions = noisedPositions(pair, at);
      return {
        ...pair,
        corrupted: pair.clean,
        origin: `${pair.origin} (draw ${draw} of the noise)`,
        noise: {
          positions,
          values() {
            const values = new Float32Array(positions.length * width);
            positions.forEach((position, p) => {
              const row = values.subarray(p * width, (p + 1) * width);
              fillNormal(row, deviation, JSON.stringify([seed, draw, position, pair.clean]));
            });
            return values;
          },
        },
      };
    },
    dispose() {},
  };
}

/** What the noise is, whatever the model. */
export function describeNoise({
  at,
  multiple = DEFAULT_NOISE.multiple,
  draws = DEFAULT_NOISE.draws,
  seed = DEFAULT_NOISE.seed,
}: NoiseOptions): string {
  return `noise of ${multiple} σ at ${at.join(",")}, ${draws} ${draws === 1 ? "draw" : "draws"}, seed ${seed}`;
}

/**
 * The positions of a pair that get noise, in order.
 * @throws InputError as `NoiseSource.noised` does
 */
export function noisedPositions(pair: Pair, at: readonly NodePosition[]): number[] {
  const positions = new Set<number>();
  for (const label of at) {
    const span = spanInPair(label, pair);
    if (!span) {
      const roles = pair.roles.size > 0 ? `the roles ${[...pair.roles.keys()].join(", ")}` : "no roles";
      throw new InputError(
        `noiseSource: ${pair.origin}: expected a pair with all that gets noise, ${at.join(",")}, got one of ${pair.clean.length} tokens and ${roles}, without ${label}`,
      );
    }
    for (let position = span.first; position < span.end; position++) positions.add(position);
  }
  const sorted = [...positions].sort((a, b) => a - b);
  if (sorted[0] > pair.metricPosition) {
    throw new InputError(
      `noiseSource: ${pair.origin}: expected noise at a position up to ${pair.metricPosition}, where the metric is read, got it at ${sorted.join(",")}: it would change nothing`,
    );
  }
  return sorted;
}

function checkOptions({ at, multiple, draws, seed }: NoiseOptions): void {
  if (at.length === 0) {
    throw new InputError("noiseSource: expected at least one position or role that gets noise, got none");
  }
  const wrong = at.find((label) => parsePosition(String(label)) === undefined);
  if (wrong !== undefined) {
    throw new InputError(`noiseSource: expected positions, names of roles or "*", got ${wrong}`);
  }
  if (multiple !== undefined && !(multiple > 0 && !isLostInFloat32(multiple))) {
    throw new InputError(
      `noiseSource: expected multiple to be a positive number that float32 can hold, got ${multiple}`,
    );
  }
  if (draws !== undefined && (!Number.isInteger(draws) || draws < 1)) {
    throw new InputError(`noiseSource: expected draws to be a positive integer, got ${draws}`);
  }
  if (draws !== undefined) checkLimit("noiseSource", "draws", draws, LIMITS.noiseDraws);
  if (seed !== undefined && (seed | 0) !== seed) {
    throw new InputError(`noiseSource: expected seed to be an integer from -2^31 to 2^31 - 1, got ${seed}`);
  }
}

/** Entries of the embedding that are read at a time. */
const ENTRIES_AT_ONCE = 2 ** 24;

/** Standard deviation of all entries of the token embedding, from float64 sums. It is never in memory as a whole. */
async function embeddingDeviationOf({ config: { vocabulary, width }, weights }: Model): Promise<number> {
  const rowsAtOnce = Math.max(1, Math.floor(ENTRIES_AT_ONCE / width));
  let sum = 0;
  let squares = 0;
  for (let first = 0; first < vocabulary; first += rowsAtOnce) {
    const count = Math.min(rowsAtOnce, vocabulary - first);
    const rows = await weights.tokenRows(Array.from({ length: count }, (_, r) => first + r));
    for (const value of await rows.data<"float32">()) {
      sum += value;
      squares += value * value;
    }
    rows.dispose();
  }
  const size = vocabulary * width;
  const mean = sum / size;
  return Math.sqrt(Math.max(0, squares / size - mean * mean));
}

/** Fills with normal numbers (Box–Muller) that depend on nothing but the key. */
function fillNormal(row: Float32Array, deviation: number, key: string): void {
  // All of the generator's state from a hash: streams of different keys do not meet, as those of 32-bit seeds would.
  const digest = createHash("sha256").update(key).digest();
  const random = xoroshiro128plusFromState([0, 4, 8, 12].map((byte) => digest.readInt32LE(byte)));
  for (let i = 0; i < row.length; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log(1 - uniformFloat64(random)));
    const angle = 2 * Math.PI * uniformFloat64(random);
    row[i] = radius * Math.cos(angle);
    if (i + 1 < row.length) row[i + 1] = radius * Math.sin(angle);
  }
}

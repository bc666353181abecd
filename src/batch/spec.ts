/**
 * @file The spec of a job, as a person writes it: one JSON file, with every default that the command line has. What the values
 * mean (paths, metrics, positions) is resolved in `prepare-job.ts`.
 */

import { z } from "zod";
import { METHODS } from "../atpstar/methods.js";
import type { CertifyOptions } from "../bounds/certification.js";
import { BYTE_SIZE, parseByteSize } from "../byte-size.js";
import { expected, oneOf } from "../field-errors.js";
import { isLostInFloat32 } from "../float32.js";
import { atMost, LIMITS, type Limit } from "../limits.js";
import {
  DEFAULT_BATCH_SIZE,
  DEFAULT_METHOD,
  DEFAULT_METRIC,
  DEFAULT_SITES,
  DEFAULT_TOP_K,
} from "../localize.js";
import { POSITION_MODES } from "../nodes/positions.js";
import { DIRECTIONS } from "../prompts/direction.js";
import { DEFAULT_NOISE } from "../sources/noise.js";

/** Pairs of an estimate shard and of a verify shard: a backward sweep's worth, so that little is lost with a shard. */
export const DEFAULT_SHARD_PAIRS = 16;
/** Nodes of a verify shard: minutes of work for a small model. */
export const DEFAULT_SHARD_NODES = 256;
/** Samples of a shard: about as many forward passes. */
export const DEFAULT_SHARD_SAMPLES = 256;
/** A shard that failed three times will most likely fail again. */
export const DEFAULT_RETRIES = 2;

const text = (what: string) => z.string({ error: expected(what) }).min(1, { error: expected(what) });
const COUNT = expected("a positive integer");
const countUpTo = (limit: Limit) =>
  z
    .int({ error: COUNT })
    .min(1, { error: COUNT })
    .max(limit.most, { error: expected(atMost(limit)) });
const POSITIVE = expected("a positive number");
const positive = z.number({ error: POSITIVE }).gt(0, { error: POSITIVE });
const seed = z
  .int({ error: expected("an integer from -2^31 to 2^31 - 1") })
  .min(-(2 ** 31), { error: expected("an integer from -2^31 to 2^31 - 1") })
  .max(2 ** 31 - 1, { error: expected("an integer from -2^31 to 2^31 - 1") });

const SIZE = expected('bytes, or a text such as "512MiB" or "6GiB"');
const size = z
  .union([z.int().min(1, { error: SIZE }), z.string().regex(BYTE_SIZE, { error: SIZE })], { error: SIZE })
  .transform((value, context) => {
    const bytes = typeof value === "number" ? value : parseByteSize(value);
    if (bytes !== undefined) return bytes;
    context.addIssue({ code: "custom", message: SIZE({ input: value }) });
    return z.NEVER;
  });

const FILES = "a file name, or an array of them";
const SOURCE = expected(
  '"prompt", "zero", "mean", an object with `mean` (a pairs file), or one with `noise`',
);

const PLACE = expected('a position, a role or "*"');

const noise = z.strictObject(
  {
    at: z
      .array(z.union([z.int(), z.string()], { error: PLACE }), {
        error: expected('an array of positions, roles or "*"'),
      })
      .min(1, { error: expected('at least one position, role or "*"') })
      .describe("What gets noise."),
    scale: positive
      .refine((value) => !isLostInFloat32(value), {
        error: expected("a positive number that float32 can hold"),
      })
      .default(DEFAULT_NOISE.multiple)
      .describe("Standard deviation of the noise ÷ that of the token embeddings."),
    draws: countUpTo(LIMITS.noiseDraws)
      .default(DEFAULT_NOISE.draws)
      .describe("Draws that an effect is averaged over."),
    seed: seed.default(DEFAULT_NOISE.seed),
  },
  { error: expected("an object with `at`") },
);

const source = z.union(
  [
    z.enum(["prompt", "zero", "mean"]),
    z.strictObject({ mean: text("a pairs file").describe("Pairs whose source prompts are averaged.") }),
    z.strictObject({ noise }),
  ],
  { error: SOURCE },
);

const shards = z.strictObject(
  {
    pairs: countUpTo(LIMITS.shardPairs).default(DEFAULT_SHARD_PAIRS).describe("Most pairs of a shard."),
    nodes: countUpTo(LIMITS.nodes)
      .default(DEFAULT_SHARD_NODES)
      .describe("Most nodes of a shard that patches nodes one by one."),
    samples: countUpTo(LIMITS.shardSamples)
      .default(DEFAULT_SHARD_SAMPLES)
      .describe("Most samples of a shard of a certificate's samples."),
    retries: z
      .int({ error: expected("0 or a positive integer") })
      .min(0, { error: expected("0 or a positive integer") })
      .max(LIMITS.retries.most, { error: expected(atMost(LIMITS.retries)) })
      .default(DEFAULT_RETRIES)
      .describe("How often a shard that failed is tried again."),
  },
  { error: expected("an object with `pairs`, `nodes`, `samples`, `retries`") },
);

const certify = z.strictObject(
  {
    confidence: z
      .number({ error: expected("a number from 0.5 to below 1") })
      .min(0.5, { error: expected("a number from 0.5 to below 1") })
      .lt(1, { error: expected("a number from 0.5 to below 1") })
      .describe("Such as 0.99."),
    budget: positive
      .max(LIMITS.budget.most, { error: expected(atMost(LIMITS.budget)) })
      .optional()
      .describe("Most forward equivalents; by default enough for a certificate in any case."),
    inclusion: z
      .number({ error: expected("a number between 0 and 1") })
      .gt(0, { error: expected("a number between 0 and 1") })
      .lt(1, { error: expected("a number between 0 and 1") })
      .optional()
      .describe("Probability of a node in a random subset."),
    prevalenceSample: z
      .int({ error: expected("0 or a positive integer") })
      .min(0, { error: expected("0 or a positive integer") })
      .max(LIMITS.nodes.most, { error: expected(atMost(LIMITS.nodes)) })
      .optional()
      .describe("Random nodes that are patched one by one."),
    seed: seed.optional().describe("Of all draws; by default the job's seed."),
  },
  { error: expected("an object with `confidence`") },
);

/** What a job file has. Unknown fields are errors. Paths are relative to the file. */
export const jobSpecSchema = z
  .strictObject(
    {
      $schema: z.string({ error: expected("text") }).optional(),
      model: text("a folder or a model id").describe(
        "Folder with config.json and safetensors, or GGUF file, relative to this file; or a Hugging Face id.",
      ),
      pairs: z
        .union([text(FILES), z.array(text(FILES)).min(1, { error: expected(FILES) })], {
          error: expected(FILES),
        })
        .transform((files) => (typeof files === "string" ? [files] : files))
        .describe("Prompt pairs, JSON Lines."),
      maxPairs: countUpTo(LIMITS.pairs).optional().describe("Use a random sample of the pairs."),
      seed: seed.default(0).describe("Of that sample, and of a certificate's draws."),
      direction: oneOf(DIRECTIONS)
        .default("noising")
        .describe("noising: corrupted activations into the clean run; denoising: the reverse."),
      metric: text("the name of a metric").default(DEFAULT_METRIC).describe("What is measured."),
      alsoMetrics: z
        .array(text("the name of a metric"), { error: expected("an array of metrics") })
        .default([])
        .describe("Further metrics of the same patched runs."),
      source: source
        .default("prompt")
        .describe("Where patched values come from, or what is run in place of corrupted prompts."),
      nodes: text("sites, separated by commas").default(DEFAULT_SITES).describe('Sites, or "all".'),
      positions: oneOf(POSITION_MODES)
        .default("each")
        .describe("One node per position, per role of the pairs, or for all positions together."),
      method: oneOf([...METHODS, "exact"])
        .default(DEFAULT_METHOD)
        .describe("How effects are estimated; exact: every node is patched."),
      verify: z
        .strictObject(
          {
            topK: countUpTo(LIMITS.nodes).default(DEFAULT_TOP_K).describe("How many of the best nodes."),
          },
          { error: expected("an object with `topK`") },
        )
        .prefault({})
        .describe("What is verified by exact patching."),
      certify: certify.optional().describe("Verify and sample until the top k are certain."),
      output: text("a folder").describe(
        "Where results and shards go, relative to this file; created if missing.",
      ),
      shards: shards.prefault({}).describe("How the work is cut."),
      batchSize: countUpTo(LIMITS.batchSize)
        .default(DEFAULT_BATCH_SIZE)
        .describe("Most prompts in one pass."),
      activationMemory: size
        .optional()
        .describe("What the activations of one pass may take; by default 1GiB, or less with `memory`."),
      memory: size
        .optional()
        .describe(
          "What a worker may take in all; layers that do not fit are read from disk when they are needed.",
        ),
      engine: oneOf(["auto", "tensorflow", "wasm"])
        .default("auto")
        .describe("auto: native TensorFlow if it is installed where the job is started, otherwise wasm."),
      threads: countUpTo(LIMITS.threads).optional().describe("Of the engine's library, in each worker."),
    },
    { error: expected("an object with the fields of a job") },
  )
  .describe("A batch job of atpkit.");

/** A checked spec with its defaults; sizes in bytes, `pairs` always an array. */
export type JobSpec = z.output<typeof jobSpecSchema>;

/** What a job's certificate is asked for with; undefined where it has none. */
export function certifyOptionsOf({ certify, verify, seed }: JobSpec): CertifyOptions | undefined {
  return certify && { ...certify, topK: verify.topK, seed: certify.seed ?? seed };
}

/** The same as a JSON Schema, for editors: published as schema/job.schema.json, which `scripts/job-schema.ts` writes. */
export function jobJsonSchema(): object {
  return z.toJSONSchema(jobSpecSchema, { io: "input" });
}

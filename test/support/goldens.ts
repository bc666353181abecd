/**
 * @file The tiny checkpoints under test/fixtures/goldens and the float64 reference numbers that belong to them.
 *
 * Keys of the number tables are `kind.layer` ("z.0", "attn_out.2"); values are flattened row-major with the shape in
 * `shapes`: q, z [H, T]; k, v [K, T]; neuron [T, F]; every other kind [T].
 */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const GOLDENS = fileURLToPath(new URL("../fixtures/goldens/", import.meta.url));

/** Checkpoints that hold the weights of another one in other names, buffers, spellings or shards. */
const SAME_NUMBERS_AS: Readonly<Record<string, string>> = {
  gpt2_hub: "gpt2",
  pythia_hub: "gpt_neox",
  llama3_hub: "llama3",
  llama_sharded: "llama",
};

/** Every checkpoint folder under test/fixtures/goldens. */
export const GOLDEN_VARIANTS: readonly string[] = [
  "gpt2",
  "gpt2_hub",
  "gpt_neox",
  "gpt_neox_sequential",
  "pythia_hub",
  "llama",
  "llama_tied",
  "llama_sharded",
  "llama3",
  "llama3_hub",
  "mistral",
  "qwen2",
  "qwen3",
];

/** The variants whose numbers differ from each other's: enough for tests of the mathematics. */
export const BASE_VARIANTS: readonly string[] = GOLDEN_VARIANTS.filter((name) => !(name in SAME_NUMBERS_AS));

const numbers = z.array(z.number());
const table = z.record(z.string(), numbers);

const goldenFile = z.object({
  clean: numbers,
  corrupted: numbers,
  metric: z.object({ type: z.literal("logit_diff"), answer: z.number(), wrong: z.number() }),
  clean_metric: z.number(),
  corrupted_metric: z.number(),
  clean_logits: numbers,
  logits_shape: z.tuple([z.number(), z.number()]),
  shapes: table,
  atp: table,
  qkfix: table,
  graddrop: table,
  atpstar: table,
  exact: table,
  other_metrics: z.array(
    z.object({
      metric: z.discriminatedUnion("type", [
        z.object({ type: z.literal("logprob"), answer: z.number() }),
        z.object({ type: z.literal("prob"), answer: z.number() }),
        z.object({ type: z.literal("prob_diff"), answers: numbers, wrongs: numbers }),
      ]),
      clean_metric: z.number(),
      corrupted_metric: z.number(),
      atp_z: table,
      exact_z: table,
    }),
  ),
  sets: z.array(
    z.object({
      nodes: z.array(z.object({ kind: z.string(), layer: z.number(), index: numbers })),
      effect: z.number(),
    }),
  ),
  all_positions: z.object({ exact: table, qkfix: table }),
});

type GoldenFile = z.infer<typeof goldenFile>;

/** `kind.layer` -> values, flattened row-major. */
export type GoldenTable = Readonly<Record<string, readonly number[]>>;

export interface Golden {
  /** Token ids of the base run: the goldens are noising. */
  readonly clean: number[];
  readonly corrupted: number[];
  /** Difference of two logits at the last position. */
  readonly metric: GoldenFile["metric"];
  readonly cleanMetric: number;
  readonly corruptedMetric: number;
  /** [T, V] flattened. */
  readonly cleanLogits: Float64Array;
  /** [T, V] */
  readonly logitsShape: readonly [number, number];
  readonly shapes: GoldenTable;
  /** Signed. */
  readonly atp: GoldenTable;
  /** Signed. */
  readonly qkfix: GoldenTable;
  /** Non-negative contributions. */
  readonly graddrop: GoldenTable;
  /** Non-negative contributions. */
  readonly atpstar: GoldenTable;
  /** Signed effects. */
  readonly exact: GoldenTable;
  /** Plain AtP and exact effects of `z` for other metrics. */
  readonly otherMetrics: readonly {
    readonly metric: GoldenFile["other_metrics"][number]["metric"];
    readonly cleanMetric: number;
    readonly corruptedMetric: number;
    readonly atpZ: GoldenTable;
    readonly exactZ: GoldenTable;
  }[];
  /** Nodes patched together; `index` is [head, position], for neurons [position, neuron], otherwise [position]. */
  readonly sets: GoldenFile["sets"];
  /** Nodes patched at every position at once: heads [H] or [K], others [1]; `qkfix` has q and k only. */
  readonly allPositions: { readonly exact: GoldenTable; readonly qkfix: GoldenTable };
}

/** The checkpoint folder of a variant: config.json and its safetensors. */
export function goldenFolder(variant: string): string {
  if (!GOLDEN_VARIANTS.includes(variant)) throw new Error(`goldenFolder: no golden called ${variant}`);
  return `${GOLDENS}${variant}`;
}

/** The reference numbers of a variant. */
export function readGolden(variant: string): Golden {
  const path = `${goldenFolder(SAME_NUMBERS_AS[variant] ?? variant)}/golden.json`;
  const file = goldenFile.parse(JSON.parse(readFileSync(path, "utf8")));
  return {
    clean: file.clean,
    corrupted: file.corrupted,
    metric: file.metric,
    cleanMetric: file.clean_metric,
    corruptedMetric: file.corrupted_metric,
    cleanLogits: Float64Array.from(file.clean_logits),
    logitsShape: file.logits_shape,
    shapes: file.shapes,
    atp: file.atp,
    qkfix: file.qkfix,
    graddrop: file.graddrop,
    atpstar: file.atpstar,
    exact: file.exact,
    otherMetrics: file.other_metrics.map((entry) => ({
      metric: entry.metric,
      cleanMetric: entry.clean_metric,
      corruptedMetric: entry.corrupted_metric,
      atpZ: entry.atp_z,
      exactZ: entry.exact_z,
    })),
    sets: file.sets,
    allPositions: file.all_positions,
  };
}

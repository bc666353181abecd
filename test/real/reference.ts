/**
 * @file What Hugging Face transformers makes of the real model's file in float64: test/real/exact/NAME.json, for one pair of
 * bench/real/pairs/NAME.jsonl each. `index` is [head, position], of neurons [position, neuron], otherwise [position].
 */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { Node } from "../../src/nodes/node-id.js";
import { nodeOfGolden } from "../support/golden-nodes.js";

const ids = z.array(z.int());

const referenceSchema = z.object({
  pair: z.object({
    clean: z.string(),
    corrupted: z.string(),
    answers: z.array(z.string()),
    wrong: z.array(z.string()),
  }),
  clean_ids: ids,
  corrupted_ids: ids,
  answer: z.int(),
  wrong: z.int(),
  clean_metric: z.number(),
  corrupted_metric: z.number(),
  /** Of the clean prompt's last position: its 50 largest logits, and the mean and log-sum-exp of all. */
  last_logits: z.object({ top_ids: ids, top: z.array(z.number()), mean: z.number(), logsumexp: z.number() }),
  nodes: z.array(
    z.object({
      kind: z.string(),
      layer: z.int(),
      index: ids,
      exact: z.number(),
      atp: z.number(),
      qkfix: z.number(),
      graddrop: z.number().optional(),
      atpstar: z.number().optional(),
    }),
  ),
});

export type Reference = z.output<typeof referenceSchema>;

export const REFERENCES = ["ioi", "agreement", "antonym"] as const;

export function readReference(name: (typeof REFERENCES)[number]): Reference {
  const file = fileURLToPath(new URL(`./exact/${name}.json`, import.meta.url));
  return referenceSchema.parse(JSON.parse(readFileSync(file, "utf8")));
}

/** The sampled nodes, in the reference's order. */
export function nodesOf({ nodes }: Reference): Node[] {
  return nodes.map(({ kind, layer, index }) => nodeOfGolden(kind, layer, index));
}

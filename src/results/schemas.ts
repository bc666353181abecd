/**
 * @file What is read of the JSON files of a folder of results. Fields that it can do without may be missing, so that folders of older
 * versions still make a page; fields that it does not know are left alone.
 */

import { z } from "zod";
import { namedValues } from "../field-errors.js";
import { shown } from "../shown-text.js";
import { nestsWithin } from "../text-file.js";

const number = z.number({ error: expected("a number") });
const text = z.string({ error: expected("text") });
const texts = z.array(text, { error: expected("an array of texts") });

function expected(what: string) {
  return ({ input }: { readonly input: unknown }) =>
    `expected ${what}, got ${input === undefined ? "nothing" : shown(input, 80)}`;
}

function object<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.object(shape, { error: expected("an object") });
}

const metric = object({ name: text, base: number, source: number });

const perStage = object({ estimate: number, verify: number });

const prompts = object({
  length: number,
  clean: texts,
  corrupted: texts,
  differing: z.array(number, { error: expected("an array of positions") }),
  roles: namedValues(number, "an object of positions"),
  differingRoles: texts,
});

/** Deeper than any options are. */
const MAX_DEPTH = 16;

const question = object({ model: text, pairs: text, metric: text, direction: text, source: text });

/** The list that nodes were chosen from, or that a curve is of. */
const listOrigin = object({
  file: text,
  run: text.optional(),
  /** In what its question differs from that of the run: then nodes were chosen from it, and no number taken over. */
  differs: text.optional(),
});

/** What summary.json and the other documents say of the run. */
const about = {
  atpkit: text.optional(),
  run: text.optional(),
  question: question.optional(),
  list: listOrigin.optional(),
  command: text,
  date: text.optional(),
  options: z
    .record(z.string(), z.unknown(), { error: expected("an object") })
    .refine((options) => nestsWithin(options, MAX_DEPTH), {
      error: `expected an object that nests at most ${MAX_DEPTH} levels deep`,
    })
    .optional(),
  model: object({ name: text, family: text.optional(), layers: number.optional() }),
  pairs: object({ files: texts.optional(), available: number.optional(), used: number }),
  prompts: prompts.optional(),
  metric,
  direction: z.enum(["noising", "denoising"], { error: expected('"noising" or "denoising"') }),
  source: text.optional(),
  averaged: z
    .array(object({ tokens: number, prompts: number }), { error: expected("an array of lengths") })
    .optional(),
  embeddingDeviation: number.optional(),
  method: text.optional(),
  engine: object({ backend: text, device: text, reason: text.optional() }).optional(),
};

const agreement = object({
  topK: number,
  compared: number,
  rankCorrelation: number.optional(),
  mostUnderestimated: object({
    node: text,
    effect: number,
    estimate: number,
    factor: number.optional(),
  }).optional(),
  threshold: number,
  settledRows: number,
  reachable: number,
  lastRank: number.optional(),
  settle: object({ verify: text, certify: text }).optional(),
});

export const summarySchema = object({
  ...about,
  state: z
    .enum(["running", "interrupted", "done"], { error: expected('"running", "interrupted" or "done"') })
    .optional(),
  interrupted: object({ text }).optional(),
  agreement: agreement.optional(),
  alsoMetrics: z.array(metric, { error: expected("an array of metrics") }).optional(),
  nodes: object({ ranked: number, verified: number }).optional(),
  windows: object({ over: text, width: number, ranked: number }).optional(),
  forwardEquivalents: perStage.optional(),
  seconds: object({
    load: number.optional(),
    estimate: number.optional(),
    verify: number.optional(),
  }).optional(),
});

export type Summary = z.infer<typeof summarySchema>;

export type About = Pick<Summary, keyof typeof about>;

const lookBound = object({ bound: number.optional(), node: text.optional() });

export const certificateSchema = object({
  run: text.optional(),
  topK: number,
  confidence: number,
  certified: z.boolean({ error: expected("true or false") }),
  threshold: number,
  bound: number.optional(),
  claims: texts,
  assumptions: texts,
  nodes: object({ total: number, verified: number }),
  sampling: object({
    probability: number,
    looks: z.array(
      object({
        look: number,
        round: number,
        nodes: number,
        samples: number,
        threshold: number,
        plain: lookBound,
        controlled: lookBound,
      }),
      { error: expected("an array of looks") },
    ),
  }).optional(),
  cost: object({ estimate: number, verify: number, sample: number, budget: number }),
});

export type CertificateContent = z.infer<typeof certificateSchema>;

const curveValue = object({
  metric: number,
  se: number.optional(),
  faithfulness: number.optional(),
  faithfulnessSe: number.optional(),
});
const area = object({ share: number, logShare: number });

export const faithfulnessSchema = object({
  ...about,
  points: z.array(object({ k: number, share: number, keep: curveValue, remove: curveValue }), {
    error: expected("an array of points"),
  }),
  allPatched: curveValue,
  keepArea: area.optional(),
  removeArea: area.optional(),
  nodes: object({ ranked: number, space: number }),
  forwardEquivalents: number,
  seconds: object({ load: number, patch: number }),
});

export type FaithfulnessContent = z.infer<typeof faithfulnessSchema>;

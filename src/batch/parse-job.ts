/**
 * @file Jobs and tasks as they arrive: from a file, another process or a queue. All of it is looked at before any of it is used;
 * what depends on the model is checked in `unpack-job.ts`.
 */

import { z } from "zod";
import { METHODS } from "../atpstar/methods.js";
import { InputError } from "../errors.js";
import { expected, issueText, oneOf } from "../field-errors.js";
import { isLostInFloat32 } from "../float32.js";
import { atMost, LIMITS, type Limit } from "../limits.js";
import { SITES } from "../model/sites.js";
import { parsePosition } from "../nodes/node-id.js";
import { POSITION_MODES } from "../nodes/positions.js";
import { DIRECTIONS } from "../prompts/direction.js";
import { METRICS } from "../prompts/metrics/index.js";
import { HASH } from "./identity.js";
import type { Job } from "./job.js";
import type { ShardTask } from "./shard-task.js";

/** Longer than any prompt, direction or list of pairs that this package can run, and short enough to be looked at. */
const MOST = 2 ** 22;
/** Names, paths and the like. */
const LONGEST_TEXT = 4096;

const INTEGER = expected("0 or a positive integer");
const TEXT = expected(`text of at most ${LONGEST_TEXT} characters`);
const OBJECT = expected("an object");

const integer = z.int({ error: INTEGER }).min(0, { error: INTEGER });
const positive = z
  .int({ error: expected("a positive integer") })
  .min(1, { error: expected("a positive integer") });
const upTo = (limit: Limit) => positive.max(limit.most, { error: expected(atMost(limit)) });
const text = z.string({ error: TEXT }).max(LONGEST_TEXT, { error: TEXT });
const integers = list(integer, "integers");
const seed = z.int({ error: INTEGER }).refine((value) => (value | 0) === value, {
  error: expected("an integer from -2^31 to 2^31 - 1"),
});

function list<Item extends z.ZodType>(item: Item, what: string) {
  const error = expected(`an array of at most ${MOST} ${what}`);
  return z.array(item, { error }).max(MOST, { error });
}

const pairSchema = z.strictObject(
  {
    name: text.optional(),
    clean: integers,
    corrupted: integers.optional(),
    answers: integers,
    wrong: integers,
    roles: list(z.tuple([text, integer], { error: expected("a role and its position") }), "roles"),
    metricPosition: integer,
    origin: text,
  },
  { error: OBJECT },
);

const pairs = list(pairSchema, "pairs").min(1, { error: expected("at least one pair") });

const label = z
  .union([z.int(), text], { error: expected("a position or a role") })
  .refine((value) => parsePosition(String(value)) !== undefined, {
    error: expected('a position, a role or "*"'),
  });

const sourceSchema = z.discriminatedUnion(
  "kind",
  [
    z.strictObject({ kind: z.literal("prompt") }),
    z.strictObject({ kind: z.literal("zero") }),
    z.strictObject({ kind: z.literal("mean"), pairs: pairs.optional() }),
    z.strictObject({
      kind: z.literal("noise"),
      at: list(label, "positions").min(1, { error: expected("at least one position") }),
      multiple: z
        .number({ error: expected("a positive number") })
        .gt(0, { error: expected("a positive number") })
        .refine((value) => !isLostInFloat32(value), {
          error: expected("a positive number that float32 can hold"),
        }),
      draws: upTo(LIMITS.noiseDraws),
      seed,
    }),
  ],
  { error: expected("a source") },
);

const method = oneOf(METHODS);
const byPair = z.boolean({ error: expected("true or false") });

const metricPosition = z.union([z.int(), text], { error: expected("a position or a role") });
const never = z.literal(false, { error: expected("false") });

/** An internal metric is plain data; that it is one that this package makes is checked when it is unpacked. */
const internalSchema = z.strictObject(
  {
    name: text,
    description: text,
    needs: z.strictObject({ answers: never, wrong: never }),
    differentiable: z.literal(true, { error: expected("true") }),
    flatOnClean: never,
    reads: z.strictObject({ point: oneOf([...SITES, "pattern"]), layer: integer }),
    position: metricPosition,
    takes: z.union(
      [
        z.strictObject({ head: integer, key: metricPosition }),
        z.strictObject({ neuron: integer }),
        z.strictObject({ direction: list(z.number(), "numbers") }),
      ],
      { error: expected("a head and a key, a neuron or a direction") },
    ),
  },
  { error: OBJECT },
);

const metricSchema = z.union(
  [
    z.strictObject({
      output: text.refine((name) => METRICS.some((metric) => metric.name === name), {
        error: expected(`one of ${METRICS.map(({ name }) => name).join(", ")}`),
      }),
    }),
    z.strictObject({ internal: internalSchema }),
  ],
  { error: expected("an output or an internal metric") },
);

const jobSchema = z.strictObject(
  {
    atpkit: text,
    backend: oneOf(["tensorflow", "wasm"]),
    threads: upTo(LIMITS.threads).optional(),
    model: z.strictObject(
      { name: text, hash: text.regex(HASH, { error: expected("a SHA-256") }) },
      { error: OBJECT },
    ),
    pairs,
    source: sourceSchema,
    metrics: list(metricSchema, "metrics").min(1, { error: expected("at least one metric") }),
    direction: oneOf(DIRECTIONS),
    sites: list(oneOf(SITES), "sites").min(1, { error: expected("at least one site") }),
    positions: oneOf(POSITION_MODES),
    batchSize: upTo(LIMITS.batchSize),
    activationBudgetBytes: positive,
    workload: z.strictObject(
      {
        method: method.optional(),
        byPair,
        pairs: upTo(LIMITS.shardPairs),
        nodes: upTo(LIMITS.nodes),
      },
      { error: OBJECT },
    ),
  },
  { error: OBJECT },
);

const range = z
  .strictObject({ first: integer, end: integer }, { error: expected("a range") })
  .refine(({ first, end }) => first < end && end - first <= MOST, {
    error: `expected a range of 1 to ${MOST} numbers`,
  });

export const taskSchema = z.discriminatedUnion(
  "kind",
  [
    z.strictObject({ kind: z.literal("estimate"), pairs: range, method, byPair }),
    z.strictObject({ kind: z.literal("verify"), pairs: range, nodes: integers }),
    z.strictObject({
      kind: z.literal("sample"),
      excluded: integers,
      probability: z.number({ error: expected("a number") }),
      seed,
      samples: range,
    }),
  ],
  { error: expected("a task of kind estimate, verify or sample") },
);

/**
 * The job in data of unknown origin.
 * @throws InputError naming every field that is missing, unknown or wrong
 */
export function parseJob(value: unknown): Job {
  return checked(jobSchema, value, "parseJob");
}

/**
 * The task in data of unknown origin.
 * @throws InputError naming every field that is missing, unknown or wrong
 */
export function parseTask(value: unknown): ShardTask {
  return checked(taskSchema, value, "parseTask");
}

/** Enough to see what is wrong: hostile input may have a million errors. */
const MOST_ISSUES = 5;

function checked<Output>(schema: z.ZodType<Output>, value: unknown, caller: string): Output {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.slice(0, MOST_ISSUES).map((issue) => issueText(issue));
  throw new InputError(`${caller}: ${issues.join("; ")}`);
}

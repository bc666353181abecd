/**
 * @file The written form of a prompt pair, as a line of a pairs file or as an object built in code, and the strict
 * check of its shape. What the values mean (tokens, positions) is resolved in `pair.ts`.
 */

import { z } from "zod";
import { InputError } from "../errors.js";
import { expected, issueText, namedValues } from "../field-errors.js";

/** One prompt pair as written. Every field not named here is an error. */
export interface PairInput {
  /** Text, tokenized with the special tokens that tokenizer.json adds, or token ids, taken as they are. */
  readonly clean: string | readonly number[];
  /** As `clean`, and as many tokens. May be left out where noise on the clean prompt stands in for it. */
  readonly corrupted?: string | readonly number[];
  /** Tokens that the clean prompt makes likely: ids, or texts of exactly one token each. Absent is empty. */
  readonly answers?: readonly (string | number)[];
  /** Tokens that the corrupted prompt makes likely; none of them in `answers`. Absent is empty. */
  readonly wrong?: readonly (string | number)[];
  /** Role name -> position; negative positions count from the end. */
  readonly roles?: Readonly<Record<string, number>>;
  readonly name?: string;
  /** Where the metric is read: a position, negative from the end, or a role name. Absent: the last position. */
  readonly position?: number | string;
}

const TOKEN_ID = z.number({ error: expected("a token id") });
const PROMPT = z.union([z.string(), z.array(TOKEN_ID)], { error: expected("text or an array of token ids") });
const TOKENS = z.array(z.union([z.string(), z.number()], { error: expected("a token's text or its id") }), {
  error: expected("an array of tokens"),
});

const PAIR_FIELDS = {
  clean: PROMPT,
  corrupted: PROMPT,
  answers: TOKENS.optional(),
  wrong: TOKENS.optional(),
  roles: namedValues(z.number({ error: expected("a position") }), "an object of positions").optional(),
  name: z.string({ error: expected("text") }).optional(),
  position: z.union([z.number(), z.string()], { error: expected("a position or a role name") }).optional(),
};

const OBJECT = { error: expected("an object with the fields of a pair") };
const WHOLE_PAIR = z.strictObject(PAIR_FIELDS, OBJECT);
const NOISED_PAIR = z.strictObject({ ...PAIR_FIELDS, corrupted: PROMPT.optional() }, OBJECT);
const AVERAGED_PAIR = z.strictObject(
  { ...PAIR_FIELDS, clean: PROMPT.optional(), corrupted: PROMPT.optional() },
  OBJECT,
);

/**
 * Checks the shape of one written pair.
 *
 * @param needsCorrupted whether it must have a corrupted prompt
 * @throws InputError naming every field that is missing, unknown or of the wrong type
 */
export function checkPairInput(input: unknown, needsCorrupted: boolean): PairInput {
  return checked(needsCorrupted ? WHOLE_PAIR : NOISED_PAIR, input);
}

/**
 * The same of a pair that is only averaged over, which may lack either prompt.
 * @throws InputError as `checkPairInput` does
 */
export function checkAveragedInput(input: unknown): Partial<PairInput> {
  return checked(AVERAGED_PAIR, input);
}

function checked<Output>(schema: z.ZodType<Output>, input: unknown): Output {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const known = Object.keys(PAIR_FIELDS);
  throw new InputError(result.error.issues.map((issue) => issueText(issue, known)).join("; "));
}

/**
 * @file What a tokenizer.json may hold. The library that runs it trusts it: an id of a thousand million makes arrays of that size, a
 * step of no width never ends, a template that is text is split into letters. So all that the library reads is checked first, and
 * every complaint names the file and the field.
 */

import { z } from "zod";
import { InputError } from "../../errors.js";
import { expected, fieldName } from "../../field-errors.js";
import { shown } from "../../shown-text.js";
import { type PartKind, SCHEMA_OF, STEPS_IN } from "./tokenizer-parts.js";

/** No tokenizer has more tokens: a hundred times the largest published one. */
export const MOST_TOKENS = 2 ** 24;

/** Steps within steps. */
const MOST_NESTED = 8;

/** A token that is found in a text before it is split. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word?: boolean | undefined;
  readonly lstrip?: boolean | undefined;
  readonly rstrip?: boolean | undefined;
  readonly normalized?: boolean | undefined;
  readonly special?: boolean | undefined;
}

/** A tokenizer.json whose fields are of the types that the library takes them for. Fields that it does not read stay as they are. */
export interface TokenizerJson {
  readonly added_tokens: readonly AddedToken[];
  readonly normalizer: object | null;
  readonly pre_tokenizer: object | null;
  readonly model: TokenizerModel;
  readonly post_processor: object | null;
  readonly decoder: object | null;
}

export interface TokenizerModel {
  readonly type?: string | undefined;
  /** Token to id; of a Unigram model, tokens with their scores, each at its id. */
  readonly vocab: Readonly<Record<string, number>> | readonly (readonly [string, number])[];
  readonly unk_token?: string | null | undefined;
  readonly [field: string]: unknown;
}

const IS_ID = { error: expected(`a token id (an integer from 0 to ${MOST_TOKENS - 1})`) };
const IS_TEXT = { error: expected("text") };
const IS_FLAG = { error: expected("true or false") };

/** As in `added_tokens`, and, without the id, in `added_tokens_decoder` of tokenizer_config.json. */
export const TOKEN_FIELDS = {
  content: z.string(IS_TEXT).min(1, "expected text, got an empty one"),
  // The library finds tokens within words, too.
  single_word: z
    .literal(false, { error: expected("false, as tokens are found within words, too") })
    .optional(),
  lstrip: z.boolean(IS_FLAG).optional(),
  rstrip: z.boolean(IS_FLAG).optional(),
  normalized: z.boolean(IS_FLAG).optional(),
  special: z.boolean(IS_FLAG).optional(),
};

const addedTokens = z.array(
  z.object(
    { id: z.custom<number>((id) => isTokenId(id), IS_ID), ...TOKEN_FIELDS },
    { error: expected("a token with id and content") },
  ),
  { error: expected("an array of tokens") },
);

const MODELS = ["BPE", "WordPiece", "Unigram", "WordLevel"] as const;

const text = z.string(IS_TEXT).nullish();
const flag = z.boolean(IS_FLAG).nullish();

/** But for vocab and merges, which are too large for a schema. */
const modelFields = z.object(
  {
    type: z.enum(MODELS, { error: expected(`one of ${MODELS.join(", ")}`) }).optional(),
    unk_token: text,
    unk_id: z.custom<number>((id) => id == null || isTokenId(id), IS_ID).optional(),
    // Chance decides which merges are left out; the library does not do so.
    dropout: z.literal(0, { error: expected("null, as dropout is random") }).nullish(),
    fuse_unk: flag,
    byte_fallback: flag,
    ignore_merges: flag,
    end_of_word_suffix: text,
    continuing_subword_prefix: text,
    continuing_subword_suffix: text,
    max_input_chars_per_word: z
      .int({ error: expected("a number of characters") })
      .positive()
      .max(MOST_TOKENS)
      .nullish(),
  },
  { error: expected("an object with a vocab") },
);

/** WordPiece has one; the library does not know it of BPE. */
const NO_PREFIX = z.null({ error: expected("null in a BPE model") });

const anyObject = z.looseObject({}, { error: expected("an object") });

/**
 * The fields of a tokenizer.json that the library reads, and no others.
 * @throws InputError naming the file and the field
 */
export function checkTokenizerJson(value: unknown, file: string): TokenizerJson {
  const check = new Check(file);
  const top = check.fields([], value, anyObject);
  const added_tokens = check.fields(["added_tokens"], top.added_tokens, addedTokens);
  const steps = (kind: PartKind) => check.part(kind, [kind], top[kind] ?? null, 0);
  const [normalizer, pre_tokenizer] = [steps("normalizer"), steps("pre_tokenizer")];
  const [post_processor, decoder] = [steps("post_processor"), steps("decoder")];
  const fields = check.fields(["model"], top.model, modelFields);
  // As they were parsed: a schema would leave out a token that is called __proto__.
  const written = Object(top.model);
  const vocab = check.vocab(Reflect.get(written, "vocab"), fields.type);
  const merges: unknown = Reflect.get(written, "merges");
  if (fields.type === "BPE" && fields.continuing_subword_prefix) {
    check.fields(["model", "continuing_subword_prefix"], fields.continuing_subword_prefix, NO_PREFIX);
  }
  if (fields.type === "BPE" || merges !== undefined) check.merges(merges);
  const model = { ...fields, vocab, ...(merges !== undefined && { merges }) };
  return { added_tokens, normalizer, pre_tokenizer, model, post_processor, decoder };
}

type Path = readonly PropertyKey[];

/** Checks parts of one file. */
class Check {
  constructor(private readonly file: string) {}

  fields<T>(path: Path, value: unknown, schema: z.ZodType<T>): T {
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw this.#error([...path, ...(issue?.path ?? [])], issue?.message ?? "expected something else");
  }

  /** A normalizer, pre-tokenizer, post-processor or decoder, and the steps in it. */
  part(kind: PartKind, path: Path, value: unknown, depth: number): object | null {
    if (value === null) return null;
    const { type } = this.fields(
      path,
      value,
      z.looseObject({ type: z.string(IS_TEXT) }, { error: expected("an object with a type") }),
    );
    const schemas = SCHEMA_OF[kind];
    const schema = schemas.get(type);
    if (schema === undefined) {
      const known = [...schemas.keys()].join(", ");
      throw this.#error([...path, "type"], `expected one of ${known}, got ${shown(type)}`);
    }
    const fields = this.fields(path, value, schema);
    if (type !== "Sequence") return fields;
    if (depth === MOST_NESTED)
      throw this.#error(path, `expected steps at most ${MOST_NESTED} deep, got more`);
    const name = STEPS_IN[kind];
    const steps = this.fields(
      [...path, name],
      Reflect.get(Object(value), name),
      z.array(z.unknown(), { error: expected("an array") }),
    );
    return {
      ...fields,
      [name]: steps.map((step, s) => this.part(kind, [...path, name, s], step, depth + 1)),
    };
  }

  vocab(value: unknown, type: string | undefined): TokenizerModel["vocab"] {
    const path = ["model", "vocab"];
    if (Array.isArray(value) && (type === undefined || type === "Unigram")) {
      const pieces: readonly unknown[] = value;
      if (pieces.length === 0) throw this.#error(path, "expected tokens, got none");
      if (pieces.every(isPiece)) return pieces;
      const wrong = pieces.findIndex((piece) => !isPiece(piece));
      throw this.#error([...path, wrong], `expected a token and its score, got ${shown(pieces[wrong])}`);
    }
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    if (!isObject || type === "Unigram") {
      const what = type === "Unigram" ? "an array of tokens with their scores" : "an object of token ids";
      throw this.#error(path, `expected ${what}, got ${shown(value)}`);
    }
    const ids: readonly unknown[] = Object.values(value);
    if (ids.length === 0) throw this.#error(path, "expected tokens, got none");
    const wrong = ids.findIndex((id) => !isTokenId(id));
    if (wrong < 0) return Object(value);
    throw this.#error(
      path,
      `expected token ids (integers from 0 to ${MOST_TOKENS - 1}), got ${shown(ids[wrong])} for ${shown(Object.keys(value)[wrong])}`,
    );
  }

  /** All "left right", or all ["left", "right"]: the library looks at the first one. */
  merges(value: unknown): void {
    const path = ["model", "merges"];
    if (!Array.isArray(value)) throw this.#error(path, `expected an array of merges, got ${shown(value)}`);
    const merges: readonly unknown[] = value;
    const is = Array.isArray(merges[0]) ? isPairOfTexts : isTwoWords;
    const wrong = merges.findIndex((merge) => !is(merge));
    if (wrong < 0) return;
    throw this.#error(
      [...path, wrong],
      `expected two tokens${wrong > 0 ? ", written like those of the first merge" : ""}, got ${shown(merges[wrong])}`,
    );
  }

  #error(path: Path, text: string): InputError {
    const field = path.length === 0 ? "" : `${fieldName(path)}: `;
    return new InputError(`loadModel: ${this.file}: ${field}${text}`);
  }
}

export function isPieces(vocab: TokenizerModel["vocab"]): vocab is readonly (readonly [string, number])[] {
  return Array.isArray(vocab);
}

export function isTokenId(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < MOST_TOKENS;
}

function isPiece(value: unknown): value is readonly [string, number] {
  return Array.isArray(value) && typeof value[0] === "string" && typeof value[1] === "number";
}

function isPairOfTexts(value: unknown): boolean {
  return (
    Array.isArray(value) && value.length === 2 && typeof value[0] === "string" && typeof value[1] === "string"
  );
}

/** A space cannot be part of a token in this form. */
function isTwoWords(value: unknown): boolean {
  if (typeof value !== "string") return false;
  const space = value.indexOf(" ");
  return space > 0 && space < value.length - 1;
}

/** @file The steps that a tokenizer.json is made of, and what the library reads of each. */

import { z } from "zod";
import { expected, oneOf } from "../../field-errors.js";

export type PartKind = "normalizer" | "pre_tokenizer" | "post_processor" | "decoder";

/** The field of a Sequence that has its steps. */
export const STEPS_IN: Readonly<Record<PartKind, string>> = {
  normalizer: "normalizers",
  pre_tokenizer: "pretokenizers",
  post_processor: "processors",
  decoder: "decoders",
};

type Schema = z.ZodType<Readonly<Record<string, unknown>>>;
type Fields = Readonly<Record<string, z.ZodType>>;

const TEXT = z.string({ error: expected("text") });
const FLAG = z.boolean({ error: expected("true or false") });
const text = TEXT.nullish();
const flag = FLAG.nullish();
const count = z
  .int({ error: expected("a count") })
  .min(0, "expected a count, got a negative one")
  .max(2 ** 20, "expected a count, got one that is too large")
  .nullish();

const BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"] as const;
const BEHAVIOR = oneOf(BEHAVIORS).nullish();

/** What is looked for: a text as it is, or a regular expression. */
const pattern = z.union([z.object({ Regex: TEXT }), z.object({ String: TEXT })], {
  error: expected("an object with a String or a Regex"),
});

const tokenAndId = z.tuple([TEXT, z.int()], { error: expected("a token and its id") });

const templateItem = z.union(
  [
    z.strictObject({ SpecialToken: z.looseObject({ id: TEXT }) }),
    z.strictObject({ Sequence: z.looseObject({ id: z.enum(["A", "B"]) }) }),
  ],
  { error: expected("an object with a SpecialToken or the Sequence A or B") },
);
const template = z.array(templateItem, { error: expected("an array") });

export const TEMPLATE_FIELDS = {
  single: template,
  pair: template.nullish(),
  special_tokens: z
    .record(
      z.string(),
      z.looseObject(
        { ids: z.array(z.int(), { error: expected("an array of ids") }) },
        { error: expected("an object with ids") },
      ),
      { error: expected("an object of tokens") },
    )
    .nullish(),
};

export const AROUND_FIELDS = { sep: tokenAndId, cls: tokenAndId };

/** By type. */
function steps(types: Readonly<Record<string, Fields>>): ReadonlyMap<string, Schema> {
  return new Map(
    Object.entries({ Sequence: {}, ...types }).map(([type, fields]) => [
      type,
      z.object({ type: TEXT, ...fields }),
    ]),
  );
}

export const SCHEMA_OF: Readonly<Record<PartKind, ReadonlyMap<string, Schema>>> = {
  normalizer: steps({
    BertNormalizer: { clean_text: flag, handle_chinese_chars: flag, lowercase: flag, strip_accents: flag },
    Precompiled: { precompiled_charsmap: text },
    Replace: { pattern, content: TEXT },
    NFC: {},
    NFD: {},
    NFKC: {},
    NFKD: {},
    Strip: { strip_left: flag, strip_right: flag },
    StripAccents: {},
    Lowercase: {},
    Prepend: { prepend: TEXT },
  }),
  pre_tokenizer: steps({
    BertPreTokenizer: {},
    Whitespace: {},
    WhitespaceSplit: {},
    Metaspace: {
      replacement: text,
      str_rep: text,
      prepend_scheme: z
        .enum(["always", "never", "first"], { error: expected("one of always, never, first") })
        .nullish(),
      add_prefix_space: flag,
      split: flag,
    },
    ByteLevel: { add_prefix_space: flag, trim_offsets: flag, use_regex: flag },
    Split: { pattern, behavior: BEHAVIOR, invert: flag },
    Punctuation: { behavior: BEHAVIOR },
    Digits: { individual_digits: flag },
    Replace: { pattern, content: TEXT },
    FixedLength: {
      length: z
        .int({ error: expected("a number of characters") })
        .positive("expected a number of characters, got none"),
    },
  }),
  post_processor: steps({
    TemplateProcessing: TEMPLATE_FIELDS,
    ByteLevel: { add_prefix_space: flag, trim_offsets: flag, use_regex: flag },
    BertProcessing: AROUND_FIELDS,
    RobertaProcessing: AROUND_FIELDS,
  }),
  decoder: steps({
    ByteLevel: { add_prefix_space: flag, trim_offsets: flag, use_regex: flag },
    WordPiece: { prefix: text, cleanup: flag },
    Metaspace: { replacement: text, prepend_scheme: text, add_prefix_space: flag },
    BPEDecoder: { suffix: text },
    CTC: { pad_token: text, word_delimiter_token: text, cleanup: flag },
    Replace: { pattern, content: TEXT },
    Fuse: {},
    Strip: { content: TEXT, start: count, stop: count },
    ByteFallback: {},
  }),
};

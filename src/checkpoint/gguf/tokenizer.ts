/**
 * @file The tokenizer that a GGUF file holds in its metadata, as an object of the shape of tokenizer.json. The file has
 * the vocabulary, and for byte-level tokenizers the merges; how text is split, what is put in front of it and what the
 * defaults are is defined by llama.cpp (llama-vocab.cpp), which is followed here. Special tokens in a text are read as
 * such, as from a tokenizer.json.
 */

import { shown } from "../../shown-text.js";
import type { AddedToken, TokenizerJson } from "../tokenizer/tokenizer-json.js";
import { mergesOfPieces } from "./piece-merges.js";
import { PRE_TOKENIZERS } from "./pre-tokenizers.js";
import { isNumber, isText, TokenizerKeys, tokenIdKey } from "./tokenizer-keys.js";

/** tokenizer.ggml.token_type */
const TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

const SCORES_EXPECTED = "the scores that say which pieces are joined first, one for each token";

/** In place of a space in the pieces of SentencePiece. */
const SPACE_MARK = "\u2581";

/**
 * The tokenizer of a GGUF file.
 * @param metadata the file's keys and values
 * @param file names the file in errors
 * @returns undefined when the file holds no tokenizer
 * @throws InputError naming the key when it says something that is not known here or that cannot be
 */
export function tokenizerOfGguf(
  metadata: ReadonlyMap<string, unknown>,
  file: string,
): TokenizerJson | undefined {
  const source = new TokenizerKeys(metadata, file);
  const kind = source.text("tokenizer.ggml.model");
  if (kind === undefined || kind === "none" || kind === "no_vocab") return undefined;
  if (kind !== "gpt2" && kind !== "llama") throw source.error("tokenizer.ggml.model", '"gpt2" or "llama"');
  source.checkNames();
  const vocabulary = readVocabulary(source);
  return kind === "gpt2" ? byteLevel(source, vocabulary) : sentencePiece(source, vocabulary);
}

/** Byte-level BPE, whose tokens are written in one character for each byte. */
function byteLevel(source: TokenizerKeys, vocabulary: Vocabulary): TokenizerJson {
  const preTokenizer = PRE_TOKENIZERS.get(source.text("tokenizer.ggml.pre") ?? "");
  if (preTokenizer === undefined) {
    const known = [...PRE_TOKENIZERS.keys()].map((name) => `"${name}"`).join(", ");
    throw source.error("tokenizer.ggml.pre", `the name of a way to split text, one of ${known}`);
  }
  const { patterns, ignoresMerges = false, addsBos = false, composes = false } = preTokenizer;
  // add_space_prefix is written into files of this kind, but only says something in the other one.
  source.flag("tokenizer.ggml.add_space_prefix");
  return {
    added_tokens: addedTokens(vocabulary),
    normalizer: composes ? { type: "NFC" } : null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        ...patterns.map((pattern) => ({ type: "Split", pattern: { Regex: pattern }, behavior: "Isolated" })),
        { type: "ByteLevel", add_prefix_space: false, use_regex: false },
      ],
    },
    model: {
      type: "BPE",
      vocab: Object.fromEntries(vocabulary.ids),
      merges: readMerges(source, vocabulary),
      ignore_merges: ignoresMerges,
    },
    post_processor: postProcessor(source, vocabulary, { addsBos }),
    decoder: { type: "ByteLevel" },
  };
}

/** SentencePiece's BPE, which has scores in place of merges, and bytes for characters that it has no piece for. */
function sentencePiece(source: TokenizerKeys, vocabulary: Vocabulary): TokenizerJson {
  const { tokens, types, ids } = vocabulary;
  const scores = source.list("tokenizer.ggml.scores", isNumber, "numbers", tokens.length);
  if (scores === undefined) {
    throw source.error("tokenizer.ggml.scores", SCORES_EXPECTED);
  }
  const outside: readonly (number | undefined)[] = [TYPE.unknown, TYPE.control, TYPE.byte];
  const pieces = tokens
    .map((text, id) => ({ text, score: scores[id] ?? 0, type: types[id] }))
    .filter(({ type }) => !outside.includes(type));
  const joined = pieces.filter(({ text, type }) => type === TYPE.normal && [...text].length > 1);
  if (joined.length > 1 && joined.every(({ score }) => score === joined[0]?.score)) {
    throw source.error(
      "tokenizer.ggml.scores",
      SCORES_EXPECTED,
      `${joined[0]?.score} for all, which stands for none: make the file anew from a checkpoint with tokenizer.model`,
    );
  }
  const unknownId = source.tokenId("tokenizer.ggml.unknown_token_id", tokens.length) ?? 0;
  const addsSpace = source.flag("tokenizer.ggml.add_space_prefix") ?? true;
  const marked = { type: "Replace", pattern: { String: " " }, content: SPACE_MARK };
  return {
    added_tokens: addedTokens(vocabulary),
    normalizer: addsSpace
      ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: SPACE_MARK }, marked] }
      : marked,
    pre_tokenizer: null,
    model: {
      type: "BPE",
      vocab: Object.fromEntries(ids),
      merges: mergesOfPieces(pieces),
      unk_token: tokens[unknownId],
      fuse_unk: true,
      byte_fallback: true,
    },
    post_processor: postProcessor(source, vocabulary, { addsBos: true, bos: 1, eos: 2 }),
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: SPACE_MARK }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(addsSpace ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
  };
}

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly ids: ReadonlyMap<string, number>;
}

function readVocabulary(source: TokenizerKeys): Vocabulary {
  const written = source.list("tokenizer.ggml.tokens", isText, "texts");
  if (written === undefined || written.length === 0) {
    throw source.error("tokenizer.ggml.tokens", "the texts of the tokens");
  }
  // An empty text is one that no prompt can have; llama.cpp names it so.
  const tokens = written.map((text, id) => (text === "" ? `[EMPTY_${id}]` : text));
  const types = source.list("tokenizer.ggml.token_type", isType, "types from 1 to 6", tokens.length);
  const ids = new Map<string, number>();
  for (const [id, text] of tokens.entries()) {
    const earlier = ids.get(text);
    if (earlier !== undefined) {
      throw source.error(
        "tokenizer.ggml.tokens",
        "different texts",
        `${shown(text)} for ${earlier} and ${id}`,
      );
    }
    ids.set(text, id);
  }
  return { tokens, types: types ?? tokens.map(() => TYPE.normal), ids };
}

function readMerges(source: TokenizerKeys, { ids }: Vocabulary): (readonly [string, string])[] {
  const key = "tokenizer.ggml.merges";
  const merges = source.list(key, isText, "texts");
  if (merges === undefined) throw source.error(key, "the list of merges");
  return merges.map((merge, index) => {
    const space = merge.indexOf(" ", 1);
    const [left, right] = [merge.slice(0, space), merge.slice(space + 1)];
    const cannotBe =
      space === -1 || right === "" || [left, right, left + right].some((text) => !ids.has(text));
    if (cannotBe) {
      throw source.error(
        key,
        "pairs of tokens that together are a token, with a space between them",
        `${shown(merge)} at ${index}`,
      );
    }
    return [left, right];
  });
}

/** Tokens that are found in a text before it is split, as they are written. */
function addedTokens({ tokens, types }: Vocabulary): AddedToken[] {
  const found: readonly (number | undefined)[] = [TYPE.unknown, TYPE.control, TYPE.userDefined];
  return tokens.flatMap((content, id) =>
    found.includes(types[id])
      ? [{ id, content, special: types[id] !== TYPE.userDefined, normalized: false }]
      : [],
  );
}

/** Puts the BOS token in front of a text and the EOS token behind it, where the file or its kind says so. */
function postProcessor(
  source: TokenizerKeys,
  { tokens }: Vocabulary,
  defaults: { readonly addsBos: boolean; readonly bos?: number; readonly eos?: number },
): object {
  const special = (role: "bos" | "eos", addsByDefault: boolean, fallback: number | undefined) => {
    const key = tokenIdKey(role);
    const id = source.tokenId(key, tokens.length) ?? fallback;
    if (!(source.flag(`tokenizer.ggml.add_${role}_token`) ?? addsByDefault)) return undefined;
    const content = id === undefined ? undefined : tokens[id];
    if (content === undefined) {
      throw source.error(key, `the id of the token that is added to every text (add_${role}_token)`);
    }
    return { id: content, ids: [id], tokens: [content] };
  };
  const bos = special("bos", defaults.addsBos, defaults.bos);
  const eos = special("eos", false, defaults.eos);
  const item = (token: { readonly id: string } | undefined) =>
    token === undefined ? [] : [{ SpecialToken: { id: token.id, type_id: 0 } }];
  return {
    type: "TemplateProcessing",
    single: [...item(bos), { Sequence: { id: "A", type_id: 0 } }, ...item(eos)],
    pair: [],
    special_tokens: Object.fromEntries([bos, eos].flatMap((token) => (token ? [[token.id, token]] : []))),
  };
}

const isType = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= TYPE.normal && value <= TYPE.byte;

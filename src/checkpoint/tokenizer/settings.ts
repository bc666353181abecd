/**
 * @file The files beside tokenizer.json that also speak of tokens: tokenizer_config.json, special_tokens_map.json and
 * added_tokens.json. Read here as Python's transformers 4.57 reads them; what follows from them is decided in `follow-settings.ts`.
 */

import { join } from "node:path";
import { z } from "zod";
import { InputError } from "../../errors.js";
import { expected, issueText } from "../../field-errors.js";
import { shown } from "../../shown-text.js";
import { parseJson, readText } from "../json-file.js";
import { isTokenId, TOKEN_FIELDS } from "./tokenizer-json.js";

export const SETTINGS_FILE = "tokenizer_config.json";
const SPECIAL_TOKENS_FILE = "special_tokens_map.json";
const ADDED_TOKENS_FILE = "added_tokens.json";

/** The files of a tokenizer in a checkpoint. */
export const TOKENIZER_FILES: readonly string[] = [
  "tokenizer.json",
  SETTINGS_FILE,
  SPECIAL_TOKENS_FILE,
  ADDED_TOKENS_FILE,
];

/** Tokens that have a role, in the order in which transformers goes through them. */
const ROLES = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
] as const;

type Role = (typeof ROLES)[number];

/** A token as one of these files has it. */
export interface ListedToken {
  readonly content: string;
  readonly file: string;
  /** Undefined where the file gives none. */
  readonly id?: number;
  /** How it is found in a text; undefined where the file does not say. */
  readonly flags?: TokenFlags;
  readonly role?: Role;
}

export interface TokenFlags {
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
}

export interface TokenizerSettings {
  /** Undefined where there is no tokenizer_config.json, or it does not say. */
  readonly tokenizerClass?: string;
  /** Undefined where they are left out; null counts as false. */
  readonly addBos?: boolean;
  readonly addEos?: boolean;
  readonly addPrefixSpace?: boolean;
  /** Whether special tokens written out in a text are read as text. */
  readonly splitSpecialTokens: boolean;
  /** Every token with a role, each role once. */
  readonly special: ReadonlyMap<Role, ListedToken>;
  /** Tokens that these files list with their ids, and those with a role. */
  readonly listed: readonly ListedToken[];
  /** What is left aside, in a sentence each. */
  readonly leftAside: readonly string[];
}

const text = z.string({ error: expected("text") });
const flag = z.boolean({ error: expected("true or false") }).nullish();
const writtenToken = z.looseObject(TOKEN_FIELDS, { error: expected("a token with content") });
const token = z.union([text, writtenToken], { error: expected("a token: text, or an object with content") });

const tokensWithRoles = {
  ...Object.fromEntries(ROLES.map((role) => [role, token.nullish()])),
  additional_special_tokens: z.array(token, { error: expected("an array of tokens") }).nullish(),
};

const anObject = { error: expected("an object") };
const settingsFile = z.looseObject(
  {
    ...tokensWithRoles,
    tokenizer_class: text.nullish(),
    add_bos_token: flag,
    add_eos_token: flag,
    add_prefix_space: flag,
    split_special_tokens: flag,
    added_tokens_decoder: z
      .record(z.string().regex(/^\d{1,8}$/, "expected token ids as keys"), writtenToken, anObject)
      .nullish(),
  },
  anObject,
);
const specialTokensFile = z.looseObject(tokensWithRoles, anObject);

type WrittenToken = z.infer<typeof token>;
type WithRoles = z.infer<typeof specialTokensFile>;

/**
 * @param folder of the checkpoint
 * @throws InputError naming the file and the field, for a file that is broken or has a field of another type
 */
export async function readTokenizerSettings(folder: string): Promise<TokenizerSettings> {
  const config = await read(join(folder, SETTINGS_FILE), settingsFile);
  const map = await read(join(folder, SPECIAL_TOKENS_FILE), specialTokensFile);
  const added = await read(join(folder, ADDED_TOKENS_FILE), z.unknown());
  const ids = added === undefined ? new Map<string, number>() : idsIn(added, join(folder, ADDED_TOKENS_FILE));
  const decoder = config?.added_tokens_decoder;
  // Whoever wrote added_tokens_decoder wrote all that the two other files say into this one.
  const older = decoder ? undefined : map;
  const special = new Map([
    ...rolesOf(config ?? {}, SETTINGS_FILE),
    ...rolesOf(older ?? {}, SPECIAL_TOKENS_FILE),
  ]);
  const additional = older?.additional_special_tokens
    ? listOf(older.additional_special_tokens, SPECIAL_TOKENS_FILE)
    : listOf(config?.additional_special_tokens ?? [], SETTINGS_FILE);
  const withIds = decoder
    ? Object.entries(decoder).map(([key, written]) => ({
        ...listedToken(written, SETTINGS_FILE),
        id: Number(key),
      }))
    : [...ids].map(([content, id]) => ({ content, id, file: ADDED_TOKENS_FILE }));
  return {
    ...(config?.tokenizer_class != null && { tokenizerClass: config.tokenizer_class }),
    ...(config && "add_bos_token" in config && { addBos: config.add_bos_token ?? false }),
    ...(config && "add_eos_token" in config && { addEos: config.add_eos_token ?? false }),
    ...(config && { addPrefixSpace: config.add_prefix_space ?? false }),
    splitSpecialTokens: config?.split_special_tokens ?? false,
    special,
    listed: [...withIds.sort((a, b) => a.id - b.id), ...special.values(), ...additional],
    leftAside: [
      ...differentRoles(
        rolesOf(config ?? {}, SETTINGS_FILE),
        rolesOf(map ?? {}, SPECIAL_TOKENS_FILE),
        special,
      ),
      ...(decoder ? notInDecoder(ids, decoder) : []),
    ],
  };
}

async function read<T>(file: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const source = await readText(file);
  if (source === undefined) return undefined;
  const parsed = schema.safeParse(parseJson(source, file));
  if (parsed.success) return parsed.data;
  throw broken(
    file,
    parsed.error.issues
      .slice(0, 1)
      .map((issue) => issueText(issue))
      .join(),
  );
}

function broken(file: string, what: string): InputError {
  return new InputError(`loadModel: ${file}: ${what}`);
}

/** Not by a schema, which would leave out a token that is called __proto__. */
function idsIn(value: unknown, file: string): ReadonlyMap<string, number> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw broken(file, `expected an object of token ids, got ${shown(value)}`);
  }
  return new Map(
    Object.entries(value).map(([content, id]: [string, unknown]) => {
      if (content !== "" && isTokenId(id)) return [content, id] as const;
      throw broken(file, `${shown(content)}: expected a token id, got ${shown(id)}`);
    }),
  );
}

function listedToken(written: WrittenToken, file: string): ListedToken {
  if (typeof written === "string") return { content: written, file };
  const { content, single_word = false, lstrip = false, rstrip = false, special = false } = written;
  const flags = { single_word, lstrip, rstrip, normalized: written.normalized ?? !special };
  return { content, file, flags };
}

function listOf(written: readonly WrittenToken[], file: string): ListedToken[] {
  return written.map((one) => listedToken(one, file)).filter(({ content }) => content !== "");
}

function rolesOf(fields: Partial<WithRoles>, file: string): Map<Role, ListedToken> {
  return new Map(
    ROLES.flatMap((role) => {
      const written = token.safeParse(fields[role]);
      // An empty text says that there is none.
      if (!written.success || written.data === "") return [];
      return [[role, { ...listedToken(written.data, file), role }] as const];
    }),
  );
}

function differentRoles(
  config: ReadonlyMap<Role, ListedToken>,
  map: ReadonlyMap<Role, ListedToken>,
  taken: ReadonlyMap<Role, ListedToken>,
): string[] {
  return [...map].flatMap(([role, { content }]) => {
    const other = config.get(role);
    const used = taken.get(role);
    if (used === undefined || other === undefined || other.content === content) return [];
    return [
      `${role} is ${JSON.stringify(other.content)} in ${SETTINGS_FILE} and ${JSON.stringify(content)} in ` +
        `${SPECIAL_TOKENS_FILE}: the ${used.content === content ? "second" : "first"} is taken`,
    ];
  });
}

function notInDecoder(
  ids: ReadonlyMap<string, number>,
  decoder: Readonly<Record<string, { readonly content: string }>>,
): string[] {
  const decoded = new Map(Object.entries(decoder).map(([key, { content }]) => [content, Number(key)]));
  const different = [...ids].filter(([content, one]) => decoded.get(content) !== one);
  const [first] = different;
  if (first === undefined) return [];
  return [
    `${ADDED_TOKENS_FILE} has ${different.length === 1 ? "a token" : `${different.length} tokens`} that added_tokens_decoder ` +
      `of ${SETTINGS_FILE} has not with that id, first ${JSON.stringify(first[0])} (${first[1]}): it is left aside`,
  ];
}

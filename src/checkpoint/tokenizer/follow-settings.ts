/**
 * @file What follows from the files beside tokenizer.json. Where they disagree with it, what transformers 4.57 does is done, and
 * the user is told: a token more or less changes every result. What is put
 * around a text is decided in `follow-class.ts`.
 */

import { shown } from "../../shown-text.js";
import { type ListedToken, SETTINGS_FILE, type TokenFlags, type TokenizerSettings } from "./settings.js";
import type { AddedToken, TokenizerJson } from "./tokenizer-json.js";
import type { Tokens } from "./tokens.js";

/** Takes a sentence for the user. */
export type Tell = (notice: string) => void;

/**
 * The tokenizer that tokenizer.json and the settings describe together, but for what is put around a text.
 * @param tokens of `json`; gets those that only the settings have
 */
export function followSettings(
  json: TokenizerJson,
  settings: TokenizerSettings,
  tokens: Tokens,
  tell: Tell,
): TokenizerJson {
  for (const notice of settings.leftAside) tell(notice);
  if (settings.splitSpecialTokens) {
    tell(
      `${SETTINGS_FILE} says split_special_tokens: true, which is not done: special tokens written in a text are read as such`,
    );
  }
  const added_tokens = withListedTokens(json.added_tokens, settings.listed, tokens, tell);
  return followPrefixSpace({ ...json, added_tokens }, settings, tell);
}

/** Tokens that only the other files have are found in a text, too; those that both have, as the other file says. */
function withListedTokens(
  written: readonly AddedToken[],
  listed: readonly ListedToken[],
  tokens: Tokens,
  tell: Tell,
): AddedToken[] {
  const added = new Map(written.map((token) => [token.content, token]));
  const notices = new Notices();
  for (const { content, id, file, flags, role } of listed) {
    const known = tokens.idOf(content);
    const there = added.get(content);
    const name = shown(content);
    if (known !== undefined && id !== undefined && id !== known) {
      notices.add(`${name} has the id ${id} in ${file} and ${known} in tokenizer.json, which is taken`);
    }
    if (there !== undefined) {
      if (flags === undefined || role !== undefined || sameFlags(there, flags)) continue;
      added.set(content, { ...there, ...flags });
      notices.add(
        `${name} is found in a text as ${file} says (${flagsText(flags)}), and not as tokenizer.json says`,
      );
      continue;
    }
    const taken = known ?? tokens.add(content);
    added.set(content, { id: taken, content, ...(flags ?? PLAIN), special: true });
    notices.add(
      known === undefined
        ? `${name} of ${file} is no token of tokenizer.json: it is read as ${taken}${id === undefined || id === taken ? "" : `, not as ${id}`}`
        : `${name} (${known}) is found in a text before it is split, as ${file} lists it; to tokenizer.json it is a word like others`,
    );
  }
  notices.tell(tell);
  return [...added.values()];
}

const PLAIN: TokenFlags = { single_word: false, lstrip: false, rstrip: false, normalized: false };

function flagsText(flags: TokenFlags): string {
  return Object.entries(flags)
    .map(([name, value]) => `${name}: ${value}`)
    .join(", ");
}

/** Many tokens are told of together. */
class Notices {
  readonly #all: string[] = [];

  add(text: string): void {
    this.#all.push(text);
  }

  tell(tell: Tell): void {
    const [first, ...more] = this.#all;
    if (first === undefined) return;
    tell(
      more.length === 0
        ? first
        : `${first}; and ${more.length} more such ${more.length === 1 ? "token" : "tokens"}`,
    );
  }
}

function sameFlags(there: AddedToken, flags: TokenFlags): boolean {
  return (
    (there.single_word ?? false) === flags.single_word &&
    (there.lstrip ?? false) === flags.lstrip &&
    (there.rstrip ?? false) === flags.rstrip &&
    (there.normalized ?? !there.special) === flags.normalized
  );
}

/** transformers puts a space in front of a text by add_prefix_space alone, where bytes are all that a text is split into. */
function followPrefixSpace(
  json: TokenizerJson,
  { addPrefixSpace }: TokenizerSettings,
  tell: Tell,
): TokenizerJson {
  const step = json.pre_tokenizer;
  if (addPrefixSpace === undefined || step === null || Reflect.get(step, "type") !== "ByteLevel") return json;
  const written: unknown = Reflect.get(step, "add_prefix_space");
  if ((written ?? false) === addPrefixSpace) return json;
  tell(
    `tokenizer.json says add_prefix_space: ${written}, and ${SETTINGS_FILE} ${addPrefixSpace ? "true" : "does not"}: ` +
      `${addPrefixSpace ? "a space" : "no space"} is put in front of a text that has none, as transformers 4.57 does`,
  );
  return { ...json, pre_tokenizer: { ...step, add_prefix_space: addPrefixSpace } };
}

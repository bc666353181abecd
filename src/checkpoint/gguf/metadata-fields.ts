/**
 * @file The metadata of a GGUF file as the fields of a config.json, so that a family reads both in the same way; errors name the
 * key of the file. A key that is not understood is an error: it may change what the model computes.
 */

import { InputError } from "../../errors.js";
import { shown, shownName } from "../../shown-text.js";
import { ConfigFields } from "../config-fields.js";
import type { GgufMetadata } from "./gguf-file.js";

/** What a key of an architecture says. */
export type KeyMeaning =
  /** A field of the family's config.json. */
  | { readonly field: string }
  /** Something that is only supported as it is here. */
  | { readonly only: readonly (number | string | boolean)[]; readonly because: string }
  /** Read by the architecture itself. */
  | "read elsewhere";

/**
 * Keys that describe a file and change nothing: where the model is from, how it was quantized. `general.architecture`, `.type`,
 * `.alignment` and `.quantization_version` are read elsewhere. The last two kinds are written by programs that quantize.
 */
const DESCRIPTIVE = /^(?:general\.|split\.|quantize\.imatrix\.|mradermacher\.)/;

/** Keys that `tokenizer.ts` reads, or refuses. */
const OF_TOKENIZER = /^tokenizer\./;

/**
 * @param architecture the prefix of the architecture's keys
 * @param keys what each of them says, without the prefix
 * @param constants fields that the file has no key for, as the architecture implies them; a key goes before them
 * @throws InputError naming the key that is not understood, or has a value that is not supported
 */
export function metadataFields(
  metadata: GgufMetadata,
  file: string,
  architecture: string,
  keys: Readonly<Record<string, KeyMeaning>>,
  constants: Readonly<Record<string, unknown>>,
): ConfigFields {
  const values: Record<string, unknown> = { ...constants };
  const names = new Map<string, string>();
  for (const [suffix, meaning] of Object.entries(keys)) {
    if (typeof meaning === "object" && "field" in meaning)
      names.set(meaning.field, `${architecture}.${suffix}`);
  }
  for (const [key, found] of metadata) {
    if (DESCRIPTIVE.test(key) || OF_TOKENIZER.test(key)) continue;
    const suffix = key.startsWith(`${architecture}.`) ? key.slice(architecture.length + 1) : undefined;
    if (suffix === undefined || !Object.hasOwn(keys, suffix)) {
      throw new InputError(
        `loadModel: expected only metadata of ${file} that is understood, got ${shownName(key)} ${shown(found)}`,
      );
    }
    const meaning = keys[suffix];
    if (meaning === "read elsewhere") continue;
    const value = typeof found === "bigint" ? Number(found) : found;
    if ("field" in meaning) values[meaning.field] = value;
    else if (!meaning.only.some((supported) => supported === value)) {
      throw new InputError(
        `loadModel: expected ${key} of ${file} to be ${meaning.only.join(" or ")} (${meaning.because}), got ${shown(found)}`,
      );
    }
  }
  return new ConfigFields(file, values, (field) => names.get(field) ?? field);
}

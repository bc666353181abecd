/**
 * @file Which tokenizers can take for ever. A regular expression that somebody made up may try more ways to match a text than there
 * are atoms, and a few replacements one after the other can make gigabytes of a letter. The patterns of the published tokenizers do
 * not, so these run as they are; all others run where they can be stopped.
 */

import { PRE_TOKENIZERS } from "../gguf/pre-tokenizers.js";
import type { TokenizerJson } from "./tokenizer-json.js";
import { STEPS_IN } from "./tokenizer-parts.js";

/** Of published tokenizer.json files, besides those that GGUF files name. Line breaks are written as escapes. */
const PUBLISHED: readonly string[] = [
  // DeepSeek LLM, V2 and V3
  "[一-龥぀-ゟ゠-ヿ]+",
  String.raw`\p{N}{1,3}`,
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  // Falcon
  "[0-9][0-9][0-9]",
  // Bloom
  String.raw` ?[^(\s|[.,!?…。,、।۔،])]+`,
  // T5, XLNet, CLIP
  " {2,}",
  String.raw`\s+`,
];

const KNOWN: ReadonlySet<string> = new Set([
  ...[...PRE_TOKENIZERS.values()].flatMap(({ patterns }) => patterns),
  ...PUBLISHED,
]);

/**
 * The first pattern of a tokenizer that is not known to end, or a replacement that makes texts longer.
 * @param kinds the steps to look at
 */
export function strangePattern(
  json: TokenizerJson,
  kinds: readonly ("normalizer" | "pre_tokenizer" | "decoder")[],
): string | undefined {
  for (const kind of kinds) {
    for (const step of stepsOf(json[kind], STEPS_IN[kind])) {
      const pattern: unknown = Reflect.get(step, "pattern");
      if (pattern === undefined) continue;
      const regex: unknown = Reflect.get(Object(pattern), "Regex");
      const found = String(regex ?? Reflect.get(Object(pattern), "String"));
      const content: unknown = Reflect.get(step, "content") ?? "";
      const grows = String(content).length > Math.max(1, regex === undefined ? found.length : 1);
      const isKnown = regex === undefined || KNOWN.has(found.replaceAll("\r", "\\r").replaceAll("\n", "\\n"));
      if (!isKnown || grows) return found;
    }
  }
  return undefined;
}

function* stepsOf(step: object | null, name: string): Generator<object> {
  if (step === null) return;
  yield step;
  const inner: unknown = Reflect.get(step, name);
  if (Array.isArray(inner)) for (const one of inner) yield* stepsOf(one, name);
}

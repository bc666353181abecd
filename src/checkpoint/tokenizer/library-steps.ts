/**
 * @file Steps of a tokenizer.json that the library does not run as the Python library does, written as steps that it runs so. It
 * knows one way to split, with every match a part of its own; the others are other patterns split in that way.
 */

import { STEPS_IN } from "./tokenizer-parts.js";

/** Characters of ASCII and of Unicode that both libraries take for punctuation. */
const PUNCTUATION = String.raw`[\p{P}\u0021-\u002F\u003A-\u0040\u005B-\u0060\u007B-\u007E]`;

const ANY = String.raw`[\s\S]`;

/** What a behaviour does with what lies between matches instead of matches. Removed keeps the matches there, as the library does. */
const INVERTED: ReadonlyMap<unknown, string> = new Map([
  ["MergedWithPrevious", "MergedWithNext"],
  ["MergedWithNext", "MergedWithPrevious"],
]);

/** The same pre-tokenizer for the library. */
export function stepsForLibrary(step: object | null): object | null {
  if (step === null) return null;
  const field = (name: string): unknown => Reflect.get(step, name);
  const isStep = (value: unknown): value is object => typeof value === "object" && value !== null;
  const inner = field(STEPS_IN.pre_tokenizer);
  switch (field("type")) {
    case "Sequence":
      return {
        ...step,
        pretokenizers: (Array.isArray(inner) ? inner.filter(isStep) : []).map(stepsForLibrary),
      };
    case "Punctuation":
      return split(PUNCTUATION, field("behavior"), false);
    case "Split":
      return split(regexOf(field("pattern")), field("behavior"), field("invert") === true);
    case "Metaspace": {
      // What old files have in place of a scheme.
      const scheme = field("prepend_scheme") ?? (field("add_prefix_space") === false ? "never" : "always");
      const marked = { ...step, prepend_scheme: scheme };
      if (field("split") === false) return marked;
      const mark = regexOf({ String: field("replacement") ?? "\u2581" });
      return { type: "Sequence", pretokenizers: [marked, split(mark, "MergedWithNext", false)] };
    }
    default:
      return step;
  }
}

function regexOf(pattern: unknown): string {
  const { Regex, String: text } = Object(pattern);
  return typeof Regex === "string" ? Regex : String(text).replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

function split(regex: string, behavior: unknown, invert: boolean): object {
  const done = (invert ? INVERTED.get(behavior) : undefined) ?? behavior;
  const parts = (Regex: string, more: object = {}) => ({
    type: "Split",
    pattern: { Regex },
    behavior: "Isolated",
    invert: false,
    ...more,
  });
  switch (done) {
    case "Removed":
      return parts(regex, { behavior: "Removed", invert });
    case "MergedWithPrevious":
      return parts(`(?:(?!${regex})${ANY})*(?:${regex})`);
    case "MergedWithNext":
      return parts(`(?:${regex})(?:(?!${regex})${ANY})*`);
    case "Contiguous":
      return parts(`(?:${regex})+`);
    default:
      return parts(regex);
  }
}

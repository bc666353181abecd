/** @file What a tokenizer puts around every text: the special tokens of the post-processor of a tokenizer.json. */

import { z } from "zod";
import { InputError } from "../../errors.js";
import { shown } from "../../shown-text.js";
import type { TokenizerJson } from "./tokenizer-json.js";
import { AROUND_FIELDS, TEMPLATE_FIELDS } from "./tokenizer-parts.js";
import type { Tokens } from "./tokens.js";

const sequence = z.looseObject({ type: z.literal("Sequence"), processors: z.array(z.unknown()) });
const template = z.looseObject({ type: z.literal("TemplateProcessing"), ...TEMPLATE_FIELDS });
const aroundText = z.looseObject({ type: z.enum(["BertProcessing", "RobertaProcessing"]), ...AROUND_FIELDS });

/** Token ids around a text. */
export interface Template {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/**
 * The template of a tokenizer.json, as the Python library runs it: by the ids that stand beside the names.
 * @throws InputError for a template that does not have the text once, or whose tokens are none
 */
export function readTemplate(json: TokenizerJson, tokens: Tokens, file: string): Template {
  const refuse = (expected: string, found: unknown) =>
    new InputError(`loadModel: ${file}: post_processor: expected ${expected}, got ${shown(found)}`);
  const idOf = (name: string): number => {
    const id = tokens.idOf(name);
    if (id === undefined) throw refuse("tokens of this file", name);
    return id;
  };
  const ofTemplate = ({ single, special_tokens }: z.infer<typeof template>): Template => {
    const names = single.map((item) => ("SpecialToken" in item ? item.SpecialToken.id : undefined));
    const at = names.indexOf(undefined);
    if (at < 0 || names.lastIndexOf(undefined) > at)
      throw refuse("a template that has the text once", single);
    const ids = (some: readonly (string | undefined)[]) =>
      some.flatMap((name = "") => {
        const written = new Map(Object.entries(special_tokens ?? {})).get(name)?.ids ?? [idOf(name)];
        const strange = written.find((id) => tokens.textOf(id) === undefined);
        if (strange !== undefined) throw refuse(`ids of tokens for ${shown(name)}`, strange);
        return written;
      });
    return { before: ids(names.slice(0, at)), after: ids(names.slice(at + 1)) };
  };
  // Types were checked when the file was read: what is none of these puts nothing around a text.
  const read = (step: unknown): Template => {
    const steps = sequence.safeParse(step);
    if (steps.success) return steps.data.processors.map(read).reduce(around, { before: [], after: [] });
    const marks = aroundText.safeParse(step);
    if (marks.success) return { before: [idOf(marks.data.cls[0])], after: [idOf(marks.data.sep[0])] };
    const written = template.safeParse(step);
    return written.success ? ofTemplate(written.data) : { before: [], after: [] };
  };
  return read(json.post_processor);
}

function around(inner: Template, outer: Template): Template {
  return { before: [...outer.before, ...inner.before], after: [...inner.after, ...outer.after] };
}

/** The same tokenizer with this template in place of its own. */
export function withTemplate(
  json: TokenizerJson,
  { before, after }: Template,
  tokens: Tokens,
): TokenizerJson {
  const items = (ids: readonly number[]) =>
    ids.map((id) => ({ SpecialToken: { id: tokens.textOf(id) ?? "", type_id: 0 } }));
  const single = [...items(before), { Sequence: { id: "A", type_id: 0 } }, ...items(after)];
  return { ...json, post_processor: { type: "TemplateProcessing", single, pair: [] } };
}

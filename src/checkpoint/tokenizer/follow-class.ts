/**
 * @file What is put around a text. Some classes of Python's transformers 4.57 do it by add_bos_token and add_eos_token of
 * tokenizer_config.json, whatever tokenizer.json says, the others by tokenizer.json alone. The same is done here, and where the two
 * files disagree, the user is told: a start token more or less changes every result.
 */

import { shown } from "../../shown-text.js";
import type { Tell } from "./follow-settings.js";
import { SETTINGS_FILE, type TokenizerSettings } from "./settings.js";
import type { Template } from "./template.js";
import type { Tokens } from "./tokens.js";

/** Classes of transformers that put tokens around a text by add_bos_token and add_eos_token, whatever tokenizer.json does. */
interface TemplateClass {
  readonly addBos: boolean;
  readonly bos: string;
  readonly eos: string;
}

const LLAMA: TemplateClass = { addBos: true, bos: "<s>", eos: "</s>" };
const TEMPLATE_CLASSES: ReadonlyMap<string, TemplateClass> = new Map([
  ["LlamaTokenizer", LLAMA],
  ["CodeLlamaTokenizer", LLAMA],
  ["GemmaTokenizer", { addBos: true, bos: "<bos>", eos: "<eos>" }],
  ["CohereTokenizer", { addBos: true, bos: "<BOS_TOKEN>", eos: "<|END_OF_TURN_TOKEN|>" }],
  ["GPTNeoXTokenizer", { addBos: false, bos: "<|endoftext|>", eos: "<|endoftext|>" }],
]);

/** The class of a checkpoint that names none, by its model_type. */
const CLASS_OF_TYPE: ReadonlyMap<string, string> = new Map([
  ["llama", "LlamaTokenizer"],
  ["mistral", "LlamaTokenizer"],
  ["gpt_neox", "GPTNeoXTokenizer"],
]);

/**
 * @param template of tokenizer.json
 * @param modelType of config.json
 */
export function followClass(
  template: Template,
  settings: TokenizerSettings,
  tokens: Tokens,
  modelType: string,
  tell: Tell,
): Template {
  const { special, addBos, addEos } = settings;
  const named = settings.tokenizerClass ?? CLASS_OF_TYPE.get(modelType);
  const rules = TEMPLATE_CLASSES.get(named?.replace(/Fast$/, "") ?? "");
  // Without a class and without a start token nothing but the model's type speaks for one.
  const rulesAreMeant = settings.tokenizerClass !== undefined || special.has("bos_token");
  if (rules === undefined || !rulesAreMeant) {
    tellIgnored(template, settings, tokens, tell);
    return template;
  }
  const tokenOf = (role: "bos_token" | "eos_token", usual: string): number[] => {
    const text = special.get(role)?.content ?? usual;
    const id = tokens.idOf(text);
    if (id !== undefined) return [id];
    tell(
      `${named} of ${SETTINGS_FILE} puts its ${role} ${shown(text)} around a text, which is no token of tokenizer.json: it is left out`,
    );
    return [];
  };
  const followed: Template = {
    before: (addBos ?? rules.addBos) ? tokenOf("bos_token", rules.bos) : [],
    after: (addEos ?? false) ? tokenOf("eos_token", rules.eos) : [],
  };
  if (sameTemplate(template, followed)) return template;
  tell(
    `tokenizer.json puts ${templateText(template, tokens)}; ${SETTINGS_FILE} (${named}, ${flagText("add_bos_token", addBos, rules.addBos)}, ` +
      `${flagText("add_eos_token", addEos, false)}) puts ${templateText(followed, tokens)}, which is done, as transformers 4.57 does`,
  );
  return followed;
}

/** Flags that the class of the tokenizer does not act on, where they say something else than tokenizer.json does. */
function tellIgnored(
  template: Template,
  { special, addBos, addEos, tokenizerClass }: TokenizerSettings,
  tokens: Tokens,
  tell: Tell,
): void {
  const disagrees = (flag: boolean | undefined, role: "bos_token" | "eos_token", ids: readonly number[]) => {
    const text = special.get(role)?.content;
    if (flag === undefined || text === undefined) return false;
    return ids.some((id) => tokens.textOf(id) === text) !== flag;
  };
  const flags = [
    ...(disagrees(addBos, "bos_token", template.before) ? [`add_bos_token: ${addBos}`] : []),
    ...(disagrees(addEos, "eos_token", template.after) ? [`add_eos_token: ${addEos}`] : []),
  ];
  const start = special.get("bos_token")?.content;
  if (flags.length > 0) {
    tell(
      `${SETTINGS_FILE} says ${flags.join(" and ")}, which ${tokenizerClass ?? "its class"} does not act on in transformers 4.57: ` +
        `tokenizer.json is followed, which puts ${templateText(template, tokens)}`,
    );
  } else if (
    start !== undefined &&
    template.before.length > 0 &&
    !hasSpecial(template.before, special, tokens)
  ) {
    tell(
      `bos_token of ${special.get("bos_token")?.file} is ${shown(start)}; tokenizer.json puts ${templateText(template, tokens)}, which is done`,
    );
  }
}

function hasSpecial(ids: readonly number[], special: TokenizerSettings["special"], tokens: Tokens): boolean {
  const texts = new Set([...special.values()].map(({ content }) => content));
  return ids.every((id) => texts.has(tokens.textOf(id) ?? ""));
}

function flagText(name: string, value: boolean | undefined, usual: boolean): string {
  return value === undefined ? `${name} left out, which means ${usual}` : `${name}: ${value}`;
}

function sameTemplate(a: Template, b: Template): boolean {
  const same = (left: readonly number[], right: readonly number[]) =>
    left.length === right.length && left.every((id, i) => id === right[i]);
  return same(a.before, b.before) && same(a.after, b.after);
}

/** `"<s>" (0) before a text and nothing behind it` */
export function templateText({ before, after }: Template, tokens: Tokens): string {
  const text = (ids: readonly number[]) =>
    ids.length === 0 ? "nothing" : ids.map((id) => `${shown(tokens.textOf(id) ?? "")} (${id})`).join(" ");
  return before.length + after.length === 0
    ? "nothing around a text"
    : `${text(before)} before a text and ${text(after)} behind it`;
}

/**
 * @file Tensors that a checkpoint has and its plan does not read. What belongs to the computation is never passed over: a layer that
 * the config does not count, a bias that it leaves out, a norm that the family does not know. What does not is told, once, so that
 * whoever meant it to be used hears of it.
 */

import { InputError } from "../errors.js";
import { shownName } from "../shown-text.js";
import type { ConfigFields } from "./config-fields.js";
import type { Family, LayerNames } from "./families/family.js";
import type { StoredTensors } from "./stored-tensors.js";

/** Names in a message. */
const NAMED = 3;

/** Outside of the layers, of any family: embeddings, norms, language model heads. */
const OF_COMPUTATION =
  /^(?:(?:model|transformer|gpt_neox)\.)?(?:\w*(?:norm|embed|ln_)\w*|wte|wpe)\.|^(?:lm_head|embed_out|output)\./;

/** Heads in the place of that of a language model. */
const OF_CLASSIFIER = /^(?:score|classifier|classification_head|qa_outputs|reward_head|regression_head)\./;

/**
 * Compares the layers that are counted with those that the files hold.
 * @param fields what counts them
 * @throws InputError naming the field and a tensor where they are not as many
 */
export function checkLayerCount(
  { field, pattern }: Pick<LayerNames, "field" | "pattern">,
  fields: ConfigFields,
  layers: number,
  tensors: StoredTensors,
): void {
  let last: { readonly layer: number; readonly name: string } | undefined;
  for (const name of tensors.names()) {
    const layer = layerOf(pattern, name);
    if (layer !== undefined && (last === undefined || layer > last.layer)) last = { layer, name };
  }
  if (last === undefined || last.layer + 1 === layers) return;
  throw fields.error(
    field,
    `${last.layer + 1}, as the last layer in ${tensors.listing} is that of ${shownName(last.name)}`,
  );
}

function layerOf(pattern: RegExp, name: string): number | undefined {
  const [, layer] = pattern.exec(name) ?? [];
  return layer === undefined ? undefined : Number(layer);
}

/**
 * Looks at the tensors that nobody has asked for.
 * @returns a sentence for the user where there are some that a model of the family has no place for; undefined where all of them
 *   are buffers that are computed here
 * @throws InputError for one that belongs to the computation
 */
export function judgeUnused({ layers, modelType }: Family, tensors: StoredTensors): string | undefined {
  const others = tensors.unchecked().filter((name) => !layers.buffers.test(name));
  const classifier = others.find((name) => OF_CLASSIFIER.test(name));
  if (classifier !== undefined) {
    throw new InputError(
      `loadModel: expected a language model in ${tensors.listing}, got tensor ${shownName(classifier)}, as of a classifier or a reward model`,
    );
  }
  const needed = others.filter((name) => layers.pattern.test(name) || OF_COMPUTATION.test(name));
  if (needed.length > 0) throw unusedError(modelType, tensors, needed);
  if (others.length === 0) return undefined;
  return (
    `warning: ${tensors.listing} has tensors that ${modelType} has no place for, and that are not used: ` +
    namesText(others)
  );
}

/** The error for tensors that a family should have a use for. */
export function unusedError(
  modelType: string,
  tensors: StoredTensors,
  [name, ...more]: readonly string[],
): InputError {
  const weight = name.replace(/\.bias$/, ".weight");
  const isBias = weight !== name && tensors.has(weight);
  const reason = isBias ? ", a bias that its config does not ask for" : "";
  return new InputError(
    `loadModel: expected only tensors of ${tensors.listing} that ${modelType} has, got ${shownName(name)}${reason}` +
      (more.length > 0 ? ` and ${more.length} more` : ""),
  );
}

/** "a, b, c and 7 more" */
export function namesText(names: readonly string[]): string {
  const named = names.slice(0, NAMED).map((name) => shownName(name));
  const more = names.length - named.length;
  return named.join(", ") + (more > 0 ? ` and ${more} more` : "");
}

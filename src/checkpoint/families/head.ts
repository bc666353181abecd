/**
 * @file Where token embedding and unembedding are, which a config may say are one, and what the files say of it. As transformers
 * does since version 5: a config that ties them is obeyed where one of them is stored, whichever it is, or both with the same
 * values; where both are stored and differ, the config is wrong of these weights, and each is used for what it is.
 */

import { InputError } from "../../errors.js";
import type { ConfigFields } from "../config-fields.js";
import type { StoredTensors } from "../stored-tensors.js";
import { type ModelPlan, TensorSource } from "../weight-plan.js";
import type { TensorNames } from "./family.js";

/** What a family says of its unembedding. */
export interface Head {
  /** What it is called, the customary name first. */
  readonly names: readonly string[];
  /** Whether it is the token embedding where `tie_word_embeddings` is left out. */
  readonly tiedByDefault: boolean;
}

const TIE = "tie_word_embeddings";

function isTied(fields: ConfigFields, head: Head): boolean {
  return fields.flag(TIE, head.tiedByDefault);
}

/** What `tie_word_embeddings` says, for a text: "by default true". */
function saidOf(fields: ConfigFields, head: Head): string {
  return `${fields.has(TIE) ? "" : "by default "}${isTied(fields, head)}`;
}

/**
 * The name under which the token embedding is stored, without ".weight".
 * @param name what the family calls it
 */
export function embeddingName(fields: ConfigFields, names: TensorNames, head: Head, name: string): string {
  if (names.has(`${name}.weight`) || !isTied(fields, head)) return name;
  return storedHead(names, head)?.replace(/\.weight$/, "") ?? name;
}

/**
 * Where the unembedding comes from: the token embedding in a tied model, otherwise a tensor of its own.
 * @throws InputError when the model is not tied and has none
 */
export function unembeddingSource(
  fields: ConfigFields,
  names: TensorNames,
  head: Head,
  tokens: TensorSource,
): TensorSource {
  if (isTied(fields, head)) return tokens;
  const name = storedHead(names, head);
  if (name === undefined) {
    throw new InputError(
      `loadModel: expected tensor ${head.names.join(" or ")} in ${names.listing}, as ${TIE} of ` +
        `${fields.file} is ${saidOf(fields, head)}, got a checkpoint without it`,
    );
  }
  return new TensorSource(name, tokens.storedShape);
}

function storedHead(names: TensorNames, head: Head): string | undefined {
  return head.names.find((name) => names.has(name));
}

/**
 * The plan with the unembedding that is right for what is stored: where the config ties it and the files have another one.
 * @returns also a sentence for the user where the config was not followed
 * @throws InputError where the unembedding that is stored has another shape than the config says
 */
export async function withStoredHead(
  plan: ModelPlan,
  fields: ConfigFields,
  head: Head,
  tensors: StoredTensors,
): Promise<{ readonly plan: ModelPlan; readonly notice?: string }> {
  const { tokens } = plan.embedding;
  const name = storedHead(tensors, head);
  if (plan.unembedding.rows !== tokens || name === undefined || name === tokens.name) return { plan };
  for (const stored of [tokens.name, name]) tensors.check(stored, tokens.storedShape);
  if (await tensors.haveSameValues(tokens.name, name)) return { plan };
  const rows = new TensorSource(name, tokens.storedShape);
  return {
    plan: { ...plan, unembedding: { ...plan.unembedding, rows } },
    notice:
      `warning: ${TIE} of ${fields.file} is ${saidOf(fields, head)}, but ${tensors.listing} has ${name} with other values than ` +
      `${tokens.name}: ${name} is used, and the model is not tied`,
  };
}

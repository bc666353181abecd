/** @file The supported families by the `model_type` of their config.json. */

import type { ConfigFields } from "../config-fields.js";
import type { Family } from "./family.js";
import { gptNeox } from "./gpt-neox.js";
import { gpt2 } from "./gpt2.js";
import { llama } from "./llama.js";
import { mistral } from "./mistral.js";
import { qwen2 } from "./qwen2.js";
import { qwen3 } from "./qwen3.js";

const FAMILIES: ReadonlyMap<string, Family> = new Map(
  [gpt2, gptNeox, llama, mistral, qwen2, qwen3].map((family) => [family.modelType, family]),
);

/**
 * The family that reads a checkpoint.
 * @throws InputError when there is none for its `model_type`
 */
export function familyOf(fields: ConfigFields): Family {
  const family = fields.has("model_type") ? FAMILIES.get(fields.text("model_type")) : undefined;
  if (family === undefined) {
    throw fields.error("model_type", `one of the supported families ${[...FAMILIES.keys()].join(", ")}`);
  }
  return family;
}

/** @file The architectures of GGUF files that are supported, by their `general.architecture`. */

import { InputError } from "../../errors.js";
import { shown } from "../../shown-text.js";
import type { GgufArchitecture } from "./architecture.js";
import type { GgufMetadata } from "./gguf-file.js";
import { gpt2 } from "./gpt2.js";
import { llama, qwen2, qwen3 } from "./llama.js";

const ARCHITECTURES: ReadonlyMap<unknown, GgufArchitecture> = new Map(
  [gpt2, llama, qwen2, qwen3].map((architecture) => [architecture.name, architecture]),
);

/**
 * The architecture of a file.
 * @throws InputError when there is none for its `general.architecture`
 */
export function architectureOf(metadata: GgufMetadata, file: string): GgufArchitecture {
  const name = metadata.get("general.architecture");
  const architecture = ARCHITECTURES.get(name);
  if (architecture) return architecture;
  throw new InputError(
    `loadModel: expected general.architecture of ${file} to be one of the supported ${[...ARCHITECTURES.keys()].join(", ")}, ` +
      `got ${name === undefined ? "no such key" : shown(name)}`,
  );
}

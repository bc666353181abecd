/**
 * @file Tensors, kernels and gradients meet in @tensorflow/tfjs-core. Two copies of it in one process do not fail at
 * once: they share some registries and not others, and a tensor of one copy is foreign to the operations of the other.
 * So an engine starts only when everything it brings resolves to the copy that this package uses.
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { RunError } from "../errors.js";

const CORE = "@tensorflow/tfjs-core";

/** The TensorFlow.js packages are released together, and their kernels rely on internals of the same release. */
const RELEASE = "4.22.0";

/**
 * Checks that the tfjs-core found by following `chain` is the one that this package uses, at the expected release.
 *
 * @param chain package names, each one resolved from the place of the one before, the first from this package:
 *   the last one requires tfjs-core.
 * @throws RunError when there are two copies or another release.
 */
export function checkOneCore(chain: readonly string[]): void {
  const ours = createRequire(import.meta.url).resolve(CORE);
  let place = import.meta.url;
  for (const name of chain) {
    const packageFile = createRequire(place).resolve(`${name}/package.json`);
    const version = versionOf(packageFile);
    if (version !== RELEASE) throw mixedReleases(name, version, dirname(packageFile));
    place = packageFile;
  }
  const theirs = createRequire(place).resolve(CORE);
  if (theirs !== ours) {
    throw new RunError(
      `startEngine: expected one copy of ${CORE}, got two: ${ours}, and ${theirs} for ${chain.join(" > ")}. ` +
        `Remove node_modules, install again, and see \`npm ls ${CORE}\`.`,
    );
  }
  if (tf.version_core !== RELEASE) throw mixedReleases(CORE, tf.version_core, dirname(ours));
}

/**
 * Checks that a loaded package that exports all of tfjs-core exports ours. A module loader that keeps several module
 * caches can load one file twice, which `checkOneCore` cannot see.
 *
 * @throws RunError when it exports another.
 */
export function checkSameCore(loaded: unknown): void {
  const theirs =
    typeof loaded === "object" && loaded !== null && "Tensor" in loaded ? loaded.Tensor : undefined;
  if (theirs !== tf.Tensor) {
    throw new RunError(
      `startEngine: expected ${CORE} to be loaded once, got two instances of one file: start Node without the ` +
        "module loader that keeps them apart",
    );
  }
}

function mixedReleases(name: string, version: string, folder: string): RunError {
  return new RunError(`startEngine: expected ${name} ${RELEASE}, got ${version} in ${folder}`);
}

function versionOf(packageFile: string): string {
  const parsed: unknown = JSON.parse(readFileSync(packageFile, "utf8"));
  const hasVersion = typeof parsed === "object" && parsed !== null && "version" in parsed;
  return hasVersion ? String(parsed.version) : "no version";
}

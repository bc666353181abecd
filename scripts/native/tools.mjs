/** @file What has to be on the machine before the native engine can be set up. Each check says what is missing. */

import { spawnSync } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import { SetupError } from "./run.mjs";

/** node-gyp is written in the Python of this version. */
const PYTHON_MINIMUM = [3, 8];

/** @throws SetupError where there is no wheel of TensorFlow to take */
export function checkPlatform() {
  // A report asks the network for names otherwise, which can take long.
  process.report.excludeNetwork = true;
  const glibc = process.report.getReport().header.glibcVersionRuntime;
  if (process.platform !== "linux" || process.arch !== "x64" || glibc === undefined) {
    const without = process.platform === "linux" && glibc === undefined ? " without glibc" : "";
    throw new SetupError(
      `expected Linux on x64 with glibc, got ${process.platform} on ${process.arch}${without}: ` +
        "the native engine is not available here, the embedded wasm engine is",
    );
  }
}

/** @returns {string} the Python that fetches the wheels and runs node-gyp */
function findPython() {
  const python = process.env.PYTHON ?? "python3";
  const asked = spawnSync(python, ["-c", "import sys; print(sys.version_info[0], sys.version_info[1])"], {
    encoding: "utf8",
  });
  const minimum = PYTHON_MINIMUM.join(".");
  if (asked.error !== undefined || asked.status !== 0) {
    throw new SetupError(
      `expected Python ${minimum} or newer, got no answer from ${python}: install python3, or name one in the ` +
        "environment variable PYTHON",
    );
  }
  const [major = 0, minor = 0] = asked.stdout.trim().split(" ").map(Number);
  if (major < PYTHON_MINIMUM[0] || (major === PYTHON_MINIMUM[0] && minor < PYTHON_MINIMUM[1])) {
    throw new SetupError(
      `expected Python ${minimum} or newer, got ${major}.${minor} from ${python}: name a newer one in the environment ` +
        "variable PYTHON",
    );
  }
  return python;
}

/**
 * @returns {string} the Python that fetches wheels
 * @throws SetupError where there is no Python that is new enough, or it has no pip
 */
export function findPythonWithPip() {
  const python = findPython();
  if (spawnSync(python, ["-m", "pip", "--version"]).status !== 0) {
    throw new SetupError(
      `expected ${python} to have pip, got none: install it (Debian: apt-get install python3-pip)`,
    );
  }
  return python;
}

/** @returns {string[]} the C++ compiler and its flags; CXX may hold several words, such as "ccache g++" */
export function compiler() {
  return (process.env.CXX ?? "g++").split(" ");
}

function checkCompiler() {
  for (const [command, ...args] of [compiler(), [process.env.MAKE ?? "make"]]) {
    const asked = spawnSync(command, [...args, "--version"]);
    if (asked.error !== undefined || asked.status !== 0) {
      throw new SetupError(
        `expected a C++ compiler and make, got no answer from ${command}: install them (Debian: apt-get install ` +
          "build-essential), or name others in the environment variables CXX and MAKE",
      );
    }
  }
}

/** @returns {string} the folder whose include/node holds the headers of the running Node */
function findHeaders() {
  const beside = dirname(dirname(realpathSync(process.execPath)));
  const configured = process.env.npm_config_nodedir;
  const places = configured === undefined ? [beside] : [beside, resolve(configured)];
  const found = places.find((place) => existsSync(join(place, "include", "node", "node_api.h")));
  if (found === undefined) {
    throw new SetupError(
      `expected Node's headers in ${places.map((place) => join(place, "include", "node")).join(" or ")}, got none: ` +
        "take a Node from nodejs.org or nvm, which bring them, or install them (Debian: apt-get install libnode-dev)",
    );
  }
  return found;
}

/** @returns {string} npm's program, which also brings node-gyp */
function findNpm() {
  const onPath = (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, "npm"));
  const beside = join(dirname(dirname(process.execPath)), "lib", "node_modules", "npm", "bin", "npm-cli.js");
  for (const candidate of [process.env.npm_execpath, beside, ...onPath]) {
    if (candidate === undefined || !existsSync(candidate)) continue;
    const program = realpathSync(candidate);
    if (program.endsWith("npm-cli.js")) return program;
  }
  throw new SetupError("expected npm beside Node or on the PATH, got none");
}

/**
 * Looks for everything that fetching and building need.
 *
 * @returns {{ python: string, npm: string, headers: string }}
 * @throws SetupError naming the first thing that is missing
 */
export function findTools() {
  const python = findPythonWithPip();
  checkCompiler();
  return { python, npm: findNpm(), headers: findHeaders() };
}

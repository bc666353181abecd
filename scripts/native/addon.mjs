/** @file The Node package @tensorflow/tfjs-node-gpu: installed without its own installer, its addon built here. */

import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { LOG_LEVEL_LINK_FLAGS } from "./log-level.mjs";
import { root, run, SetupError } from "./run.mjs";
import { TENSORFLOW_VERSION } from "./tensorflow.mjs";

export const ADDON_PACKAGE = "@tensorflow/tfjs-node-gpu";
export const ADDON_VERSION = "4.22.0";

/** The file beside the addon that tells one built here from one that the package's own installer fetched. */
const BUILT_NOTE = "built-for.txt";
const BUILT_FOR = `TensorFlow ${TENSORFLOW_VERSION}\n`;

/** @returns {string | undefined} the folder of a package as Node finds it from this package */
function findPackage(name) {
  try {
    return dirname(createRequire(join(root, "package.json")).resolve(`${name}/package.json`));
  } catch {
    return undefined;
  }
}

/** @returns {string | undefined} the folder of the addon's package, if it is there in the right version */
export function findAddonPackage() {
  const folder = findPackage(ADDON_PACKAGE);
  if (folder === undefined) return undefined;
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return version === ADDON_VERSION ? folder : undefined;
}

function addonPackage() {
  const folder = findAddonPackage();
  if (folder === undefined) {
    throw new SetupError(`expected Node to find ${ADDON_PACKAGE} ${ADDON_VERSION} from ${root}, got nothing`);
  }
  return folder;
}

/**
 * Installs the package into the node_modules that holds tfjs-core, so that both use the same tfjs-core. Leaves
 * package.json and package-lock.json as they are.
 *
 * @param {string} npm
 */
export function installPackage(npm) {
  const core = findPackage("@tensorflow/tfjs-core");
  if (core === undefined) {
    throw new SetupError("expected @tensorflow/tfjs-core to be installed, got none: run `npm install` first");
  }
  const modules = dirname(dirname(core));
  const args = ["install", "--no-save", "--ignore-scripts", `${ADDON_PACKAGE}@${ADDON_VERSION}`];
  if (!existsSync(join(modules, ".package-lock.json"))) {
    throw new SetupError(
      `expected npm to have made ${modules}, got another package manager's: do with that one what ` +
        `\`npm ${args.join(" ")}\` does, and run this again`,
    );
  }
  run(process.execPath, [npm, ...args, "--no-audit", "--no-fund"], { cwd: dirname(modules) });
}

/**
 * Points the package's `deps` to TensorFlow.
 *
 * @param {string} library the folder with TensorFlow's libraries and `include`
 * @returns {boolean} whether anything had to change
 */
export function linkLibrary(library) {
  const deps = join(addonPackage(), "deps");
  const links = [
    { path: join(deps, "lib"), target: library },
    { path: join(deps, "include"), target: join(library, "include") },
  ].filter(({ path, target }) => !pointsTo(path, target));
  mkdirSync(deps, { recursive: true });
  for (const { path, target } of links) {
    rmSync(path, { recursive: true, force: true });
    // Relative, so that the project can be moved.
    symlinkSync(relative(realpathSync(deps), target), path);
  }
  return links.length > 0;
}

function pointsTo(path, target) {
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
  return isLink && resolve(dirname(path), readlinkSync(path)) === target;
}

/** @returns {boolean} whether the addon is there and built for this release of TensorFlow */
export function isBuilt() {
  const note = join(addonPackage(), "lib", BUILT_NOTE);
  return existsSync(note) && readFileSync(note, "utf8") === BUILT_FOR;
}

/**
 * Builds the addon against what `deps` points to. It uses Node's stable binary interface, so it need not be built
 * again for another Node or for the GPU's libraries.
 *
 * @param {{ npm: string, python: string, headers: string }} tools
 */
export function build({ npm, python, headers }) {
  const folder = addonPackage();
  const preGyp = createRequire(join(folder, "package.json")).resolve("@mapbox/node-pre-gyp/bin/node-pre-gyp");
  const gyp = join(dirname(dirname(npm)), "node_modules", "node-gyp", "bin", "node-gyp.js");
  if (!existsSync(gyp)) throw new SetupError(`expected node-gyp in ${gyp}, got none: install a current npm`);
  rmSync(join(folder, "lib"), { recursive: true, force: true });
  run(process.execPath, [preGyp, "install", "--build-from-source", `--nodedir=${headers}`], {
    cwd: folder,
    env: {
      ...process.env,
      npm_config_node_gyp: gyp,
      PYTHON: python,
      LDFLAGS: [process.env.LDFLAGS ?? "", ...LOG_LEVEL_LINK_FLAGS].join(" "),
    },
  });
  rmSync(join(folder, "build"), { recursive: true, force: true });
  writeFileSync(join(folder, "lib", BUILT_NOTE), BUILT_FOR);
}

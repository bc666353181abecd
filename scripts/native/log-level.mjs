/** @file Builds the small library that keeps TensorFlow quiet while it is loaded; see log-level.cc. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "./run.mjs";
import { compiler } from "./tools.mjs";

const NAME = "atpkit_log_level";

/** How the addon is linked with it; nothing in the addon refers to it, so the linker would leave it out. */
export const LOG_LEVEL_LINK_FLAGS = ["-Wl,--no-as-needed", `-l${NAME}`];

/**
 * Compiles it into the folder of TensorFlow's libraries.
 *
 * @param {string} folder
 */
export function compileLogLevel(folder) {
  const [command, ...flags] = compiler();
  const source = fileURLToPath(new URL("log-level.cc", import.meta.url));
  const target = join(folder, `lib${NAME}.so`);
  run(command, [...flags, "-O1", "-shared", "-fPIC", "-Wl,-z,initfirst", "-o", target, source]);
}

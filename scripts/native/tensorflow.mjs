/**
 * @file TensorFlow's C library, out of a wheel of Python's package index. No Python runs later: the libraries in a
 * wheel are the same for every Python, and the rest of it is left out.
 */

import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { compileLogLevel } from "./log-level.mjs";
import { run, SetupError } from "./run.mjs";
import { download, unpack } from "./wheels.mjs";

export const TENSORFLOW_VERSION = "2.21.0";

/** The wheel for CPython 3.11 on Linux x64, named in full so that a Python without a wheel of its own can fetch it. */
const WHEEL_TAGS = [
  ["--python-version", "3.11"],
  ["--implementation", "cp"],
  ["--abi", "cp311"],
  ["--platform", "manylinux_2_27_x86_64"],
].flat();

/** The two libraries, and what the addon's sources include, directly or not. */
const NEEDED_FILES = [
  "tensorflow/libtensorflow_cc\\.so\\.2",
  "tensorflow/libtensorflow_framework\\.so\\.2",
  "tensorflow/include/tensorflow/c/.*\\.h",
  "tensorflow/include/xla/tsl/c/.*\\.h",
  "tensorflow/include/(tensorflow/core|tsl)/platform/ctstring.*\\.h",
].join("|");

/** Prints a wheel's metadata. */
const METADATA = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    print(archive.read(name).decode())
`;

/** What a wheel of TensorFlow asks for with the extra "and-cuda": the libraries of CUDA. */
const CUDA_REQUIREMENT = /^Requires-Dist: (nvidia-[^;\s]+)\s*;\s*extra == ['"]and-cuda['"]/gm;

/** The names that the linker looks for, and what they stand for. */
const LINKER_NAMES = [
  ["libtensorflow.so", "libtensorflow_cc.so.2"],
  ["libtensorflow_framework.so", "libtensorflow_framework.so.2"],
];

/**
 * Fills `folder` with TensorFlow's libraries in the layout of Python's site-packages: `tensorflow/` and, for GPUs,
 * `nvidia/` beside it, which is where TensorFlow's libraries look for those of CUDA. The folder appears under its name
 * when it is complete.
 *
 * @param {string} python
 * @param {string} folder
 * @param {boolean} gpu
 */
export function fetchLibrary(python, folder, gpu) {
  const partial = `${folder}.partial`;
  const wheels = join(partial, "wheels");
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(wheels, { recursive: true });

  const distribution = gpu ? "tensorflow" : "tensorflow-cpu";
  download(python, wheels, [...WHEEL_TAGS, `${distribution}==${TENSORFLOW_VERSION}`]);
  const wheel = join(wheels, readdirSync(wheels)[0] ?? "");
  unpack(python, wheel, partial, NEEDED_FILES);
  if (gpu) fetchCuda(python, wheel, partial);

  const library = join(partial, "tensorflow");
  for (const [name, target] of LINKER_NAMES) {
    if (!existsSync(join(library, target))) throw new SetupError(`expected ${target} in ${wheel}, got none`);
    symlinkSync(target, join(library, name));
  }
  compileLogLevel(library);
  rmSync(wheels, { recursive: true });
  renameSync(partial, folder);
}

function fetchCuda(python, tensorflowWheel, folder) {
  const metadata = run(python, ["-c", METADATA, tensorflowWheel]);
  const requirements = [...metadata.matchAll(CUDA_REQUIREMENT)].map((match) => match[1]);
  if (requirements.length === 0)
    throw new SetupError(`expected ${tensorflowWheel} to name CUDA's wheels, got none`);
  const wheels = join(folder, "cuda-wheels");
  mkdirSync(wheels);
  download(python, wheels, requirements);
  for (const wheel of readdirSync(wheels)) unpack(python, join(wheels, wheel), folder, "nvidia/.*");
  rmSync(wheels, { recursive: true });
}

import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { projectRoot, runNode } from "../support/child-process.js";

/** The setup runs on Linux only, and past its first checks only with a Python that has pip. */
const onLinux = process.platform === "linux" && process.arch === "x64";
const hasPip = onLinux && spawnSync("python3", ["-m", "pip", "--version"]).status === 0;

/** A project with the setup's scripts and nothing else. */
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "atpkit-setup-"));
  cpSync(join(projectRoot, "scripts"), join(folder, "scripts"), { recursive: true });
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');
});

afterEach(() => rmSync(folder, { recursive: true }));

/** Puts a package.json into the project's node_modules, which is all of a package that these tests get to. */
function addPackage(name: string, version: string): string {
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, name), { recursive: true });
  writeFileSync(join(modules, name, "package.json"), JSON.stringify({ name, version }));
  return modules;
}

interface SetupRun {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly node?: string;
}

/** Runs the setup, which is expected to fail, and returns its stderr. */
function failedSetup({ args = [], env = {}, node = process.execPath }: SetupRun = {}): string {
  const script = join(folder, "scripts", "setup-native.mjs");
  const plain = { PYTHON: undefined, CXX: undefined, MAKE: undefined };
  const { exitCode, stderr } = runNode([script, ...args], { folder, node, env: { ...plain, ...env } });
  expect(exitCode).toBe(1);
  return stderr;
}

test("an option that there is not is named", () => {
  expect(failedSetup({ args: ["--cuda"] })).toMatch(/^setup-native: Unknown option '--cuda'/);
});

describe.skipIf(!onLinux)("the setup says what is missing:", () => {
  test("Python", () => {
    expect(failedSetup({ env: { PATH: folder } })).toBe(
      "setup-native: expected Python 3.8 or newer, got no answer from python3: install python3, or name one in the " +
        "environment variable PYTHON\n",
    );
  });

  test("a newer Python", () => {
    // Stands in for a Python 3.6, which is hard to come by: it gives that one's answer.
    const old = join(folder, "python3.6");
    writeFileSync(old, "#!/bin/sh\necho 3 6\n");
    chmodSync(old, 0o755);
    expect(failedSetup({ env: { PYTHON: old } })).toBe(
      `setup-native: expected Python 3.8 or newer, got 3.6 from ${old}: name a newer one in the environment ` +
        "variable PYTHON\n",
    );
  });

  test.skipIf(!hasPip)("pip", () => {
    const environment = join(folder, "environment");
    expect(spawnSync("python3", ["-m", "venv", "--without-pip", environment]).status).toBe(0);
    const python = join(environment, "bin", "python");
    expect(failedSetup({ env: { PYTHON: python } })).toBe(
      `setup-native: expected ${python} to have pip, got none: install it (Debian: apt-get install python3-pip)\n`,
    );
  });

  test.skipIf(!hasPip).each(["CXX", "MAKE"])("the tool named in %s", (variable) => {
    const missing = join(folder, "no-such-tool");
    expect(failedSetup({ env: { [variable]: missing } })).toBe(
      `setup-native: expected a C++ compiler and make, got no answer from ${missing}: install them (Debian: apt-get ` +
        "install build-essential), or name others in the environment variables CXX and MAKE\n",
    );
  });

  test.skipIf(!hasPip)("Node's headers", () => {
    // A Node that was taken out of its installation.
    const node = join(folder, "bin", "node");
    mkdirSync(dirname(node));
    copyFileSync(process.execPath, node);
    expect(failedSetup({ node, env: { npm_config_nodedir: undefined } })).toBe(
      `setup-native: expected Node's headers in ${join(folder, "include", "node")}, got none: take a Node from ` +
        "nodejs.org or nvm, which bring them, or install them (Debian: apt-get install libnode-dev)\n",
    );
  });

  test.skipIf(!hasPip)("the packages of this project", () => {
    expect(failedSetup()).toBe(
      "setup-native: expected @tensorflow/tfjs-core to be installed, got none: run `npm install` first\n",
    );
  });

  test.skipIf(!hasPip)("npm's own node_modules", () => {
    const modules = addPackage("@tensorflow/tfjs-core", "4.22.0");
    expect(failedSetup()).toBe(
      `setup-native: expected npm to have made ${modules}, got another package manager's: do with that one what ` +
        "`npm install --no-save --ignore-scripts @tensorflow/tfjs-node-gpu@4.22.0` does, and run this again\n",
    );
  });

  test.skipIf(!hasPip).each([
    { args: [], requirement: "tensorflow-cpu==2.21.0" },
    { args: ["--gpu"], requirement: "tensorflow==2.21.0" },
  ])("$requirement in Python's package index", ({ args, requirement }) => {
    addPackage("@tensorflow/tfjs-node-gpu", "4.22.0");
    const noIndex = { PIP_NO_INDEX: "1", PIP_FIND_LINKS: undefined, PIP_CONFIG_FILE: "/dev/null" };
    const [said, ...output] = failedSetup({ args, env: noIndex }).split("\n");
    expect(said).toMatch(/^setup-native: exit code 1 of: python3 -m pip download --no-deps /);
    expect(said).toMatch(new RegExp(` ${requirement}$`));
    expect(output.join("\n")).toContain(`  ERROR: No matching distribution found for ${requirement}`);
  });
});

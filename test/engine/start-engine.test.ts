import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, describe, expect, test } from "vitest";
import { type EngineOptions, startEngine } from "../../src/engine/start-engine.js";
import { InputError } from "../../src/errors.js";
import { type ChildOptions, runModule } from "../support/child-process.js";
import { startTestEngine, testBackend } from "../support/engine.js";
import { copyEngine, copyPackage, type EngineCopyOptions } from "../support/engine-copy.js";

/** Starts the engine in a child and returns what it printed: the engine as JSON, or the error. */
function startInChild(options: EngineOptions, child: ChildOptions = {}) {
  return runModule(
    `import { startEngine } from "./src/engine/start-engine.ts";
     try {
       console.log(JSON.stringify(await startEngine(${JSON.stringify(options)})));
     } catch (error) {
       console.log(error.name + ": " + error.message);
     }`,
    child,
  );
}

const folders: string[] = [];

function temporaryEngine(options: EngineCopyOptions): string {
  const folder = copyEngine(options);
  folders.push(folder);
  return folder;
}

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

describe("the engine of this process", () => {
  test("is the one that was asked for, and multiplies", async () => {
    const engine = await startTestEngine();
    expect(engine.backend).toBe(testBackend());
    expect(engine.reason).toBe("asked for");
    expect(tf.getBackend()).toBe(testBackend());
    const product = tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([5, 6, 7, 8], [2, 2]));
    expect([...product.dataSync()]).toEqual([1 * 5 + 2 * 7, 1 * 6 + 2 * 8, 3 * 5 + 4 * 7, 3 * 6 + 4 * 8]);
  });

  test("is returned by every later call", async () => {
    const engine = await startTestEngine();
    expect(await startEngine()).toBe(engine);
    expect(await startEngine({ prefer: testBackend() })).toBe(engine);
  });

  test("cannot be exchanged for another", async () => {
    await startTestEngine();
    const other = testBackend() === "wasm" ? "tensorflow" : "wasm";
    const asked = startEngine({ prefer: other });
    await expect(asked).rejects.toThrow(InputError);
    await expect(asked).rejects.toThrow(
      `startEngine: expected prefer to be the running engine "${testBackend()}" (tensors cannot move to another ` +
        `engine within a process), got "${other}"`,
    );
    expect(tf.getBackend()).toBe(testBackend());
  });
});

describe("the embedded engine", () => {
  test("says what it is, and writes nothing else to stdout or stderr", () => {
    const { stdout, stderr } = startInChild({ prefer: "wasm" });
    expect(JSON.parse(stdout)).toEqual({
      backend: "wasm",
      device: "WASM SIMD, 1 thread",
      reason: "asked for",
    });
    expect(stderr).toBe("");
  });

  test("starts once when it is asked for twice at the same time", () => {
    const { stdout } = runModule(
      `import { startEngine } from "./src/engine/start-engine.ts";
       const [a, b] = await Promise.all([startEngine({ prefer: "wasm" }), startEngine()]);
       console.log(a === b, b.backend);`,
    );
    expect(stdout).toBe("true wasm\n");
  });

  test("leaves the report of an uncaught error as it is", () => {
    const { exitCode, stderr } = runModule(
      `import { startEngine } from "./src/engine/start-engine.ts";
       await startEngine({ prefer: "wasm" });
       setTimeout(() => { throw new Error("on purpose"); });`,
    );
    expect(exitCode).toBe(1);
    expect(stderr).toContain("Error: on purpose");
    // The backend's own handler would print the line of its source that rethrows, 38 kB long.
    expect(stderr.length).toBeLessThan(2000);
  });
});

test("there is no engine of another name", () => {
  const { stdout } = runModule(
    `import { startEngine } from "./src/engine/start-engine.ts";
     await startEngine({ prefer: "webgl" }).catch((error) => console.log(error.name + ": " + error.message));`,
  );
  expect(stdout).toBe('InputError: startEngine: expected prefer to be "tensorflow" or "wasm", got "webgl"\n');
});

describe("where the native package is not installed", () => {
  const withoutNative = () => ({ folder: temporaryEngine({ absent: ["@tensorflow/tfjs-node-gpu"] }) });

  test("asking for the native engine says why not, and what to do", () => {
    expect(startInChild({ prefer: "tensorflow" }, withoutNative()).stdout).toBe(
      "InputError: startEngine: expected the native engine to load, got: @tensorflow/tfjs-node-gpu is not " +
        'installed. Run `npm run setup:native` to set it up, or take prefer: "wasm".\n',
    );
  });

  test("asking for any engine takes the embedded one and says why", () => {
    expect(JSON.parse(startInChild({}, withoutNative()).stdout)).toEqual({
      backend: "wasm",
      device: "WASM SIMD, 1 thread",
      reason:
        "no native engine: @tensorflow/tfjs-node-gpu is not installed; `npm run setup:native` sets it up",
    });
  });

  test("the embedded engine can still be started after that failed", () => {
    const { stdout } = runModule(
      `import { startEngine } from "./src/engine/start-engine.ts";
       const failed = await startEngine({ prefer: "tensorflow" }).catch((error) => error.name);
       console.log(failed, (await startEngine({ prefer: "wasm" })).backend);`,
      withoutNative(),
    );
    expect(stdout).toBe("InputError wasm\n");
  });
});

describe("tfjs-core", () => {
  const WASM = "@tensorflow/tfjs-backend-wasm";
  const CORE = "@tensorflow/tfjs-core";

  test("is loaded once", () => {
    const { stdout } = runModule(
      `import { createRequire } from "node:module";
       import { startEngine } from "./src/engine/start-engine.ts";
       await startEngine({ prefer: ${JSON.stringify(testBackend())} });
       const loaded = Object.keys(createRequire(process.cwd() + "/").cache);
       console.log(loaded.filter((file) => /tfjs-core.dist.[^/]*[.]js$/.test(file)).length);`,
    );
    expect(stdout).toBe("1\n");
  });

  test("in two copies is an error that names both", () => {
    const folder = temporaryEngine({ copied: { [WASM]: ["package.json", "dist/tf-backend-wasm.node.js"] } });
    const nested = join(folder, "node_modules", WASM, "node_modules", CORE);
    copyPackage(CORE, ["package.json", "dist/tf-core.node.js"], nested);
    const { stdout } = startInChild({ prefer: "wasm" }, { folder });
    expect(stdout).toMatch(/^RunError: startEngine: expected one copy of @tensorflow\/tfjs-core, got two: /);
    expect(stdout).toContain(
      `${join(nested, "dist/tf-core.node.js")} for ${WASM}. Remove node_modules, install`,
    );
  });

  test("and the engine must be of one release", () => {
    const folder = temporaryEngine({ copied: { [WASM]: ["dist/tf-backend-wasm.node.js"] } });
    const place = join(folder, "node_modules", WASM);
    writeFileSync(
      join(place, "package.json"),
      JSON.stringify({ name: WASM, version: "4.21.0", main: "dist/tf-backend-wasm.node.js" }),
    );
    expect(startInChild({ prefer: "wasm" }, { folder }).stdout).toBe(
      `RunError: startEngine: expected ${WASM} 4.22.0, got 4.21.0 in ${place}\n`,
    );
  });
});

import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { type ChildOptions, runModule } from "../support/child-process.js";
import { nativeEngineExpected } from "../support/engine.js";
import { copyEngine } from "../support/engine-copy.js";

const NATIVE = "@tensorflow/tfjs-node-gpu";

/** Starts the native engine in a child; it prints the engine, a product and whether products are rounded. */
function startNative(child: ChildOptions & { readonly verbose?: boolean } = {}) {
  return runModule(
    `import { startEngine } from "./src/engine/start-engine.ts";
     import { roundsToTf32 } from "./src/engine/native-device.ts";
     import * as tf from "@tensorflow/tfjs-core";
     try {
       const engine = await startEngine({ prefer: "tensorflow", verbose: ${child.verbose ?? false} });
       const product = tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([5, 6, 7, 8], [2, 2]));
       // An operation of the package that calls util.isNullOrUndefined.
       const { values } = tf.topk(tf.tensor1d([1, 3, 2]), 1);
       console.log(JSON.stringify({
         ...engine, product: [...product.dataSync()], top: [...values.dataSync()], rounds: roundsToTf32(),
       }));
     } catch (error) {
       console.log(error.name + ": " + error.message);
     }`,
    child,
  );
}

const folders: string[] = [];

/** The engine with a copy of the native package in which `missing` was removed. */
function damagedNative(missing: string): string {
  const folder = copyEngine({ copied: { [NATIVE]: "all" } });
  folders.push(folder);
  rmSync(join(folder, "node_modules", NATIVE, missing), { recursive: true });
  return folder;
}

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

describe.skipIf(!nativeEngineExpected())("the native engine", () => {
  test("multiplies, in full float32, and writes nothing but that", () => {
    const { stdout, stderr } = startNative({ env: { TF_CPP_MIN_LOG_LEVEL: undefined } });
    expect(stderr).toBe("");
    const { backend, device, reason, product, top, rounds } = JSON.parse(stdout);
    expect({ backend, reason, product, top, rounds }).toEqual({
      backend: "tensorflow",
      reason: "asked for",
      product: [1 * 5 + 2 * 7, 1 * 6 + 2 * 8, 3 * 5 + 4 * 7, 3 * 6 + 4 * 8],
      top: [3],
      rounds: false,
    });
    expect(device).toMatch(/^(CPU, \d+ threads?|GPU [^,]+), TensorFlow \d+\.\d+\.\d+$/);
  });

  test("is taken when none is named", () => {
    const { stdout } = runModule(
      `import { startEngine } from "./src/engine/start-engine.ts";
       const { backend, reason } = await startEngine();
       console.log(backend + ": " + reason);`,
    );
    expect(stdout).toBe("tensorflow: the native engine is set up\n");
  });

  test("counts the threads that it was given", () => {
    // Without a GPU: the variable hides the machine's.
    const env = { TF_NUM_INTRAOP_THREADS: "1", CUDA_VISIBLE_DEVICES: "-1" };
    expect(JSON.parse(startNative({ env }).stdout).device).toMatch(/^CPU, 1 thread, TensorFlow /);
  });

  test("writes TensorFlow's log when verbose", () => {
    const { stderr } = startNative({ verbose: true, env: { TF_CPP_MIN_LOG_LEVEL: undefined } });
    expect(stderr).toMatch(/^I0000 .*(cpu_feature_guard|oneDNN)/m);
  });

  test("leaves a log level that the user has set", () => {
    const { stderr } = startNative({ env: { TF_CPP_MIN_LOG_LEVEL: "0" } });
    expect(stderr).toMatch(/^I0000 .*(cpu_feature_guard|oneDNN)/m);
  });

  test("must see the tfjs-core that the rest of the process sees", () => {
    // This way of loading TypeScript gives the sources a module cache of their own, and the native package the usual
    // one. TensorFlow may crash when such a process ends, so it is ended at once.
    const { stdout } = runModule(
      `import { require } from "tsx/cjs/api";
       const { startEngine } = require("./src/engine/start-engine.ts", process.cwd() + "/here.js");
       await startEngine({ prefer: "tensorflow" }).catch((error) => console.log(error.name + ": " + error.message));
       process.kill(process.pid, "SIGKILL");`,
    );
    expect(stdout).toBe(
      "RunError: startEngine: expected @tensorflow/tfjs-core to be loaded once, got two instances of one file: start " +
        "Node without the module loader that keeps them apart\n",
    );
  });

  test("without its addon says so", () => {
    const folder = damagedNative("lib");
    expect(startNative({ folder }).stdout).toBe(
      `InputError: startEngine: expected the native engine to load, got: the addon of ${NATIVE} in ` +
        `${join(folder, "node_modules", NATIVE)} is not built. ` +
        'Run `npm run setup:native` to set it up, or take prefer: "wasm".\n',
    );
  });

  test("without TensorFlow's libraries passes on what the linker says", () => {
    const { stdout } = startNative({ folder: damagedNative("deps") });
    expect(stdout).toMatch(
      /^InputError: startEngine: expected the native engine to load, got: lib\w+\.so[.\d]*: cannot open shared object file: No such file or directory\. Run `npm run setup:native`/,
    );
  });
});

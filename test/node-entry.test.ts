/** @file Threads and processes of the program's own code: from its sources, as here, and compiled. */

import { once } from "node:events";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ReadingThread } from "../src/checkpoint/reading-thread.js";
import { forkProgram, startThread } from "../src/node-entry.js";
import { projectRoot, runNode } from "./support/child-process.js";
import { testBackend } from "./support/engine.js";
import { goldenFolder } from "./support/goldens.js";

const echo = new URL("./support/echo.js", import.meta.url);

describe("from sources", () => {
  it("a thread runs TypeScript that imports TypeScript", async () => {
    const thread = startThread(echo, { workerData: "thread" });
    thread.postMessage("hello");
    expect(await once(thread, "message")).toEqual(["thread: HELLO"]);
    await thread.terminate();
  });

  it("a process does, with the environment that it is given and in any folder", async () => {
    const child = forkProgram(echo, { env: { ...process.env, ECHO_NAME: "process" }, cwd: "/" });
    child.send("hello");
    expect((await once(child, "message"))[0]).toBe("process: HELLO");
    const ended = once(child, "exit");
    child.disconnect();
    expect(await ended).toEqual([0, null]);
  });

  it("a thread that ends fails what it was to do, with its reason", async () => {
    const thread = new ReadingThread();
    const reading = thread.read({ slices: [], buffer: new SharedArrayBuffer(64) });
    const outcome = reading.then(() => "read", String);
    await thread.close();
    const ended =
      "RunError: loadModel: expected weights to be read, got an end: the thread that reads weights has ended";
    expect(await outcome).toBe(ended);
    const later = thread.read({ slices: [], buffer: new SharedArrayBuffer(64) });
    expect(await later.then(() => "read", String)).toBe(ended);
  });
});

describe("compiled", () => {
  let folder = "";
  const from = (file: string) => JSON.stringify(pathToFileURL(join(folder, "dist", file)).href);
  beforeAll(async () => {
    // Inside node_modules, so that the copy finds its dependencies; the build must not see the sources beside it.
    const cache = join(projectRoot, "node_modules", ".cache");
    await mkdir(cache, { recursive: true });
    folder = await mkdtemp(join(cache, "atpkit-compiled-"));
    for (const part of ["package.json", "tsconfig.json", "tsconfig.build.json", "src"]) {
      await cp(join(projectRoot, part), join(folder, part), { recursive: true });
    }
    await symlink(join(projectRoot, "node_modules"), join(folder, "node_modules"));
    const tsc = join(projectRoot, "node_modules", "typescript", "bin", "tsc");
    expect(runNode([tsc, "-p", "tsconfig.build.json", "--outDir", "dist"], { folder }).stdout).toBe("");
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it("a process does not have the options of its parent, unless it is given some", async () => {
    const answer =
      "process.once('message', () => process.send(process.execArgv.join(), () => process.exit()))";
    await writeFile(join(folder, "dist", "answer.js"), answer);
    const code = `
      import { once } from "node:events";
      import { forkProgram } from ${from("node-entry.js")};
      for (const options of [{}, { execArgv: ["--no-warnings"] }]) {
        const child = forkProgram(new URL(${from("answer.js")}), options);
        child.send("which?");
        console.log("options:", (await Promise.race([once(child, "message"), once(child, "exit")]))[0]);
      }
    `;
    const { stdout, stderr } = runNode(["--input-type=module", "--eval", code], { folder });
    expect([stdout, stderr]).toEqual(["options: \noptions: --no-warnings\n", ""]);
  });

  it("a model is streamed", () => {
    const code = `
      import { loadModel, openModel } from ${from("checkpoint/load-model.js")};
      import { startEngine } from ${from("engine/start-engine.js")};
      import { logits } from ${from("model/transformer.js")};
      await startEngine({ prefer: "${testBackend()}" });
      const opened = await openModel(${JSON.stringify(goldenFolder("qwen3"))});
      for (const options of [{}, { streaming: { residentLayers: 0 } }]) {
        const model = await opened.load(options);
        console.log(Array.from((await logits(model, [[1, 2, 3]])).dataSync()).join());
        model.dispose();
      }
      await opened.close();
    `;
    const { stdout, stderr } = runNode(["--input-type=module", "--eval", code], { folder });
    const [inMemory, streamed] = stdout.trimEnd().split("\n");
    expect(stderr).toBe("");
    expect(streamed).toBe(inMemory);
    expect(inMemory.split(",").length).toBeGreaterThan(100);
  });
});

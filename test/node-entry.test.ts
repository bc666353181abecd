/** @file Threads and processes of the program's own code: from its sources, as here, and compiled. */

import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { ReadingThread } from "../src/checkpoint/reading-thread.js";
import { forkProgram, startThread } from "../src/node-entry.js";
import { runNode } from "./support/child-process.js";
import { compiledFile } from "./support/compiled.js";
import { testBackend } from "./support/engine.js";
import { goldenFolder } from "./support/goldens.js";
import { temporaryFolder } from "./support/temporary-folder.js";

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
  // It does not lie beside its sources, as in a package.
  const from = (file: string) => JSON.stringify(pathToFileURL(compiledFile(file)).href);

  it("a process does not have the options of its parent, unless it is given some", async () => {
    const answer =
      "process.once('message', () => process.send(process.execArgv.join(), () => process.exit()))";
    const file = join(await temporaryFolder(), "answer.js");
    await writeFile(file, answer);
    const code = `
      import { once } from "node:events";
      import { forkProgram } from ${from("node-entry.js")};
      for (const options of [{}, { execArgv: ["--no-warnings"] }]) {
        const child = forkProgram(new URL(${JSON.stringify(pathToFileURL(file).href)}), options);
        child.send("which?");
        console.log("options:", (await Promise.race([once(child, "message"), once(child, "exit")]))[0]);
      }
    `;
    const { stdout, stderr } = runNode(["--input-type=module", "--eval", code]);
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
    const { stdout, stderr } = runNode(["--input-type=module", "--eval", code]);
    const [inMemory, streamed] = stdout.trimEnd().split("\n");
    expect(stderr).toBe("");
    expect(streamed).toBe(inMemory);
    expect(inMemory.split(",").length).toBeGreaterThan(100);
  });
});

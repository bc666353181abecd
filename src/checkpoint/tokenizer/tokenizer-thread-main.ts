/** @file What runs in the thread of `tokenizer-thread.ts`. */

import { parentPort, workerData } from "node:worker_threads";
import { asError, InputError, TokenizerError } from "../../errors.js";
import { libraryTokenizer, type RunningTokenizer } from "./library-tokenizer.js";
import type { EncodeAnswer, EncodeOrder, ThreadReport, ThreadStart } from "./tokenizer-thread.js";

const { json, file, port, answers }: ThreadStart = workerData;

report("loaded");
const tokenizer = made();
if (tokenizer) {
  const count = new Int32Array(answers);
  port.on("message", (order: EncodeOrder) => {
    port.postMessage(answer(tokenizer, order));
    Atomics.add(count, 0, 1);
    Atomics.notify(count, 0);
  });
  report("made");
}

function report(what: ThreadReport): void {
  parentPort?.postMessage(what);
}

function made(): RunningTokenizer | undefined {
  try {
    return libraryTokenizer(json, file);
  } catch (error) {
    report({ error: asError(error).message });
    return undefined;
  }
}

function answer(tokenizer: RunningTokenizer, { text, special }: EncodeOrder): EncodeAnswer {
  try {
    return { ids: tokenizer.encode(text, special) };
  } catch (error) {
    const isOfText = error instanceof InputError && !(error instanceof TokenizerError);
    return { error: asError(error).message, blames: isOfText ? "text" : "tokenizer" };
  }
}

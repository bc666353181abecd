/**
 * @file A tokenizer of a stranger, whose patterns may take for ever, run in a thread that can be stopped. Who asks waits for the
 * answer, as tokenizers are asked one text after the other while pairs are read; nothing else happens in the meantime.
 */

import { MessageChannel, type MessagePort, receiveMessageOnPort, type Worker } from "node:worker_threads";
import { InputError, TokenizerError } from "../../errors.js";
import { startThread } from "../../node-entry.js";
import { shown } from "../../shown-text.js";
import type { TokenizerJson } from "./tokenizer-json.js";

/** What the thread is started with. */
export interface ThreadStart {
  readonly json: TokenizerJson;
  readonly file: string;
  /** Orders come and answers go here. */
  readonly port: MessagePort;
  /** One number, that of the answers so far. */
  readonly answers: SharedArrayBuffer;
}

/** What it says once by itself: that its code is loaded, and then that the tokenizer is made, or why not. */
export type ThreadReport = "loaded" | "made" | { readonly error: string };

export interface EncodeOrder {
  readonly text: string;
  readonly special: boolean;
}

/** `text`: whether the text is to blame, or the tokenizer. */
export type EncodeAnswer =
  | { readonly ids: readonly number[] }
  | { readonly error: string; readonly blames: "text" | "tokenizer" };

/** For one text: a hundred thousand times what it takes. */
const SECONDS = 5;

export class TokenizerThread {
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #answers = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  #ended: TokenizerError | undefined;

  /**
   * Starts a thread and makes the tokenizer in it.
   * @param pattern what may take for ever, for errors
   * @throws TokenizerError for a tokenizer that cannot be made, or not in time
   */
  static async start(json: TokenizerJson, file: string, pattern: string): Promise<TokenizerThread> {
    const thread = new TokenizerThread(json, file, pattern);
    try {
      await thread.#made();
    } catch (error) {
      thread.close();
      throw error;
    }
    return thread;
  }

  private constructor(
    json: TokenizerJson,
    private readonly file: string,
    private readonly pattern: string,
  ) {
    const { port1, port2 } = new MessageChannel();
    const start: ThreadStart = { json, file, port: port2, answers: this.#answers.buffer };
    this.#port = port1;
    this.#worker = startThread(new URL("./tokenizer-thread-main.js", import.meta.url), {
      workerData: start,
      transferList: [port2],
    });
  }

  /** @throws InputError for a text that the tokenizer cannot read; TokenizerError where it does not end */
  encode(text: string, special: boolean): number[] {
    if (this.#ended) throw this.#ended;
    const before = Atomics.load(this.#answers, 0);
    const order: EncodeOrder = { text, special };
    this.#port.postMessage(order);
    Atomics.wait(this.#answers, 0, before, SECONDS * 1000);
    const answer: EncodeAnswer | undefined = receiveMessageOnPort(this.#port)?.message;
    if (answer === undefined) {
      const error = this.#tooLong(`the text ${shown(text)}`);
      this.#end(error);
      throw error;
    }
    if ("ids" in answer) return [...answer.ids];
    throw answer.blames === "text" ? new InputError(answer.error) : new TokenizerError(answer.error);
  }

  /** Ends the thread; does nothing where it has ended. */
  close(): void {
    this.#end(
      new TokenizerError(
        `encode: expected the tokenizer of ${this.file} while its model is in use, got one that was closed with it`,
      ),
    );
  }

  #end(why: TokenizerError): void {
    this.#ended ??= why;
    this.#port.close();
    void this.#worker.terminate();
  }

  /** Making the tokenizer normalizes its special tokens, which may take for ever, too. Loading the code does not count. */
  #made(): Promise<void> {
    return new Promise((resolve, reject) => {
      const worker = this.#worker;
      let clock: NodeJS.Timeout | undefined;
      const end = (error?: Error) => {
        clearTimeout(clock);
        worker.removeAllListeners("message");
        worker.unref();
        if (error) reject(error);
        else resolve();
      };
      worker.on("message", (report: ThreadReport) => {
        if (report === "loaded") {
          clock = setTimeout(() => end(this.#tooLong("its special tokens")), SECONDS * 1000);
        } else end(report === "made" ? undefined : new TokenizerError(report.error));
      });
      worker.on("error", (error) => {
        this.#ended ??= this.#broke(error);
        end(this.#ended);
      });
    });
  }

  #tooLong(what: string): TokenizerError {
    return new TokenizerError(
      `loadModel: expected the patterns of ${this.file} to come to an end within ${SECONDS} s, got none for ${what}; it has ${shown(this.pattern)}`,
    );
  }

  #broke(error: Error): TokenizerError {
    return new TokenizerError(
      `loadModel: expected ${this.file} to be a tokenizer that can be run here, got ${error}`,
    );
  }
}

/**
 * @file Starts the TensorFlow.js engine of this process: `tensorflow` (native, see `native.ts`) or `wasm` (embedded, see
 * `wasm.ts`). All tensors of a process live in one engine and cannot move to another, so the first start decides.
 */

import { InputError } from "../errors.js";
import { shown } from "../shown-text.js";
import { startNative } from "./native.js";
import { startWasm } from "./wasm.js";

export type Backend = "tensorflow" | "wasm";

export interface Engine {
  readonly backend: Backend;
  /** What computes, for people: "CPU, 2 threads, TensorFlow 2.21.0", "WASM SIMD, 1 thread". */
  readonly device: string;
  /** Why this engine, for people; where the native one was passed over, what keeps it from starting. */
  readonly reason: string;
}

export interface EngineOptions {
  /** The engine to start. Without it: native if it is set up, otherwise embedded. */
  readonly prefer?: Backend;
  /** Lets the native library write its log to stderr. Has no effect on an engine that is running already. */
  readonly verbose?: boolean;
}

const ASKED_FOR = "asked for";

/** The last start, under way or done. Calls wait for each other here, so that two at once cannot start two engines. */
let last: Promise<Engine | undefined> = Promise.resolve(undefined);

/**
 * Starts the engine, or returns the one that is running.
 *
 * @throws InputError when `prefer` names an engine that cannot be started here, another one than the running one, or
 *   none that there is.
 * @throws RunError when two copies of tfjs-core are installed.
 */
export function startEngine(options: EngineOptions = {}): Promise<Engine> {
  const started = last.then((running) => (running ? keep(running, options) : start(options)));
  // A start that failed leaves the place to the next one.
  const previous = last;
  last = started.catch(() => previous);
  return started;
}

function keep(running: Engine, { prefer }: EngineOptions): Engine {
  if (prefer !== undefined && prefer !== running.backend) {
    throw new InputError(
      `startEngine: expected prefer to be the running engine "${running.backend}" (tensors cannot move to another ` +
        `engine within a process), got ${shown(prefer)}`,
    );
  }
  return running;
}

async function start({ prefer, verbose = false }: EngineOptions): Promise<Engine> {
  if (prefer === "wasm") return { backend: "wasm", device: await startWasm(), reason: ASKED_FOR };
  if (prefer !== undefined && prefer !== "tensorflow") {
    throw new InputError(`startEngine: expected prefer to be "tensorflow" or "wasm", got ${shown(prefer)}`);
  }
  const native = await startNative(verbose);
  if ("device" in native) {
    const reason = prefer === undefined ? "the native engine is set up" : ASKED_FOR;
    return { backend: "tensorflow", device: native.device, reason };
  }
  if (prefer === "tensorflow") {
    throw new InputError(
      `startEngine: expected the native engine to load, got: ${native.refused}. ` +
        'Run `npm run setup:native` to set it up, or take prefer: "wasm".',
    );
  }
  return {
    backend: "wasm",
    device: await startWasm(),
    reason: `no native engine: ${native.refused}; \`npm run setup:native\` sets it up`,
  };
}

/**
 * @file Runs `hook_loop.py` beside a bench: one request at a time, in the same Python, so that its passes can be timed in
 * turn with other work. The Python is the one that the environment variable ATPKIT_PEER_PYTHON names, or else `python3`.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { ModelConfig } from "../../src/model/config.js";
import type { Site } from "../../src/model/sites.js";
import { type NodeSet, type NodeSpace, nodeAt } from "../../src/nodes/node-space.js";
import { basePrompt, type Direction, sourcePrompt } from "../../src/prompts/direction.js";
import type { Pair } from "../../src/prompts/pair.js";

/** Whose GPT-2 the loop runs. */
export const PEERS = ["transformers", "transformer_lens"] as const;
export type Peer = (typeof PEERS)[number];

/** The sites that the loop has hooks for. */
export const LOOP_SITES = ["z", "q", "k", "v", "neuron"] as const satisfies readonly Site[];
export type LoopSite = (typeof LOOP_SITES)[number];

/** A folder to load, or the shape of a GPT-2 with random weights. */
export type LoopModel = { readonly checkpoint: string } | { readonly shape: ModelConfig };

export interface LoopResult {
  /** Time of each node's pass, in seconds. */
  readonly seconds: readonly number[];
  /** Effect of each node on the logit difference. */
  readonly effects: readonly number[];
}

export interface HookLoop {
  /** Versions and threads, for people. */
  readonly description: string;
  /** What the following runs are about. */
  load(model: LoopModel, pair: Pair, direction: Direction): Promise<void>;
  /** @param nodes of the site, at one position each */
  run(site: LoopSite, space: NodeSpace, nodes: NodeSet): Promise<LoopResult>;
  stop(): void;
}

const started = z.union([
  z.object({ threads: z.number(), packages: z.string() }),
  z.object({ missing: z.string() }),
]);
const loaded = z.object({ loaded: z.literal(true) });
const result = z.object({ seconds: z.array(z.number()), effects: z.array(z.number()) });

/**
 * @param python the command
 * @returns why the loop cannot run, where there is no such Python or it lacks a package
 * @throws Error when the loop breaks off
 */
export async function startHookLoop(
  peer: Peer,
  python = process.env.ATPKIT_PEER_PYTHON ?? "python3",
): Promise<HookLoop | { readonly skipped: string }> {
  const script = fileURLToPath(new URL("hook_loop.py", import.meta.url));
  const child = spawn(python, ["-B", script, peer], { stdio: ["pipe", "pipe", "pipe"] });
  const refused = await refusalOf(child);
  if (refused) return { skipped: `${python}: ${refused}; see bench/peers/README.md` };
  const { ask, next } = lineByLine(child);
  const greeting = started.parse(await next());
  if ("missing" in greeting) return { skipped: `${python}: ${greeting.missing}; see bench/peers/README.md` };
  return {
    description: `${greeting.packages}, ${greeting.threads} threads`,
    async load(model, pair, direction) {
      const request = {
        ...("shape" in model ? { shape: shapeOf(model.shape) } : model),
        base: basePrompt(pair, direction),
        source: sourcePrompt(pair, direction),
        answers: pair.answers,
        wrong: pair.wrong,
        position: pair.metricPosition,
      };
      loaded.parse(await ask(request));
    },
    async run(site, space, nodes) {
      const places = Array.from(nodes, (node) => {
        const { layer, index, position } = nodeAt(space, node);
        return [layer, index, position];
      });
      return result.parse(await ask({ site, nodes: places }));
    },
    stop: () => child.stdin.end(),
  };
}

function shapeOf({ layers, width, heads, vocabulary, maxPositions }: ModelConfig) {
  return { layers, width, heads, vocabulary, positions: maxPositions };
}

/** Why a child did not start; undefined when it did. */
function refusalOf(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    child.once("spawn", () => resolve(undefined));
    child.once("error", (error) => resolve(error.message));
  });
}

interface Lines {
  /** Sends a line and waits for the next one. */
  ask(request: object): Promise<unknown>;
  next(): Promise<unknown>;
}

function lineByLine(child: { stdin: Writable; stdout: Readable; stderr: Readable }): Lines {
  let complaints = "";
  child.stderr.on("data", (text) => {
    complaints += text;
  });
  // A loop that breaks off is seen as an end of its output; that it no longer reads is no news then.
  child.stdin.on("error", () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`hook_loop.py: expected an answer, got the end of its output\n${complaints}`);
    return JSON.parse(value);
  };
  return {
    next,
    ask(request) {
      child.stdin.write(`${JSON.stringify(request)}\n`);
      return next();
    },
  };
}

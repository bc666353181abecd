/**
 * @file What runs in a process of shards. It ends with its parent, as soon as the engine lets it notice that the parent is gone, and
 * finishes nothing then: nothing but whole shards is ever in the store. It does not end by Ctrl-C, which the terminal sends to parent
 * and children alike: whether a shard is finished is for the parent to say.
 */

import { Console } from "node:console";
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { removeTemporaries } from "../../atomic-file.js";
import { ModelChanged, modelFilesSchema } from "../../checkpoint/model-hash.js";
import { withoutTrap } from "../../engine/heap-error.js";
import { InputError, RunError } from "../../errors.js";
import { HASH } from "../identity.js";
import { parseJob, parseTask } from "../parse-job.js";
import { ShardStore } from "../store.js";
import { type JobWork, openJobWork } from "../work.js";
import type { ChildMessage, ShardPlaces } from "./messages.js";

const parentMessageSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("start"),
    places: z.object({
      modelFolder: z.string(),
      modelFiles: modelFilesSchema,
      jobFile: z.string(),
      outputFolder: z.string(),
      memoryBudget: z.number().exactOptional(),
    }),
  }),
  z.object({
    kind: z.literal("compute"),
    named: z.object({ name: z.string().regex(HASH), task: z.unknown() }),
  }),
]);

interface Workplace {
  readonly work: JobWork;
  readonly store: ShardStore;
}

let workplace: Workplace | undefined;

// Engines and libraries print to the console; stdout is for results of the parent alone.
globalThis.console = new Console(process.stderr, process.stderr);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => {});
process.on("disconnect", end);
process.on("message", (message) => {
  void answer(message).then(
    (reply) => process.send?.(reply),
    (error: unknown) => process.send?.(failureOf(error)),
  );
});
// The parent may have gone while this was being loaded.
if (!process.connected) end();

function end(): void {
  removeTemporaries();
  process.exit();
}

async function answer(message: unknown): Promise<ChildMessage> {
  const asked = parentMessageSchema.parse(message);
  if (asked.kind === "start") {
    workplace = await open(asked.places);
    return { kind: "ready", device: workplace.work.engine.device };
  }
  if (!workplace) throw new Error("shard process: expected a start before the first shard, got none");
  const { name, task } = asked.named;
  await workplace.store.write(name, await workplace.work.compute(parseTask(task)));
  return { kind: "done" };
}

async function open({ jobFile, outputFolder, ...options }: ShardPlaces): Promise<Workplace> {
  const job = parseJob(JSON.parse(await readFile(jobFile, "utf8")));
  return { store: await ShardStore.open(outputFolder), work: await openJobWork(job, options) };
}

function failureOf(thrown: unknown): ChildMessage {
  const error = withoutTrap(thrown);
  const known = error instanceof InputError || error instanceof RunError;
  // A fault of the program: where it came from is worth knowing, and does not fit into a message.
  if (!known) console.error(error);
  return {
    kind: "failed",
    fault: faultOf(error),
    message: error instanceof Error ? error.message : String(error),
  };
}

function faultOf(error: unknown): "input" | "model" | "work" {
  if (error instanceof ModelChanged) return "model";
  return error instanceof InputError ? "input" : "work";
}

/** @file What a process of shards and the one that started it tell each other. */

import { z } from "zod";
import type { ModelFiles } from "../../checkpoint/model-hash.js";
import type { NamedTask } from "../shard-task.js";

/** Where a process finds on this machine what it needs: never part of a job. */
export interface ShardPlaces {
  /** With config.json and safetensors, or a GGUF file. */
  readonly modelFolder: string;
  /** Its files as they were when it was hashed. */
  readonly modelFiles: ModelFiles;
  /** The portable job as JSON. */
  readonly jobFile: string;
  /** Whose store shards are written into. */
  readonly outputFolder: string;
  /** What weights, activations and all else of the process may take, in bytes; default: all weights in memory. */
  readonly memoryBudget?: number;
}

/** To the child. The second one is answered once per shard. */
export type ParentMessage =
  | { readonly kind: "start"; readonly places: ShardPlaces }
  | { readonly kind: "compute"; readonly named: NamedTask };

/** To the parent. */
export const childMessageSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("ready"), device: z.string() }),
  z.object({ kind: z.literal("done") }),
  /** Input that is wrong is wrong again in another try; a model that has changed is wrong for every shard. */
  z.object({
    kind: z.literal("failed"),
    fault: z.enum(["input", "model", "work"]),
    message: z.string(),
  }),
]);

export type ChildMessage = z.infer<typeof childMessageSchema>;

/** @file A worker of `chaos.ts`, in a process that can be killed: that of the library, with the times that the bench asks for. */

import { connectQueue } from "../src/batch/queue/connection.js";
import { parseQueueUrl } from "../src/batch/queue/queue-url.js";
import { type QueueWorkerOptions, runQueueWorker } from "../src/batch/queue/queue-worker.js";

export type ChaosWorkerStart = Pick<QueueWorkerOptions, "model" | "times"> & { readonly url: string };

/** To the bench: the worker can take shards, or has made one. */
export type ChaosMessage = { readonly ready: true } | { readonly made: string };

const { url, ...start }: ChaosWorkerStart = JSON.parse(process.argv[2]);
const stop = new AbortController();
process.on("SIGTERM", () => stop.abort());
process.on("disconnect", () => process.exit());

const tell = (message: ChaosMessage) => process.send?.(message);
const connection = await connectQueue(parseQueueUrl(url), () => {});
await runQueueWorker({
  ...start,
  connection,
  prefix: "atpkit",
  signal: stop.signal,
  onNotice: (text) => {
    if (text.includes("results go")) tell({ ready: true });
  },
  onShard: (name) => tell({ made: name }),
});
connection.close();
process.disconnect();

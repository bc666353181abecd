/** @file The worker of `startWorker`: that of the library, as it was compiled, with the test's times. */

import { pathToFileURL } from "node:url";
import type { WorkerStart } from "./queue-case.js";

const [, , given, dist] = process.argv;
const module = (path: string) => import(pathToFileURL(`${dist}/batch/queue/${path}`).href);
const { connectQueue }: typeof import("../../../src/batch/queue/connection.js") =
  await module("connection.js");
const { parseQueueUrl }: typeof import("../../../src/batch/queue/queue-url.js") =
  await module("queue-url.js");
const { runQueueWorker }: typeof import("../../../src/batch/queue/queue-worker.js") =
  await module("queue-worker.js");

const { queueKeyOf }: typeof import("../../../src/batch/queue/queue-key.js") = await module("queue-key.js");

const { url, ...start }: WorkerStart = JSON.parse(given);
const stop = new AbortController();
process.on("SIGTERM", () => stop.abort());
// A test that was killed leaves nobody behind.
process.on("disconnect", () => process.exit());
const onNotice = (text: string) => {
  process.send?.(text);
};
const connection = await connectQueue(parseQueueUrl(url), onNotice);
const key = queueKeyOf(process.env);
const made = await runQueueWorker({
  ...start,
  ...(key && { key }),
  connection,
  prefix: "atpkit",
  onNotice,
  signal: stop.signal,
});
connection.close();
onNotice(`ended: ${made} made`);
process.disconnect();

/** @file The worker of `startWorker`: that of the library, with the test's times. */

import { connectQueue } from "../../../src/batch/queue/connection.js";
import { parseQueueUrl } from "../../../src/batch/queue/queue-url.js";
import { runQueueWorker } from "../../../src/batch/queue/queue-worker.js";
import type { WorkerStart } from "./queue-case.js";

const { url, ...start }: WorkerStart = JSON.parse(process.argv[2]);
const stop = new AbortController();
process.on("SIGTERM", () => stop.abort());
// A test that was killed leaves nobody behind.
process.on("disconnect", () => process.exit());
const onNotice = (text: string) => {
  process.send?.(text);
};
const connection = await connectQueue(parseQueueUrl(url), onNotice);
const made = await runQueueWorker({ ...start, connection, prefix: "atpkit", onNotice, signal: stop.signal });
connection.close();
onNotice(`ended: ${made} made`);
process.disconnect();

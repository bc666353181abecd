/**
 * @file Queue and worker of BullMQ that read no message of a size that none of ours has. What is larger is left out before BullMQ reads
 * it as JSON: the message then is not that of a shard, and is refused as such.
 */

import { Job, type JobJson, type JobProgress, type MinimalQueue, Queue, Worker } from "bullmq";
import { isSmallJson } from "./small-json.js";

/** A shard's task has the numbers of its nodes, and a handful of objects; results and traces of failures have less. */
const MESSAGE = { characters: 2 ** 26, brackets: 64 } as const;

/** What else a worker says of a failure. */
const LONGEST_REASON = 2 ** 16;

/** With the type parameters of a job, so that it can stand for one. */
class CheckedJob<Data, Result, Name extends string, Progress extends JobProgress> extends Job<
  Data,
  Result,
  Name,
  Progress
> {
  static override fromJSON<Data, Result, Name extends string>(
    queue: MinimalQueue,
    json: JobJson,
    jobId?: string,
  ): Job<Data, Result, Name> {
    const { data, stacktrace = "[]", returnvalue, failedReason } = json;
    const small = (text: string, otherwise: string) => (isSmallJson(text, MESSAGE) ? text : otherwise);
    const checked: JobJson = {
      ...json,
      data: typeof data === "string" ? small(data, "null") : data,
      stacktrace: small(stacktrace, "[]"),
      returnvalue: typeof returnvalue === "string" ? small(returnvalue, "null") : returnvalue,
      failedReason: typeof failedReason === "string" ? failedReason.slice(0, LONGEST_REASON) : failedReason,
    };
    return Job.fromJSON<Data, Result, Name>(queue, checked, jobId);
  }
}

export class CheckedQueue extends Queue {
  protected override get Job(): typeof Job {
    return CheckedJob;
  }
}

export class CheckedWorker extends Worker {
  protected override get Job(): typeof Job {
    return CheckedJob;
  }
}

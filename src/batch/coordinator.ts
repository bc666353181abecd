/**
 * @file A job from its first shard to its outputs. What is done follows from the job and from results alone, never from who works or
 * when: a job that is begun again asks the same questions and finds the shards that are there, so replaying is resuming.
 */

import { ResultsFolder } from "../results/results-folder.js";
import type { Progress } from "../run-control.js";
import { shownWords } from "../shown-text.js";
import { IncompleteJob, ShardSource } from "./coordinator-shards.js";
import { type JobOutcome, JobStages } from "./coordinator-stages.js";
import { JobOutputs } from "./outputs.js";
import type { PreparedJob } from "./prepare-job.js";
import type { ShardRunner } from "./shard-runner.js";
import { StatusFile } from "./status.js";
import { ShardStore } from "./store.js";

export interface JobOptions {
  /** Aborting it finishes the shards in hand and begins no other; `runJob` then rejects with its reason. */
  readonly signal?: AbortSignal;
  /** In pairs to be estimated and runs to be patched, without those that were done before. */
  readonly onProgress?: (progress: Progress) => void;
  /** What a person should know and what changes nothing: a shard that is tried again, a damaged one that is made again. */
  readonly onNotice?: (text: string) => void;
}

/**
 * Runs a job to its end, or on from where it was.
 *
 * @param runner who makes shards; it stays open
 * @throws IncompleteJob, a RunError that says what is missing, where shards failed: all others of their stage are in the store then,
 *   and running the job again tries these alone
 * @throws InputError where another process runs a job in the same output folder, or the spec is one of the files there
 * @throws the signal's reason
 */
export async function runJob(
  prepared: PreparedJob,
  runner: ShardRunner,
  { signal, onProgress, onNotice }: JobOptions = {},
): Promise<JobOutcome> {
  const { outputFolder, jobHash } = prepared;
  const outputs = new JobOutputs(prepared, signal);
  await ResultsFolder.check(outputFolder, "output");
  await outputs.results.open(onNotice);
  const status = new StatusFile(outputs.files.status, jobHash);
  try {
    await outputs.saveJob();
    const store = await ShardStore.open(outputFolder, { ...(onNotice && { onNotice }) });
    const shards = new ShardSource({
      ...prepared,
      store,
      runner,
      status,
      ...(signal && { signal }),
      ...(onProgress && { onProgress }),
      ...(onNotice && { onNotice }),
    });
    try {
      const outcome = await new JobStages(prepared, shards, outputs, status).run();
      await outputs.saveManifest(shards.effort, []);
      await status.end("done");
      const { devices } = shards.effort;
      if (devices.length > 1) {
        onNotice?.(
          `warning: shards of this job come from different devices (${devices.map((device) => shownWords(device)).join("; ")}): their numbers agree but for the last bits of float32, and other devices may give other bytes`,
        );
      }
      return outcome;
    } catch (error) {
      // Where the disk refuses this, too, the first error is the one to tell.
      if (error instanceof IncompleteJob)
        await outputs.saveManifest(shards.effort, error.failures).catch(() => {});
      throw error;
    }
  } catch (error) {
    await status.end(signal?.aborted ? "interrupted" : "failed");
    throw error;
  } finally {
    await outputs.results.close();
  }
}

/** @file What --source asks for. */

import type { RunOptions } from "../localize.js";
import type { Site } from "../model/sites.js";
import { meanSource } from "../sources/mean.js";
import type { PatchSource } from "../sources/source.js";
import { zeroSource } from "../sources/zero.js";
import type { StartedRun } from "./prepare-run.js";

/**
 * Makes the source of a run, and frees it when the body is done.
 * @param sites those that will be patched
 * @param body gets the run's options with the source in them
 */
export async function withSource(
  run: StartedRun,
  sites: readonly Site[],
  body: (runOptions: RunOptions) => Promise<void>,
): Promise<void> {
  const source = await makeSource(run, sites);
  run.clock.skip();
  try {
    await body({ ...run.runOptions, ...(source && { source }) });
  } finally {
    source?.dispose();
  }
}

async function makeSource(
  { model, pairs, averaged, noiseSource, options, runOptions }: StartedRun,
  sites: readonly Site[],
): Promise<PatchSource | undefined> {
  const { source = "prompt", direction, batchSize } = options;
  if (source === "prompt") return undefined;
  if (noiseSource) return noiseSource;
  if (source === "zero") return zeroSource();
  const { signal, onProgress } = runOptions;
  return meanSource(model, averaged?.pairs ?? pairs, {
    direction,
    sites,
    batchSize,
    studied: pairs,
    ...(signal && { signal }),
    ...(onProgress && { onProgress }),
  });
}

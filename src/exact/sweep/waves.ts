/** @file Which runs of a sweep go through a block together, and which chunks of them go up through the layers side by side. */

import { bytesOfAttention, bytesOfRun, bytesOfStream, restingBudget } from "../../activation-budget.js";
import type { ModelConfig } from "../../model/config.js";
import { wavesWithin } from "../../wave.js";
import { chunksWithin, type SweepInput, type SweepRun, sweepRuns } from "./plan.js";

/**
 * What a run takes beside tensors while it rests: its objects, where it lies in the chunk's list of tokens included. There may
 * be a million of them in narrow models.
 */
export const RUN_OBJECT_BYTES = 256;

/**
 * All runs of a batch in chunks, those chunks together that go up side by side.
 * @param budgetBytes what the activations of a chunk may take
 * @param onIdle told of each node and pair that need no run
 */
export function wavesOfSweep(
  input: SweepInput,
  budgetBytes: number,
  onIdle?: (pairIndex: number, patch: number) => void,
): Iterable<readonly (readonly SweepRun[])[]> {
  const { config } = input;
  const chunks = chunksWithin(sweepRuns(input, onIdle), budgetBytes, {
    ofRun: ({ span, metricPosition }) => bytesOfRun(config, metricPosition + 1 - span.first),
    ofEach: (first, end) => bytesOfAttention(config, end - first, end),
  });
  return wavesWithin(chunks, restingBudget(budgetBytes), (chunk) => bytesAtRest(config, chunk));
}

/** What a chunk takes between two layers at most: the streams of its runs from their first positions on. */
function bytesAtRest(config: ModelConfig, chunk: readonly SweepRun[]): number {
  let tokens = 0;
  for (const { span, metricPosition } of chunk) tokens += metricPosition + 1 - span.first;
  return bytesOfStream(config, tokens) + RUN_OBJECT_BYTES * chunk.length;
}

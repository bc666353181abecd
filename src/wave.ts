/**
 * @file Waves: chunks of runs that go up through the layers side by side. A model that is read from disk is read once per
 * wave, not once per chunk. The chunks are those that would run one after the other; only what they rest as between two
 * blocks is held at the same time, and bounds a wave.
 */

import { type Climber, climb } from "./model/climb.js";
import type { BlockWeights, WeightsProvider } from "./model/weights.js";
import { nextBatch } from "./run-control.js";

/**
 * As many neighbouring chunks at a time as fit the budget; at least one.
 * @param bytesAtRest what a chunk takes between two layers, at most
 */
export function* wavesWithin<Chunk>(
  chunks: Iterable<Chunk>,
  budgetBytes: number,
  bytesAtRest: (chunk: Chunk) => number,
): Generator<readonly Chunk[]> {
  let wave: Chunk[] = [];
  let held = 0;
  for (const chunk of chunks) {
    const more = bytesAtRest(chunk);
    if (wave.length > 0 && held + more > budgetBytes) {
      yield wave;
      wave = [];
      held = 0;
    }
    wave.push(chunk);
    held += more;
  }
  if (wave.length > 0) yield wave;
}

export interface WaveControl<Run> {
  /** The layers end before this one. */
  readonly to: number;
  /** Reads what is wanted off a chunk that has arrived, one after the other. */
  readonly finish?: (run: Run) => Promise<void> | void;
  /** Told how much of the wave's work is done, from above 0 to 1: a chunk's way through a layer is a step, its reading another one. */
  readonly onShare?: (share: number) => void;
  /** Aborting it stops the wave before its next block or reading: either may take seconds. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Takes the chunks of a wave up and reads them. Frees all of them, whatever happens.
 * @throws the signal's reason once it is aborted, and whatever a chunk throws
 */
export async function runWave<Run extends Climber>(
  weights: Pick<WeightsProvider, "layer" | "release">,
  wave: readonly Run[],
  { to, finish, onShare, signal }: WaveControl<Run>,
): Promise<void> {
  const steps = wave.reduce((sum, { from }) => sum + to - from + 1, 0);
  let gone = 0;
  const step = () => onShare?.(++gone / steps);
  const counted = wave.map((run) => ({
    from: run.from,
    through(block: BlockWeights, layer: number) {
      run.through(block, layer);
      step();
    },
  }));
  try {
    await climb(weights, counted, to, () => nextBatch(signal));
    for (const run of wave) {
      await nextBatch(signal);
      await finish?.(run);
      run.dispose();
      step();
    }
  } finally {
    for (const run of wave) run.dispose();
  }
}

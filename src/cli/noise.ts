/** @file What the options that begin with --noise ask for. */

import { InputError } from "../errors.js";
import { DEFAULT_NOISE, describeNoise, type NoiseOptions } from "../sources/noise.js";
import type { RunCommandOptions } from "./options.js";

/**
 * The noise of a run; undefined where --source is something else.
 * @throws InputError for noise without positions, or its options without --source noise
 */
export function noiseOptions({
  source = "prompt",
  noiseAt,
  noiseScale,
  noiseDraws,
  noiseSeed,
}: RunCommandOptions): NoiseOptions | undefined {
  if (source === "noise") {
    if (!noiseAt) {
      throw new InputError(
        "--source noise: expected --noise-at with it, the positions or roles that get noise, got none",
      );
    }
    return {
      at: noiseAt,
      ...(noiseScale !== undefined && { multiple: noiseScale }),
      ...(noiseDraws !== undefined && { draws: noiseDraws }),
      ...(noiseSeed !== undefined && { seed: noiseSeed }),
    };
  }
  const [idle] = Object.entries({
    "--noise-at": noiseAt,
    "--noise-scale": noiseScale,
    "--noise-draws": noiseDraws,
    "--noise-seed": noiseSeed,
  }).filter(([, value]) => value !== undefined);
  if (idle) throw new InputError(`${idle[0]}: expected --source noise with it, got --source ${source}`);
  return undefined;
}

/** How often each pair is run: as often as noise is drawn for it. */
export function drawsOf(noise: NoiseOptions | undefined): number {
  return noise ? (noise.draws ?? DEFAULT_NOISE.draws) : 1;
}

/** What is patched in or run in place of the pairs' other prompts, as summaries have it. */
export function sourceText(options: RunCommandOptions): string {
  const noise = noiseOptions(options);
  return noise ? describeNoise(noise) : (options.source ?? "prompt");
}

/**
 * @file From a ranked list to a certificate for its top k: what `localize` does when it is given a confidence.
 */

import { InputError } from "../errors.js";
import { costOfNodes } from "../exact/cost-ahead.js";
import type { ExactOptions } from "../exact/patch-sets.js";
import { checkLimit, LIMITS } from "../limits.js";
import type { ModelConfig } from "../model/config.js";
import type { Model } from "../model/model.js";
import { type Ranking, withVerified } from "../nodes/ranking.js";
import type { Pair } from "../prompts/pair.js";
import type { DrawsOfSource } from "../sources/draws.js";
import { Certification, type Certified, type CertifyOptions } from "./certification.js";
import { type Measurements, measureHere } from "./measurements.js";
import { checkComplete } from "./observe.js";

export const DEFAULT_INCLUSION = 0.05;
/** Of which none reaching the threshold bounds their share at 99 % confidence by 4.5 %. */
export const DEFAULT_PREVALENCE_SAMPLE = 100;

/**
 * Verifies, samples and certifies.
 *
 * @param estimated a ranking with estimates of all nodes of its space
 * @param options with `onInterrupted`, called with the exact effects so far where the signal stops those that are being verified
 * @throws InputError for options out of range, no estimates, or pairs that lack nodes
 * @throws RunError if the metric of a run is not finite
 */
export async function certify(
  model: Model,
  pairs: readonly Pair[],
  estimated: Ranking,
  options: ExactOptions &
    CertifyOptions & { readonly onInterrupted?: (soFar: Ranking) => Promise<void> | void },
): Promise<Certified> {
  let soFar: Ranking = estimated;
  const measurements = measureHere(model, pairs, estimated.space, options, async (partial) => {
    await options.onInterrupted?.(withVerified(soFar, partial));
  });
  return await certifyWith(model.config, estimated, measurements, {
    ...options,
    async onVerified(ranking) {
      soFar = ranking;
      await options.onVerified?.(ranking);
    },
  });
}

/**
 * The same, with somebody else to run the model.
 * @param estimated with all the pairs that are measured
 * @param source what the measurements patch in, or run, if not the pairs' other prompts: it says how often each pair is run
 * @throws as `certify` does
 */
export async function certifyWith(
  config: ModelConfig,
  estimated: Ranking,
  measurements: Measurements,
  {
    topK,
    confidence,
    budget,
    inclusion = DEFAULT_INCLUSION,
    seed = 0,
    prevalenceSample = DEFAULT_PREVALENCE_SAMPLE,
    onVerified,
    source,
  }: CertifyOptions & { readonly source?: DrawsOfSource },
): Promise<Certified> {
  const { space, pairs, estimates } = estimated;
  if (!estimates) throw new InputError("certify: expected a ranking with estimates, got one without");
  checkCertifyOptions(
    { topK, confidence, inclusion, seed, prevalenceSample, ...(budget !== undefined && { budget }) },
    space.size,
  );
  checkComplete(space, pairs);
  const from = source && { source };
  const run = new Certification(config, estimated, estimates, measurements, {
    topK,
    confidence,
    budget: budget ?? 2 * costOfNodes(config, pairs, space, { ...from }),
    inclusion,
    seed,
    prevalenceSample,
    ...from,
    ...(onVerified && { onVerified }),
  });
  await run.run();
  return run.result();
}

/** @throws InputError */
export function checkCertifyOptions(
  { topK, confidence, budget, inclusion = DEFAULT_INCLUSION, seed = 0, prevalenceSample = 0 }: CertifyOptions,
  nodes: number,
): void {
  const expect = (holds: boolean, what: string, got: unknown) => {
    if (!holds) throw new InputError(`certify: expected ${what}, got ${got}`);
  };
  expect(
    Number.isInteger(topK) && topK >= 1 && topK <= nodes,
    `topK from 1 to ${nodes}, the number of nodes`,
    topK,
  );
  expect(confidence >= 0.5 && confidence < 1, "a confidence from 0.5 to below 1", confidence);
  expect(budget === undefined || budget > 0, "a positive budget", budget);
  expect(inclusion > 0 && inclusion < 1, "an inclusion between 0 and 1", inclusion);
  expect((seed | 0) === seed, "seed to be an integer from -2^31 to 2^31 - 1", seed);
  expect(
    Number.isInteger(prevalenceSample) && prevalenceSample >= 0,
    "prevalenceSample to be 0 or a positive integer",
    prevalenceSample,
  );
  checkLimit("certify", "prevalenceSample", prevalenceSample, LIMITS.nodes);
  if (budget !== undefined) checkLimit("certify", "budget", budget, LIMITS.budget);
}

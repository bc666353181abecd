/** @file Every kind of result that a model gives, as bits: for tests that two ways to hold its weights are one and the same. */

import { createHash } from "node:crypto";
import { estimateBy } from "../../src/atpstar/estimate.js";
import { patchSets } from "../../src/exact/patch-sets.js";
import { pathEffects } from "../../src/exact/paths/path-effects.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import type { Model } from "../../src/model/model.js";
import { sitesOf } from "../../src/model/sites.js";
import { logits } from "../../src/model/transformer.js";
import { makeNodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import { noiseSource } from "../../src/sources/noise.js";

/** One kibibyte: too little for any layer's record, so that every layer is computed again on the way back. */
const NO_RECORDS = 2 ** 10;

/** The bits of all numbers, in short. */
function bitsOf(...values: readonly (Float32Array | Float64Array)[]): string {
  const hash = createHash("sha256");
  for (const { buffer, byteOffset, byteLength } of values) {
    hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return hash.digest("hex").slice(0, 16);
}

/** Name of a computation -> the bits of its result. */
export async function allResults(model: Model, pairs: readonly Pair[]): Promise<Record<string, string>> {
  const { config } = model;
  const space = makeNodeSpace(config, sitesOf(config), positionLabels("each", pairs));
  const common = { direction: "noising", batchSize: 2 } as const;
  const results: Record<string, string> = {};

  const all = await logits(model, [pairs[0].clean]);
  results.logits = bitsOf(all.dataSync<"float32">());
  all.dispose();

  for (const [method, name, activationBudgetBytes] of [
    ["atp", "logit-diff", 2 ** 30],
    ["atp", "prob-diff", NO_RECORDS],
    ["atp*", "logit-diff", NO_RECORDS],
    ["atp*", "logprob", 2 ** 30],
  ] as const) {
    const options = { ...common, metric: metricByName(name), space, activationBudgetBytes };
    const { scores, baseMetric, sourceMetric } = await estimateBy(method, model, pairs, options);
    results[`${method} ${name}`] = bitsOf(scores.sum, scores.sumAbs, baseMetric, sourceMetric);
  }

  const metrics = ["logit-diff", "logit", "rank", "kl"].map(metricByName);
  const someNodes = Uint32Array.from({ length: Math.ceil(space.size / 12) }, (_, i) => 12 * i);
  const swept = await sweepNodes(model, pairs, space, someNodes, { ...common, metrics });
  results.sweep = bitsOf(...swept.metrics.map(({ patched }) => patched));

  const sets = [0, 1, 2].map((first) => someNodes.filter((_, i) => i % 3 === first));
  const patched = await patchSets(model, pairs, space, sets, { ...common, metrics });
  results.sets = bitsOf(...patched.metrics.map((metric) => metric.patched));

  for (const [sender, receiver] of [
    ["L0.z[1]@*", "final"],
    ["L0.mlpOut@*", "L2.k[0]@*"],
  ]) {
    const ends = { senders: [sender], receivers: [receiver] };
    const { effects } = await pathEffects(model, pairs, { ...common, metric: metrics[0], ...ends });
    results[`${sender} -> ${receiver}`] = bitsOf(effects);
  }

  const noise = await noiseSource(model, { at: [1], draws: 2 });
  const estimates = await estimateBy("atp", model, pairs, {
    ...common,
    metric: metrics[0],
    space,
    source: noise,
  });
  results.noise = bitsOf(Float64Array.of(noise.embeddingDeviation), estimates.scores.sum);
  noise.dispose();
  return results;
}

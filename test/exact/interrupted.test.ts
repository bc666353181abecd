/** What is told when a signal stops exact runs: effects that an undisturbed call has, on the same pairs. */

import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { directPaths, type PathEffects } from "../../src/exact/paths/path-effects.js";
import { localize, sweep } from "../../src/localize.js";
import type { Model } from "../../src/model/model.js";
import { rankedNodes } from "../../src/nodes/ranking.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import type { Progress } from "../../src/run-control.js";
import { rankedWindows, sweepWindows } from "../../src/sweep-windows.js";
import { startTestEngine } from "../support/engine.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

const TOLERANCE = 2e-5;

const PAIRS: Pair[] = [1, 2, 3, 4, 5, 6].map((token) =>
  tokenPair([token, 2, 3, 4, 5], [token, 7, 3, 4, 5], { changed: 1, end: 4 }),
);

let model: Model;
beforeAll(async () => {
  await startTestEngine();
  model = randomModel(TINY_CONFIGS.plain, { seed: 3 });
});
afterAll(() => model.dispose());

/** Options of a call that stops itself once so much of a stage is done. */
function stopsAt(stage: string, share: number) {
  const controller = new AbortController();
  return {
    batchSize: 2,
    // Small, so that runs come in many waves.
    activationBudgetBytes: 20_000,
    signal: controller.signal,
    onProgress(progress: Progress) {
      if (progress.stage === stage && progress.done >= share * progress.total) {
        controller.abort(new Error("stopped"));
      }
    },
  };
}

/** What a call tells before it rejects; it must leave no tensor behind. */
async function toldBy<SoFar>(call: (tell: (soFar: SoFar) => void) => Promise<unknown>): Promise<SoFar> {
  const told: SoFar[] = [];
  const before = tf.memory().numTensors;
  await expect(call((soFar) => void told.push(soFar))).rejects.toThrow("stopped");
  expect(tf.memory().numTensors).toBe(before);
  expect(told.length).toBe(1);
  return told[0];
}

describe("exact runs that are stopped", () => {
  it.each([
    [
      "in the middle of the first pairs",
      0.2,
      (pairs: number, nodes: number, all: number) => pairs === 2 && nodes < all,
    ],
    [
      "behind the first pairs",
      0.6,
      (pairs: number, nodes: number, all: number) => pairs >= 2 && pairs < 6 && nodes === all,
    ],
  ])("of nodes, %s", async (_, share, isExpected) => {
    const whole = await sweep(model, PAIRS, { nodes: "z,mlpOut", batchSize: 2 });
    const soFar = await toldBy<typeof whole>((onInterrupted) =>
      sweep(model, PAIRS, { nodes: "z,mlpOut", ...stopsAt("verify", share), onInterrupted }),
    );
    expect([soFar.pairs.length, soFar.verified.nodes.length, whole.verified.nodes.length]).toSatisfy(
      ([pairs, nodes, all]) => isExpected(pairs, nodes, all),
    );
    const same = await sweep(model, soFar.pairs, { nodes: "z,mlpOut", batchSize: 2 });
    const wanted = new Map([...rankedNodes(same)].map((row) => [row.node, row]));
    for (const { node, effectMean = Number.NaN, recovered = Number.NaN, pairs } of rankedNodes(soFar)) {
      expect(Math.abs(effectMean - (wanted.get(node)?.effectMean ?? Number.NaN))).toBeLessThan(TOLERANCE);
      expect(Math.abs(recovered - (wanted.get(node)?.recovered ?? Number.NaN))).toBeLessThan(TOLERANCE);
      expect(pairs).toBe(soFar.pairs.length);
    }
  });

  it("of the best nodes of a list, which keeps all of its estimates", async () => {
    const options = { nodes: "z,mlpOut", topK: 12, method: "atp" } as const;
    const whole = await localize(model, PAIRS, { ...options, batchSize: 2 });
    const soFar = await toldBy<Awaited<ReturnType<typeof localize>>>((onInterrupted) =>
      localize(model, PAIRS, { ...options, ...stopsAt("verify", 0.6), onInterrupted }),
    );
    expect(soFar.order.length).toBe(whole.order.length);
    const [all, some] = [[...rankedNodes(whole)], [...rankedNodes(soFar)]];
    const verified = some.filter((row) => row.verified);
    expect(verified.length).toBeGreaterThan(0);
    expect(new Set(verified.map(({ pairs }) => pairs)).size).toBe(1);
    expect(verified[0].pairs).toBeLessThan(PAIRS.length);
    // The gap would be over all pairs.
    expect(verified.every(({ recovered }) => recovered === undefined)).toBe(true);
    expect(some.some(({ recovered }) => recovered !== undefined)).toBe(true);
    const estimates = new Map(all.map(({ node, estimateMean }) => [node, estimateMean]));
    for (const { node, estimateMean = Number.NaN } of some) {
      expect(Math.abs(estimateMean - (estimates.get(node) ?? Number.NaN))).toBeLessThan(TOLERANCE);
    }
  });

  it("of a certificate, which has the nodes that were verified before as well", async () => {
    const options = {
      nodes: "z,mlpOut",
      topK: 4,
      method: "atp",
      confidence: 0.9,
      prevalenceSample: 0,
    } as const;
    let before = 0;
    const soFar = await toldBy<Awaited<ReturnType<typeof localize>>>((onInterrupted) =>
      localize(model, PAIRS, {
        ...options,
        ...stopsAt("verify", 0.6),
        onInterrupted,
        onVerified: (ranking) => {
          before = ranking.verified?.nodes.length ?? 0;
        },
      }),
    );
    expect(soFar.verified?.nodes.length).toBeGreaterThan(before);
  });

  it("of windows", async () => {
    const options = { nodes: "z", window: { over: "layers", width: 2 } } as const;
    const soFar = await toldBy<Awaited<ReturnType<typeof sweepWindows>>>((onInterrupted) =>
      sweepWindows(model, PAIRS, { ...options, ...stopsAt("verify", 0.5), onInterrupted }),
    );
    const pairs = soFar.metrics[0].base.length;
    const same = await sweepWindows(model, PAIRS.slice(0, pairs), { ...options, batchSize: 2 });
    const wanted = new Map([...rankedWindows(same)].map((row) => [row.window, row.effectMean]));
    const rows = [...rankedWindows(soFar)];
    expect(rows.length).toBeGreaterThan(0);
    for (const { window, effectMean } of rows) {
      expect(Math.abs(effectMean - (wanted.get(window) ?? Number.NaN))).toBeLessThan(TOLERANCE);
    }
  });

  it("of paths", async () => {
    const options = {
      senders: ["L0.z[0]@1", "L0.mlpOut@1", "L1.z[1]@1"],
      receivers: ["final", "L1.q[0]@4", "L1.k[0]@1"],
      metric: metricByName("logit-diff"),
      direction: "noising",
      batchSize: 2,
    } as const;
    const whole = await directPaths(model, PAIRS, options);
    const [soFar, pairs] = await toldBy<readonly [PathEffects, readonly Pair[]]>((tell) =>
      directPaths(model, PAIRS, {
        ...options,
        ...stopsAt("patch", 0.5),
        onInterrupted: (effects, of) => tell([effects, of]),
      }),
    );
    const paths = whole.effects.length / PAIRS.length;
    expect(pairs.length).toBeGreaterThan(0);
    expect(pairs.length).toBeLessThan(PAIRS.length);
    pairs.forEach((pair, p) => {
      const at = PAIRS.indexOf(pair);
      expect(soFar.baseMetric[p]).toBeCloseTo(whole.baseMetric[at], 4);
      for (let path = 0; path < paths; path++) {
        const [value, wanted] = [soFar.effects[p * paths + path], whole.effects[at * paths + path]];
        if (!Number.isNaN(value)) expect(Math.abs(value - wanted)).toBeLessThan(TOLERANCE);
      }
    });
    expect(soFar.effects.some((value) => !Number.isNaN(value))).toBe(true);
  });
});

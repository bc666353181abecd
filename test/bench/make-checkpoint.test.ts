import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { makeCheckpoint } from "../../bench/make-checkpoint.js";
import { loadModel } from "../../src/checkpoint/load-model.js";
import { logits } from "../../src/model/transformer.js";
import { startTestEngine } from "../support/engine.js";

beforeAll(async () => {
  await startTestEngine();
});

it.each([true, false])(
  "a random checkpoint (tied: %s) is a model that is neither flat nor saturated",
  async (tied) => {
    const folder = mkdtempSync(join(tmpdir(), "atpkit-random-"));
    try {
      const sizes = { layers: 6, width: 64, heads: 4, kvHeads: 2, mlpWidth: 96, vocabulary: 500 };
      const bytes = makeCheckpoint(folder, { ...sizes, tied });
      // Per layer q and o, k and v, gate, up and down, two norms; one or two matrices of the vocabulary; the last norm.
      const values = 6 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64 + 2 * 64) + (tied ? 1 : 2) * 500 * 64 + 64;
      expect(bytes).toBe(2 * values);
      const model = await loadModel(folder);
      const { heads, kvHeads, headWidth, family } = model.config;
      expect([family, heads, kvHeads, headWidth]).toEqual(["llama", 4, 2, 16]);
      const result = await logits(model, [[1, 2, 3, 4, 5]]);
      const last = [...result.dataSync()].slice(-500);
      result.dispose();
      model.dispose();
      const mean = last.reduce((sum, value) => sum + value, 0) / 500;
      const deviation = Math.sqrt(last.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 500);
      // Products of a normed stream with rows of variance 1/D: 1, but for 500 draws.
      expect(deviation).toBeGreaterThan(0.8);
      expect(deviation).toBeLessThan(1.25);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../../src/checkpoint/load-model.js";
import { logits } from "../../src/model/transformer.js";
import { startTestEngine } from "../support/engine.js";
import { largestError } from "../support/errors.js";
import { GOLDEN_VARIANTS, goldenFolder, readGolden } from "../support/goldens.js";

/** Float32 through three layers, with logits up to about 10. */
const LOGIT_TOLERANCE = 5e-5;

beforeAll(async () => {
  await startTestEngine();
});

describe.each(GOLDEN_VARIANTS)("%s", (variant) => {
  it("has the reference's logits, alone and in a batch", async () => {
    const golden = readGolden(variant);
    const before = tf.memory().numTensors;
    const model = await loadModel(goldenFolder(variant));
    const alone = await logits(model, [golden.clean]);
    expect(alone.shape).toEqual([1, ...golden.logitsShape]);
    expect(largestError(alone.dataSync(), golden.cleanLogits)).toBeLessThan(LOGIT_TOLERANCE);

    const batch = await logits(model, [golden.corrupted, golden.clean]);
    const second = batch.dataSync().subarray(alone.size);
    expect(largestError(second, golden.cleanLogits)).toBeLessThan(LOGIT_TOLERANCE);
    tf.dispose([alone, batch]);
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

it("gives the unembedding back where it does not fit", async () => {
  const model = await loadModel(goldenFolder("gpt2"));
  const { weights } = model;
  const narrow: tf.Tensor2D = tf.zeros([4, model.config.width - 1]);
  let inUse = 0;
  const broken = {
    ...model,
    weights: {
      ...weights,
      async unembedding() {
        inUse++;
        return narrow;
      },
      releaseUnembedding() {
        inUse--;
      },
    },
  };
  const before = tf.memory().numTensors;
  await expect(logits(broken, [[1, 2, 3]])).rejects.toThrow("product: expected equal inner sizes");
  expect(inUse).toBe(0);
  expect(tf.memory().numTensors).toBe(before);
  narrow.dispose();
  model.dispose();
});

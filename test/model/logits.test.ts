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

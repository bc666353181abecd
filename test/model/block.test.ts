import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs"; // registers the gradients that autodiff needs
import { beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { blockForward, blockVjp, disposeBlockContext, makeBlockContext } from "../../src/model/block.js";
import { type HookPoint, sitesOf } from "../../src/model/sites.js";
import { startTestEngine } from "../support/engine.js";
import { relativeError } from "../support/errors.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";

/** Two float32 ways to the same derivative, through a whole block. */
const AUTODIFF_TOLERANCE = 2e-5;

beforeAll(async () => {
  await startTestEngine();
});

describe.each(["plain", "parallel", "gated"] as const)("%s block", (kind) => {
  const config = TINY_CONFIGS[kind];
  const [B, T, D] = [2, 5, config.width];

  it.each(["in-out", "out-in"] as const)(
    "layout %s: the gradient that each site's visit sees equals autodiff of a change at that site",
    async (layout) => {
      const model = randomModel(config, { layout });
      const weights = await model.weights.layer(1);
      const context = makeBlockContext(config, T);
      const resid = tf.randomNormal([B, T, D], 0, 1, "float32", 5) as tf.Tensor3D;
      const dResidPost = tf.randomNormal([2, B, T, D], 0, 1, "float32", 6) as tf.Tensor4D;

      const visited = new Map<HookPoint, tf.Tensor>();
      const { residPost, saved } = blockForward(context, weights, 1, resid);
      const dResidPre = blockVjp(context, weights, 1, saved, dResidPost, (site, layer, gradient) => {
        expect(layer).toBe(1);
        visited.set(site, tf.keep(tf.clone(gradient)));
      });
      expect([...visited.keys()].sort()).toEqual([...sitesOf(config), "pattern"].sort());
      expect(relativeError(dResidPre.dataSync(), visited.get("residPre")?.dataSync() ?? [])).toBe(0);

      for (const [site, gradient] of visited) {
        for (const stream of [0, 1]) {
          const dy = tf.squeeze(tf.slice(dResidPost, [stream, 0, 0, 0], [1, B, T, D]), [0]);
          const changed = (delta: tf.Tensor) => {
            const run = blockForward(context, weights, 1, resid, (at, _layer, value) =>
              at === site ? tf.add(value, delta) : value,
            );
            return tf.sum(tf.mul(run.residPost, dy)) as tf.Scalar;
          };
          const byAutodiff = tf.tidy(() => tf.grad(changed)(tf.zeros(gradient.shape.slice(1))));
          const got = tf.unstack(gradient)[stream];
          expect(got.shape).toEqual(byAutodiff.shape);
          expect(relativeError(got.dataSync(), byAutodiff.dataSync()), site).toBeLessThan(AUTODIFF_TOLERANCE);
        }
      }
      tf.dispose([residPost, saved, dResidPre, resid, dResidPost]);
      tf.dispose([...visited.values()]);
      disposeBlockContext(context);
      model.dispose();
    },
  );

  it("runs edits in order of computation, and an edit's value is what the run goes on with", async () => {
    const model = randomModel(config);
    const weights = await model.weights.layer(0);
    const context = makeBlockContext(config, T);
    const resid = tf.randomNormal([B, T, D], 0, 1, "float32", 7) as tf.Tensor3D;
    const seen: HookPoint[] = [];
    const run = tf.tidy(
      () =>
        blockForward(context, weights, 0, resid, (site, _layer, value) => {
          seen.push(site);
          return site === "attnOut" || site === "mlpOut" ? tf.zerosLike(value) : value;
        }).residPost,
    );
    expect(seen.filter((point) => point !== "pattern")).toEqual(sitesOf(config));
    // With both contributions removed the block is the identity.
    expect([...run.dataSync()]).toEqual([...resid.dataSync()]);
    tf.dispose([run, resid]);
    disposeBlockContext(context);
    model.dispose();
  });

  it("leaves only what it returns", async () => {
    const before = tf.memory().numTensors;
    const model = randomModel(config);
    const weights = await model.weights.layer(0);
    const context = makeBlockContext(config, T);
    const resid = tf.zeros([B, T, D]) as tf.Tensor3D;
    const { residPost, saved } = blockForward(context, weights, 0, resid);
    const gradient = tf.ones([1, B, T, D]) as tf.Tensor4D;
    blockVjp(context, weights, 0, saved, gradient).dispose();
    tf.dispose([resid, residPost, saved, gradient]);
    disposeBlockContext(context);
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

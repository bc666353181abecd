import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { blockForward, disposeBlockContext, makeBlockContext } from "../../src/model/block.js";
import { reaches } from "../../src/model/reach.js";
import { type HookPoint, sitesOf } from "../../src/model/sites.js";
import { startTestEngine } from "../support/engine.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";

beforeAll(async () => {
  await startTestEngine();
});

describe.each(["plain", "parallel", "gated"] as const)("%s block", (kind) => {
  it("says of every site exactly the hook points that change with it", async () => {
    const config = TINY_CONFIGS[kind];
    const model = randomModel(config);
    const weights = await model.weights.layer(0);
    const context = makeBlockContext(config, 4);
    const resid = tf.randomNormal([1, 4, config.width], 0, 1, "float32", 3) as tf.Tensor3D;
    const valuesWith = (changed?: HookPoint) => {
      const values = new Map<HookPoint, string>();
      const { residPost, saved } = blockForward(context, weights, 0, resid, (point, _layer, value) => {
        // Other changes at every place: some sites do not hear one that is the same everywhere.
        const noise = tf.randomNormal(value.shape, 0, 1, "float32", 4);
        const out = point === changed ? tf.add(value, noise) : value;
        values.set(point, out.dataSync().join());
        return out;
      });
      tf.dispose([residPost, saved]);
      return values;
    };
    const before = valuesWith();
    const points = [...before.keys()];
    expect(points.length).toBe(sitesOf(config).length + 1);
    for (const site of sitesOf(config)) {
      const after = valuesWith(site);
      const heard = points.filter((point) => after.get(point) !== before.get(point));
      expect(
        points.filter((point) => reaches(config, site, point)),
        site,
      ).toEqual(heard);
    }
    resid.dispose();
    disposeBlockContext(context);
    model.dispose();
  });
});

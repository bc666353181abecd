/** @file Whether `hook_loop.py` computes what the sweep computes: nodes of all its sites in a small GPT-2 checkpoint, by either. */

import { loadModel } from "../../src/checkpoint/load-model.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import { makeNodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { DIRECTIONS } from "../../src/prompts/direction.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { largestError } from "../../test/support/errors.js";
import { pairOfGolden } from "../../test/support/golden-nodes.js";
import { goldenFolder, readGolden } from "../../test/support/goldens.js";
import { systematicSample } from "../systematic-sample.js";
import { type HookLoop, LOOP_SITES } from "./hook-loop.js";

const CHECKPOINT = "gpt2";

/** Of a site: a pass takes a millisecond on a quiet machine, and a hundred on a busy one. */
const NODES = 24;

/** Largest difference of an effect as a part of the metric's span, over nodes of all sites and both directions. */
export async function differenceOfEffects(loop: HookLoop): Promise<number> {
  const folder = goldenFolder(CHECKPOINT);
  const pair = pairOfGolden(readGolden(CHECKPOINT));
  const model = await loadModel(folder);
  const differences: number[] = [];
  for (const direction of DIRECTIONS) {
    await loop.load({ checkpoint: folder }, pair, direction);
    for (const site of LOOP_SITES) {
      const space = makeNodeSpace(model.config, [site], positionLabels("each", [pair]));
      const all = Uint32Array.from({ length: space.size }, (_, node) => node);
      const nodes = systematicSample(all, NODES);
      const options = { metrics: [metricByName("logit-diff")], direction, batchSize: 1 };
      const [{ patched, base, source }] = (await sweepNodes(model, [pair], space, nodes, options)).metrics;
      const { effects } = await loop.run(site, space, nodes);
      const ofLoop = effects.map((effect) => base[0] + effect);
      differences.push(largestError(patched, ofLoop) / Math.abs(source[0] - base[0]));
    }
  }
  model.dispose();
  return Math.max(...differences);
}

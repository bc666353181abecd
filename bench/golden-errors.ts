/**
 * @file How far the engine's float32 results are from the float64 references: for every golden checkpoint the largest
 * error of its logits, the relative error ‖got − wanted‖ / ‖wanted‖ of AtP over all nodes, and the largest error of an
 * exact effect as a part of the metric's span, over single nodes and node sets.
 *
 *   npx tsx bench/golden-errors.ts [tensorflow|wasm]
 */

import Table from "cli-table3";
import { estimateAtp } from "../src/atp/estimate.js";
import { loadModel } from "../src/checkpoint/load-model.js";
import { startEngine } from "../src/engine/start-engine.js";
import { exactEffects } from "../src/exact/patch-sets.js";
import { sitesOf } from "../src/model/sites.js";
import { logits } from "../src/model/transformer.js";
import { indexOfNode, makeNodeSpace } from "../src/nodes/node-space.js";
import { positionLabels } from "../src/nodes/positions.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import { largestError, relativeError } from "../test/support/errors.js";
import { entriesOf, nodeOfGolden, pairOfGolden } from "../test/support/golden-nodes.js";
import { GOLDEN_VARIANTS, goldenFolder, readGolden } from "../test/support/goldens.js";

const [, , prefer] = process.argv;
if (prefer !== "tensorflow" && prefer !== "wasm") throw new Error("expected an engine: tensorflow or wasm");
const engine = await startEngine({ prefer });

const table = new Table({
  head: ["checkpoint", "logits, absolute", "AtP, relative", "exact, of span", "sets, of span"],
  style: { head: [], border: [], compact: true },
});
for (const variant of GOLDEN_VARIANTS) {
  const golden = readGolden(variant);
  const span = Math.abs(golden.corruptedMetric - golden.cleanMetric);
  const model = await loadModel(goldenFolder(variant));
  const pair = pairOfGolden(golden);
  const space = makeNodeSpace(model.config, sitesOf(model.config), positionLabels("each", [pair]));
  const options = { metric: metricByName("logit-diff"), direction: "noising" as const, batchSize: 64 };

  const all = await logits(model, [golden.clean]);
  const logitError = largestError(all.dataSync(), golden.cleanLogits);
  all.dispose();

  const { scores } = await estimateAtp(model, [pair], { ...options, space });
  const atp = entriesOf(space, golden.atp, golden.shapes);
  const atpError = relativeError(
    atp.nodes.map((node) => scores.sum[node]),
    atp.values,
  );

  const exact = entriesOf(space, golden.exact, golden.shapes);
  const single = await exactEffects(
    model,
    [pair],
    space,
    exact.nodes.map((node) => Uint32Array.of(node)),
    options,
  );
  const sets = golden.sets.map(({ nodes }) =>
    Uint32Array.from(nodes, ({ kind, layer, index }) => indexOfNode(space, nodeOfGolden(kind, layer, index))),
  );
  const joint = await exactEffects(model, [pair], space, sets, options);
  const jointError = largestError(
    joint.effects,
    golden.sets.map(({ effect }) => effect),
  );
  const errors = [logitError, atpError, largestError(single.effects, exact.values) / span, jointError / span];
  table.push([variant, ...errors.map((error) => error.toExponential(1))]);
  model.dispose();
}
console.log(`${engine.backend} (${engine.device})`);
console.log(table.toString());

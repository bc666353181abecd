/**
 * @file How far the engine's float32 results are from the float64 references: for every golden checkpoint the largest
 * error of its logits, the relative error ‖got − wanted‖ / ‖wanted‖ over all nodes of the estimates by each method (signed for
 * AtP and the QK fix, contributions for GradDrop and AtP*), and the largest error of an exact effect as a part of the
 * metric's span, over single nodes and node sets.
 *
 *   npx tsx bench/golden-errors.ts [tensorflow|wasm]
 */

import Table from "cli-table3";
import { estimateBy } from "../src/atpstar/estimate.js";
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
import { GOLDEN_VARIANTS, type GoldenTable, goldenFolder, readGolden } from "../test/support/goldens.js";

const [, , prefer] = process.argv;
if (prefer !== "tensorflow" && prefer !== "wasm") throw new Error("expected an engine: tensorflow or wasm");
const engine = await startEngine({ prefer });

const table = new Table({
  head: ["checkpoint", "logits", "AtP", "QK fix", "GradDrop", "AtP*", "exact", "sets"],
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

  const errorOf = (got: Float64Array, wanted: GoldenTable): number => {
    const { nodes, values } = entriesOf(space, wanted, golden.shapes);
    return relativeError(
      nodes.map((node) => got[node]),
      values,
    );
  };
  const plain = await estimateBy("atp", model, [pair], { ...options, space });
  const dropped = await estimateBy("atp+graddrop", model, [pair], { ...options, space });
  const star = await estimateBy("atp*", model, [pair], { ...options, space });
  const estimateErrors = [
    errorOf(plain.scores.sum, golden.atp),
    errorOf(star.scores.sum, golden.qkfix),
    errorOf(dropped.scores.sumAbs, golden.graddrop),
    errorOf(star.scores.sumAbs, golden.atpstar),
  ];

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
  const errors = [
    logitError,
    ...estimateErrors,
    largestError(single.effects, exact.values) / span,
    jointError / span,
  ];
  table.push([variant, ...errors.map((error) => error.toExponential(1))]);
  model.dispose();
}
console.log(`${engine.backend} (${engine.device})`);
console.log(table.toString());

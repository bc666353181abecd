/** The numbers of docs/choosing.md, measured on the demo model. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../../src/checkpoint/load-model.js";
import { estimate, sweep, type VerifiedRanking, verify } from "../../src/localize.js";
import type { Model } from "../../src/model/model.js";
import { makeNodeSpace, parseSites } from "../../src/nodes/node-space.js";
import { POSITION_MODES, positionLabels } from "../../src/nodes/positions.js";
import { type RankedNode, rankedNodes } from "../../src/nodes/ranking.js";
import { DIRECTIONS } from "../../src/prompts/direction.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import { readPairs } from "../../src/prompts/read-pairs.js";
import { samplePairs } from "../../src/prompts/sample-pairs.js";
import { meanSource } from "../../src/sources/mean.js";
import { noiseSource } from "../../src/sources/noise.js";
import { zeroSource } from "../../src/sources/zero.js";
import { startTestEngine } from "../support/engine.js";
import { tableRows } from "../support/page-tables.js";
import { missingLine } from "./excerpts.js";
import { readPage } from "./page.js";

const PAGE = "choosing.md";
const { prose } = readPage(PAGE);

let model: Model;
let all: Pair[];
let pairs: Pair[];

beforeAll(async () => {
  await startTestEngine();
  model = await loadModel("models/demo");
  all = await readPairs("models/demo/pairs/ioi.jsonl", model, metricByName("logit-diff").needs);
  pairs = samplePairs(all, 16, 0);
});
afterAll(() => model.dispose());

/** The page's rows are the measured ones: same words, numbers equal but for the last digit. */
function expectRows(shown: readonly string[], measured: readonly string[]): void {
  const plain = shown.map((row) => row.replaceAll("−", "-"));
  expect(missingLine(plain.join("\n"), measured.join("\n"))).toBe(undefined);
  expect(shown).toHaveLength(measured.length);
}

/** What rounds to 0 has no sign. */
function fixed(value: number, decimals: number): string {
  return value.toFixed(decimals).replace(/^-(?=0\.?0*$)/, "");
}

function mean(values: ArrayLike<number>): number {
  return Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;
}

function effectsOf(ids: readonly string[], ranking: VerifiedRanking): RankedNode[] {
  const rows = new Map([...rankedNodes(ranking)].map((row) => [row.node, row]));
  return ids.map((id) => {
    const row = rows.get(id);
    if (!row) throw new Error(`expected ${id} to be verified`);
    return row;
  });
}

/** The nodes of a table's first column. */
function nodesOf(rows: readonly string[]): string[] {
  return rows.map((row) => row.split(" | ")[0].replaceAll("`", ""));
}

/** Shares of the way from the base runs to the source runs, by metric. */
function sharesOf({ metrics, verified }: VerifiedRanking, place: number): number[] {
  const count = verified.nodes.length;
  return metrics.map(({ patched, base, source }) => {
    const values = Array.from(base, (_, pair) => patched[pair * count + place]);
    return (mean(values) - mean(base)) / (mean(source) - mean(base));
  });
}

describe("docs/choosing.md", () => {
  it("sources: what is patched in decides what is found, and how far apart the runs are", async () => {
    const shown = tableRows(PAGE, 5);
    const ids = nodesOf(shown);
    const direction = "noising";
    const noise = await noiseSource(model, { at: ["s2"] });
    const replacing = [
      zeroSource(),
      await meanSource(model, pairs, { direction, sites: ["z", "mlpOut"], batchSize: 16 }),
    ];
    const prompts = await verify(model, pairs, ids);
    const rankings = [prompts];
    for (const source of replacing) rankings.push(await verify(model, pairs, ids, { source }));
    const noised = await verify(model, pairs, ids, { source: noise });
    rankings.push(noised);
    for (const source of [...replacing, noise]) source.dispose();
    const columns = rankings.map((ranking) => effectsOf(ids, ranking));
    expectRows(
      shown,
      ids.map((id, row) =>
        [`\`${id}\``, ...columns.map((rows) => fixed(rows[row].effectMean ?? Number.NaN, 2))].join(" | "),
      ),
    );
    const text = prose.replaceAll(/\s+/g, " ");
    const [base, corrupted] = [prompts.baseMetric, prompts.sourceMetric].map((values) =>
      fixed(mean(values), 2),
    );
    expect(text).toContain(
      `logit difference ${base} on the clean and ${corrupted.replace("-", "−")} on the corrupted prompts`,
    );
    expect(text).toContain(`still prefer the right name by ${fixed(mean(noised.sourceMetric), 2)}:`);
  });

  it("metrics: the same runs by five of them", async () => {
    const shown = tableRows(PAGE, 6);
    const ids = nodesOf(shown);
    const alsoMetrics = ["logprob", "prob", "kl", "accuracy"];
    const ranking = await verify(model, pairs, ids, { direction: "denoising", alsoMetrics });
    const rows = [...rankedNodes(ranking)];
    const places = new Map(
      rows.map(({ node }, at) => [node, ranking.verified.nodes.indexOf(ranking.order[at])]),
    );
    expectRows(
      shown,
      ids.map((id) => {
        const shares = sharesOf(ranking, places.get(id) ?? Number.NaN);
        return [`\`${id}\``, ...shares.map((share) => `${fixed(100 * share, 1)} %`)].join(" | ");
      }),
    );
  });

  it("positions: how many nodes there are", () => {
    const size = (nodes: string, mode: (typeof POSITION_MODES)[number]) =>
      makeNodeSpace(model.config, parseSites(nodes, model.config), positionLabels(mode, pairs)).size;
    const counts = tableRows(PAGE, 4).map((row) => row.split(" | ").map((cell) => cell.replaceAll("`", "")));
    expect(counts.map(([mode, , count]) => [mode, count])).toEqual(
      POSITION_MODES.map((mode) => [mode, size("q,k,v,z,mlpOut", mode).toLocaleString("en")]),
    );
    const neurons = size("q,k,v,z,mlpOut,neuron", "each").toLocaleString("en");
    expect(prose).toContain(`1,530 nodes become ${neurons} with \`--nodes q,k,v,z,mlpOut,neuron\``);
  });

  it("pairs: how sure effects are", async () => {
    const shown = tableRows(PAGE, 7);
    const measured: string[] = [];
    for (const row of shown) {
      const [count = ""] = row.split(" | ");
      const some = samplePairs(all, Number(count), 0);
      const ids = ["L1.z[2]@end", "L2.z[3]@end", "L2.z[1]@end"];
      const effects = effectsOf(ids, await verify(model, some, ids));
      const cells = effects.flatMap(({ effectMean = Number.NaN, effectSe = Number.NaN }) => [
        fixed(effectMean, 2),
        fixed(effectSe, 2),
      ]);
      measured.push([count, ...cells].join(" | "));
    }
    expectRows(shown, measured);
  });

  it.each(DIRECTIONS)(
    "verifying: how deep in the estimates the true first ones are, %s",
    async (direction) => {
      const options = { positions: "roles", direction } as const;
      const truth = [...rankedNodes(await sweep(model, pairs, options), { limit: 20 })].map(
        ({ node }) => node,
      );
      const estimates = [...rankedNodes(await estimate(model, pairs, options))].map(({ node }) => node);
      expect(estimates).toHaveLength(408);
      const deepest = (nodes: readonly string[]) =>
        Math.max(...nodes.map((node) => estimates.indexOf(node) + 1));
      expect(deepest(truth.slice(0, 10))).toBeLessThanOrEqual(15);
      expect(deepest(truth)).toBeLessThanOrEqual(21);
      expect(prose.replaceAll(/\s+/g, " ")).toContain(
        "of 408 nodes at the roles, the true first 10 are among the first 15 of the estimates, and the true first 20 among the first 21, in both directions",
      );
    },
  );
});

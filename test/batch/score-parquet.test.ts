import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parquetMetadata, parquetReadObjects } from "hyparquet";
import { describe, expect, it } from "vitest";
import { type Manifest, readManifest, writeManifest } from "../../src/batch/manifest.js";
import { type Scores, writeScoresParquet } from "../../src/batch/score-parquet.js";
import { makeNodeSpace } from "../../src/nodes/node-space.js";
import { addScore, makeScoreTable } from "../../src/nodes/score-table.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";

/** Layers 0 to 2, heads 0 to 3, then the MLP: 5 nodes at each of two roles. */
const SPACE = makeNodeSpace(TINY_CONFIGS.plain, ["z", "mlpOut"], ["end", 3]);

async function written(scores: Scores) {
  const file = join(temporaryFolder(), "scores.parquet");
  await writeScoresParquet(file, scores);
  const bytes = readFileSync(file);
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  return { metadata: parquetMetadata(buffer), rows: await parquetReadObjects({ file: buffer }) };
}

const NOTHING = {
  pairs: null,
  estimate_sum_abs: null,
  estimate_sum: null,
  estimate_sum_squares: null,
  saturation_sum_abs: null,
  plain_sum_abs: null,
  dropped_sum_abs: null,
  effect_sum_abs: null,
  effect_sum: null,
  effect_sum_squares: null,
};

describe("writeScoresParquet", () => {
  it("has a row per node, with null for what was not computed", async () => {
    const estimates = makeScoreTable(SPACE.size, { saturation: true });
    for (const effect of [0.5, -2]) addScore(estimates, 2, effect);
    if (estimates.flags?.saturation) estimates.flags.saturation[2] = 0.25;
    addScore(estimates, 29, 0);
    const verified = { nodes: Uint32Array.of(29, 2), scores: makeScoreTable(2) };
    addScore(verified.scores, 1, 1 / 3);
    addScore(verified.scores, 1, 1 / 3);
    const { rows, metadata } = await written({ space: SPACE, estimates, verified });
    expect(rows.length).toBe(30);
    expect(
      metadata.schema.slice(1).map(({ name, type, repetition_type }) => `${name} ${type} ${repetition_type}`),
    ).toEqual([
      "node BYTE_ARRAY REQUIRED",
      "site BYTE_ARRAY REQUIRED",
      "layer INT32 REQUIRED",
      "index INT32 OPTIONAL",
      "position BYTE_ARRAY REQUIRED",
      "pairs INT32 OPTIONAL",
      ...Object.keys(NOTHING)
        .slice(1)
        .map((name) => `${name} DOUBLE OPTIONAL`),
    ]);
    expect(rows[2]).toEqual({
      node: "L0.z[2]@end",
      site: "z",
      layer: 0,
      index: 2,
      position: "end",
      pairs: 2,
      estimate_sum_abs: 2.5,
      estimate_sum: -1.5,
      estimate_sum_squares: 4.25,
      saturation_sum_abs: 0.25,
      plain_sum_abs: null,
      dropped_sum_abs: null,
      effect_sum_abs: 2 / 3,
      effect_sum: 2 / 3,
      effect_sum_squares: 1 / 9 + 1 / 9,
    });
    expect(rows[4]).toEqual({ node: "L0.z[0]@3", site: "z", layer: 0, index: 0, position: "3", ...NOTHING });
    expect(rows[29]).toEqual({
      ...NOTHING,
      node: "L2.mlpOut@3",
      site: "mlpOut",
      layer: 2,
      index: null,
      position: "3",
      pairs: 1,
      estimate_sum_abs: 0,
      estimate_sum: 0,
      estimate_sum_squares: 0,
      saturation_sum_abs: 0,
    });
  });

  it("takes effects without estimates, GradDrop's flags, and nothing at all", async () => {
    const verified = { nodes: Uint32Array.of(7), scores: makeScoreTable(1) };
    addScore(verified.scores, 0, -3);
    const effects = await written({ space: SPACE, verified });
    expect(effects.rows[7]).toMatchObject({
      ...NOTHING,
      pairs: 1,
      effect_sum_abs: 3,
      effect_sum: -3,
      effect_sum_squares: 9,
    });
    expect(effects.rows[8]).toMatchObject(NOTHING);

    const estimates = makeScoreTable(SPACE.size, { cancellation: true });
    addScore(estimates, 0, 1);
    estimates.flags?.cancellation?.dropped.set([2]);
    estimates.flags?.cancellation?.plain.set([4]);
    const flagged = await written({ space: SPACE, estimates });
    expect(flagged.rows[0]).toMatchObject({ dropped_sum_abs: 2, plain_sum_abs: 4, saturation_sum_abs: null });

    const empty = await written({ space: { groups: [], labels: [], size: 0 } });
    expect(empty.rows).toEqual([]);
    expect(empty.metadata.schema.length).toBe(16);
  });

  it("writes many nodes in groups of rows, whose numbers come back to the bit", async () => {
    const space = makeNodeSpace({ ...TINY_CONFIGS.plain, mlpWidth: 5000 }, ["neuron"], [0, 1, 2, 3, 4]);
    const estimates = makeScoreTable(space.size);
    for (let node = 0; node < space.size; node++)
      addScore(estimates, node, Math.sin(node) * 10 ** (node % 30));
    const { rows, metadata } = await written({ space, estimates });
    expect(metadata.row_groups.map(({ num_rows }) => num_rows)).toEqual([65536n, 9464n]);
    expect(rows.length).toBe(75_000);
    const column = (name: string) => Float64Array.from(rows, (row) => Number(row[name]));
    expect(column("estimate_sum")).toEqual(estimates.sum);
    expect(column("estimate_sum_abs")).toEqual(estimates.sumAbs);
    expect(column("estimate_sum_squares")).toEqual(estimates.sumSquares);
    expect(rows[70_123].node).toBe(
      `L2.neuron[${(70_123 - 50_000) % 5000}]@${Math.floor((70_123 - 50_000) / 5000)}`,
    );
  });

  it("leaves nothing behind when it is stopped", async () => {
    const folder = temporaryFolder();
    const file = join(folder, "scores.parquet");
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(writeScoresParquet(file, { space: SPACE }, { signal })).rejects.toThrow("enough");
    expect(() => readFileSync(file)).toThrow("ENOENT");
  });
});

describe("manifests", () => {
  const manifest: Manifest = {
    begun: "2025-01-01T00:00:00.000Z",
    ended: "2025-01-01T00:00:01.000Z",
    versions: { atpkit: "0.1.0", node: "20.0.0", tfjs: "4.22.0" },
    spec: { model: "m" },
    job: "0".repeat(64),
    hashes: { model: "1".repeat(64), pairs: { "a.jsonl": "2".repeat(64) } },
    engine: { backend: "wasm", devices: ["one", "two"] },
    seeds: { pairs: 0, certify: 1 },
    shards: { estimate: 1, verify: 2, certify: 3 },
    seconds: { estimate: 0.1, verify: 0.2, certify: 0.3 },
    forwardEquivalents: { estimate: 10, verify: 20, certify: 30 },
    missing: [{ name: "3".repeat(64), tries: 3, error: "no" }],
  };

  it("come back as they were written", async () => {
    const file = join(temporaryFolder(), "manifest.json");
    await writeManifest(file, manifest);
    expect(await readManifest(file)).toEqual(manifest);
  });

  it("are refused where they are none", async () => {
    const file = join(temporaryFolder(), "manifest.json");
    await expect(readManifest(file)).rejects.toThrow(
      `readManifest: expected the manifest ${file}, got no such file`,
    );
    await writeManifest(file, { ...manifest, job: JSON.parse("3") });
    await expect(readManifest(file)).rejects.toThrow(
      `readManifest: ${file}: job: Invalid input: expected string, received number`,
    );
  });
});

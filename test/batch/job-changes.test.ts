/** What a change of a job's spec costs: the shards that depend on it, and no others. */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { readManifest } from "../../src/batch/manifest.js";
import type { ShardTask } from "../../src/batch/shard-task.js";
import { ShardStore } from "../../src/batch/store.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { DEMO, type JobFolder, resultsOf, run, shardsOf, writeJob } from "./job-folder.js";

/** What this file starts is compiled: many processes. */
vi.mock(import("../../src/node-entry.js"), () => import("../support/compiled-entry.js"));

/** Many processes, each with an engine: on a busy machine they take long to start. */
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

/** Two estimate shards, two verify shards. */
const JOB = {
  maxPairs: 4,
  nodes: "z",
  positions: "roles",
  verify: { topK: 6 },
  shards: { pairs: 2, nodes: 6, samples: 40 },
};

const CERTIFY = { confidence: 0.9, inclusion: 0.5, prevalenceSample: 6 };

type Kinds = Readonly<Record<ShardTask["kind"], number>>;

/**
 * Runs a job with its spec changed.
 * @returns how many shards of each kind were made
 */
async function madeBy(job: JobFolder, spec: object): Promise<Kinds> {
  const before = await shardsOf(job);
  await writeJob(spec, join(job.specFile, ".."));
  // One worker: which shards are made does not depend on how many there are, and each is a process and an engine.
  await run(job, 1);
  const after = await shardsOf(job);
  expect([...before].filter(([name, time]) => after.get(name) !== time)).toEqual([]);
  const store = await ShardStore.open(job.output);
  const kinds = { estimate: 0, verify: 0, sample: 0 };
  for (const name of after.keys()) {
    if (!before.has(name)) kinds[(await store.read(name.replace(".shard", ""))).task.kind] += 1;
  }
  return kinds;
}

const NONE: Kinds = { estimate: 0, verify: 0, sample: 0 };

describe("shards of a finished job", () => {
  it("are all there for a certificate but the estimates, which are kept by pair then; and stay for other metrics", async () => {
    // So many nodes that sampling costs less than verifying all.
    const many = { ...JOB, nodes: undefined, positions: "each" };
    const job = await writeJob(many);
    expect(await madeBy(job, many)).toEqual({ ...NONE, estimate: 2, verify: 2 });
    const certified = await madeBy(job, { ...many, certify: CERTIFY });
    expect(certified.estimate).toBe(2);
    expect(certified.sample).toBeGreaterThan(0);
    const { shards } = await readManifest(join(job.output, "manifest.json"));
    // The best six were verified before.
    expect(shards).toEqual({ estimate: 2, verify: 2 + certified.verify, certify: certified.sample });
    // Estimates and samples are of the metric that ranks alone.
    const more = await madeBy(job, { ...many, certify: CERTIFY, alsoMetrics: ["prob"] });
    expect(more).toEqual({ ...NONE, verify: 2 + certified.verify });
    expect(await madeBy(job, { ...many, metric: "prob" })).toEqual({ ...NONE, estimate: 2, verify: 2 });
  });

  it("that patch nodes serve every method, and the job that patches all of them", async () => {
    // One chunk of all nodes, whatever their order.
    const all = { ...JOB, verify: { topK: 100_000 }, shards: { pairs: 2, nodes: 100_000 } };
    const job = await writeJob(all);
    expect(await madeBy(job, { ...all, method: "exact" })).toEqual({ ...NONE, verify: 2 });
    for (const method of ["atp", "atp+qkfix", "atp*"])
      expect(await madeBy(job, { ...all, method })).toEqual({ ...NONE, estimate: 2 });
    expect(await madeBy(job, { ...all, method: "atp" })).toEqual(NONE);
  });

  it("do not depend on how model and pairs are called, and on blank lines between these", async () => {
    const folder = await temporaryFolder();
    const lines = (await readFile(join(DEMO, "pairs/ioi.jsonl"), "utf8")).split("\n").slice(0, 4);
    await writeFile(join(folder, "pairs.jsonl"), `${lines.join("\n")}\n`);
    await writeFile(join(folder, "blank.jsonl"), `\n${lines.join("\n\n")}\n`);
    const spec = { ...JOB, maxPairs: undefined, pairs: "pairs.jsonl" };
    const job = await writeJob(spec, folder);
    expect(await madeBy(job, spec)).toEqual({ ...NONE, estimate: 2, verify: 2 });
    const results = await resultsOf(job);
    expect(await madeBy(job, { ...spec, pairs: "blank.jsonl", model: `${DEMO}/../demo` })).toEqual(NONE);
    expect(await resultsOf(job)).toEqual(results);
    expect(await madeBy(job, { ...spec, verify: { topK: 3 } })).toEqual({ ...NONE, verify: 2 });
    await writeFile(join(folder, "pairs.jsonl"), `${lines.toReversed().join("\n")}\n`);
    expect(await madeBy(job, spec)).toEqual({ ...NONE, estimate: 2, verify: 2 });
  });
});

describe("a metric's direction", () => {
  it("may be in a file of another name: nothing is made again, and the list is the same bytes", async () => {
    const folder = await temporaryFolder();
    const direction = JSON.stringify(Array.from({ length: 128 }, (_, d) => Math.sin(d + 1)));
    for (const name of ["one.json", "two.json"]) await writeFile(join(folder, name), direction);
    const spec = { ...JOB, metric: "L3.residPost@end:one.json", verify: { topK: 3 } };
    const job = await writeJob(spec, folder);
    expect(await madeBy(job, spec)).toEqual({ ...NONE, estimate: 2, verify: 2 });
    const list = await readFile(join(job.output, "ranked.csv"));
    expect(await madeBy(job, { ...spec, metric: "L3.residPost@end:two.json" })).toEqual(NONE);
    expect(await readFile(join(job.output, "ranked.csv"))).toEqual(list);
    expect(await readFile(join(job.output, "summary.json"), "utf8")).toContain("two.json");
    await writeFile(join(folder, "two.json"), direction.replace("0.8414", "0.8415"));
    expect(await madeBy(job, { ...spec, metric: "L3.residPost@end:two.json" })).toEqual({
      ...NONE,
      estimate: 2,
      verify: 2,
    });
  });
});

describe("shards of several devices", () => {
  it("are put together with a warning", async () => {
    const job = await writeJob({ ...JOB, maxPairs: 2, shards: { pairs: 2, nodes: 6 } });
    const notices: string[] = [];
    const warnings = () => notices.filter((text) => text.startsWith("warning:"));
    await run(job, 1, { onNotice: (text) => notices.push(text) });
    expect(warnings()).toEqual([]);
    const store = await ShardStore.open(job.output);
    const [name = ""] = [...(await shardsOf(job)).keys()].map((file) => file.replace(".shard", ""));
    const shard = await store.read(name);
    await store.write(name, { ...shard, device: "a device elsewhere" });
    await run(job, 1, { onNotice: (text) => notices.push(text) });
    expect(warnings()).toEqual([
      `warning: shards of this job come from different devices (${[shard.device, "a device elsewhere"].sort().join("; ")}): their numbers agree but for the last bits of float32, and other devices may give other bytes`,
    ]);
    expect((await readManifest(join(job.output, "manifest.json"))).engine.devices).toContain(
      "a device elsewhere",
    );
  });
});

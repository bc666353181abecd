/** Ctrl-C and SIGTERM in the middle of things. */

import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { testBackend } from "../support/engine.js";
import { goldenFiles, listTree, startCase } from "../support/hub-case.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { DEMO, IOI, RUN, resultOf, rowsOf, runHere, startCli } from "./run-cli.js";

/** Waits for something that a child process does. */
async function until(happened: () => boolean): Promise<void> {
  while (!happened()) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe("SIGINT while the best nodes are verified", () => {
  it("leaves all estimates in a complete file, says so, and exits with 130", async () => {
    const out = join(await temporaryFolder(), "out");
    // Far more exact runs than the test has time for: 360 nodes on 64 pairs.
    const child = startCli(["localize", ...RUN, "--nodes", "z", "--top-k", "360", "--out", out]);
    const result = resultOf(child);
    await until(() => existsSync(join(out, "summary.json")));
    child.kill("SIGINT");
    const { code, stdout, stderr } = await result;
    expect(code).toBe(130);
    expect(stdout).toBe("");
    expect(stderr.trimEnd().split("\n").at(-1)).toBe(
      `atp: interrupted by SIGINT; the estimates are in ${join(out, "ranked.csv")}, none of them verified`,
    );
    expect((await readdir(out)).sort()).toEqual(["ranked.csv", "summary.json"]);
    const rows = (await readFile(join(out, "ranked.csv"), "utf8")).trimEnd().split("\n").slice(1);
    expect(rows.length).toBe(6 * 4 * 15); // layers, heads, positions
    expect(rows.filter((row) => /,false,64,[^,]+,[^,]*,[^,]+$/.test(row)).length).toBe(rows.length);
    const summary: unknown = JSON.parse(await readFile(join(out, "summary.json"), "utf8"));
    expect(summary).toMatchObject({
      command: "localize",
      nodes: { ranked: rows.length, verified: 0 },
      // AtP* on 6 layers: 2 forward passes and 21 layer-backwards for each of 64 pairs.
      forwardEquivalents: { estimate: 64 * (2 + 21 / 6), verify: 0 },
    });
  });
});

describe("SIGTERM while a model is downloaded", () => {
  it("exits with 143, says that the download will go on, and the next run goes on", async () => {
    const id = "owner/tiny";
    const { hub, home } = await startCase([{ id, files: await goldenFiles("gpt2") }]);
    hub.faults.set("model.safetensors", [{ kind: "stall", afterBytes: 100_000 }]);
    const env = { HF_HOME: home, HF_ENDPOINT: hub.endpoint };
    const child = startCli(["info", id], { env });
    const result = resultOf(child);
    await hub.stalled;
    child.kill("SIGTERM");
    const { code, stdout, stderr } = await result;
    expect(code).toBe(143);
    expect(stdout).toBe("");
    expect(stderr.trimEnd().split("\n").at(-1)).toBe(
      `atp: interrupted by SIGTERM (resolveCheckpoint: ${id}: stopped before it was complete; run again to continue); nothing was saved`,
    );

    const again = await resultOf(startCli(["info", id, "--json"], { env }));
    expect(again.code).toBe(0);
    expect(JSON.parse(again.stdout)).toMatchObject({ model: id, family: "gpt2" });
    // 177,040 bytes; not a terminal, so a line and no bar.
    expect(again.stderr).toMatch(/^atp: download model\.safetensors: 0\.2 of 0\.2 MB, \d+\.\d s$/m);
    expect((await listTree(home)).filter((path) => path.endsWith(".tmp"))).toEqual([]);
  });
});

describe("SIGINT in the middle of a sweep", () => {
  it("keeps the exact effects so far, says of which nodes and pairs they are, and exits with 130", async () => {
    const folder = await temporaryFolder();
    const out = join(folder, "out");
    const how = ["--nodes", "z,mlpOut", "--activation-memory", "4MiB"];
    const child = startCli(["sweep", ...RUN, ...how, "--out", out]);
    const result = resultOf(child);
    let said = "";
    child.stderr.on("data", (text) => {
      said += String(text);
    });
    await until(() => said.includes("atp: verify:"));
    child.kill("SIGINT");
    const { code, stdout, stderr } = await result;
    expect(code).toBe(130);
    expect(stdout).toBe("");

    const summary = JSON.parse(await readFile(join(out, "summary.json"), "utf8"));
    const { pairs, nodes, state, interrupted } = summary;
    expect(state).toBe("interrupted");
    expect(nodes.ranked).toBeGreaterThan(0);
    const over = pairs.used < 64 ? `, over ${pairs.used} of the 64 pairs` : "";
    expect(interrupted.text).toBe(`exact effects of ${nodes.ranked} of the 450 nodes${over}`);
    expect(stderr.trimEnd().split("\n").at(-1)).toBe(
      `atp: interrupted by SIGINT; ${interrupted.text}, are in ${join(out, "ranked.csv")}`,
    );
    // The same effects as of a sweep of those pairs that nobody stops: batches are of neighbouring pairs, 16 at a time.
    const lines = (await readFile(IOI, "utf8")).split("\n").slice(0, pairs.used);
    const few = join(folder, "few.jsonl");
    await writeFile(few, lines.join("\n"));
    const whole = join(folder, "whole");
    const undisturbed = ["--model", DEMO, "--pairs", few, "--engine", testBackend()];
    expect((await runHere(["sweep", ...undisturbed, ...how, "--out", whole])).code).toBe(0);
    const wanted = new Map((await rowsOf(join(whole, "ranked.csv"))).map((row) => [row.node, row]));
    const rows = await rowsOf(join(out, "ranked.csv"));
    expect(rows.length).toBe(nodes.ranked);
    for (const { node, effect_mean, recovered, pairs: count } of rows) {
      expect(Number(effect_mean)).toBeCloseTo(Number(wanted.get(node)?.effect_mean), 3);
      expect(Number(recovered)).toBeCloseTo(Number(wanted.get(node)?.recovered), 3);
      expect(count).toBe(String(pairs.used));
    }
    const report = await runHere(["report", out]);
    expect(report.code).toBe(0);
    expect(await readFile(join(out, "report.html"), "utf8")).toContain(
      `this run was interrupted: ${interrupted.text}`,
    );
  });
});

/** `atp path`: its files, its table, its help, and what is wrong with its input. */

import { mkdir, readdir, readFile, symlink } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { EXAMPLES } from "../../src/cli/help.js";
import { SENDER_SITES } from "../../src/exact/paths/ends.js";
import { PATHS_HEADER } from "../../src/report/paths-csv.js";
import { projectRoot } from "../support/child-process.js";
import { testBackend } from "../support/engine.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { RUN, rowsOf, runCli, runHere } from "./run-cli.js";

const FEW = [...RUN, "--max-pairs", "4"];

/** Logits of the demo model differ by about 20: float32 in batches of other sizes. */
const TOLERANCE = 1e-3;

let out: string;
beforeAll(async () => {
  out = await temporaryFolder();
});

const document = z.object({
  command: z.literal("path"),
  model: z.object({ family: z.string(), layers: z.number() }),
  pairs: z.object({ used: z.number() }),
  metric: z.object({ name: z.string(), base: z.number(), source: z.number() }),
  forwardEquivalents: z.number(),
  seconds: z.object({ load: z.number(), patch: z.number() }),
  paths: z.array(
    z.object({
      sender: z.string(),
      receiver: z.string(),
      effectContribution: z.number(),
      effectMean: z.number(),
      effectSe: z.number(),
      recovered: z.number(),
      pairs: z.number(),
    }),
  ),
});

describe("results", () => {
  it("to the final stream, of what only that hears: the effects that verify finds", async () => {
    // The demo model has parallel blocks: its last layer is heard by nothing else.
    const nodes = ["L5.mlpOut@*", "L5.z[1]@end", "L5.z[3]@*"];
    const [paths, verified] = [join(out, "final"), join(out, "verified")];
    const run = await runCli(["path", ...FEW, "--sender", ...nodes, "--receiver", "final", "--out", paths]);
    expect(run.stderr).not.toContain("error");
    expect(run.code).toBe(0);
    expect((await runHere(["verify", ...FEW, "--node", ...nodes, "--out", verified])).code).toBe(0);
    expect((await readdir(paths)).sort()).toEqual(["paths.csv", "paths.json"]);

    const wanted = new Map((await rowsOf(join(verified, "ranked.csv"))).map((row) => [row.node, row]));
    const rows = await rowsOf(join(paths, "paths.csv"));
    expect(rows.map(({ sender }) => sender)).toEqual([...wanted.keys()]);
    for (const row of rows) {
      expect(Object.keys(row)).toEqual([...PATHS_HEADER, "run"]);
      expect([row.receiver, row.pairs]).toEqual(["final", "4"]);
      for (const column of ["effect_contribution", "effect_mean", "effect_se", "recovered"]) {
        expect(Math.abs(Number(row[column]) - Number(wanted.get(row.sender)?.[column]))).toBeLessThan(
          TOLERANCE,
        );
      }
    }
    expect(run.stdout).toMatch(/^sender +receiver +contribution +effect +± se +recovered$/m);
    expect(run.stdout).toMatch(/^L5\.mlpOut@\* +final +\d\.\d+ +[-+]\d/m);
    expect(run.stdout).toContain(`${join(paths, "paths.csv")}, ${join(paths, "paths.json")}`);
  });

  it("through several receivers together, as JSON, in the same numbers as the files", async () => {
    const folder = join(out, "together");
    const ends = ["--sender", "L0.z[3]@*", "L1.mlpOut@end", "--receiver", "L3.q[1]@end", "L4.mlp@*"];
    const { code, stdout } = await runHere([
      "path",
      ...FEW,
      ...ends,
      "--freeze-norm",
      "--json",
      "--out",
      folder,
    ]);
    expect(code).toBe(0);
    const printed = document.parse(JSON.parse(stdout));
    expect(printed.paths.map(({ receiver }) => receiver)).toEqual(Array(2).fill("L3.q[1]@end L4.mlp@*"));
    expect(document.parse(JSON.parse(await readFile(join(folder, "paths.json"), "utf8")))).toEqual(printed);
    const rows = await rowsOf(join(folder, "paths.csv"));
    expect(rows.map((row) => Math.fround(Number(row.effect_mean)))).toEqual(
      printed.paths.map(({ effectMean }) => Math.fround(effectMean)),
    );
    const recomputed = await runHere(["path", ...FEW, ...ends, "--json", "--out", folder]);
    expect(document.parse(JSON.parse(recomputed.stdout)).paths).not.toEqual(printed.paths);
  });

  it("--direct: every pair of ends of the layers that has a path, largest first", async () => {
    const folder = join(out, "direct");
    const { code, stdout } = await runHere([
      "path",
      ...FEW,
      "--direct",
      "--layers",
      "4-5",
      "--json",
      "--out",
      folder,
    ]);
    expect(code).toBe(0);
    const { paths } = document.parse(JSON.parse(stdout));
    // Five senders (four heads and the MLP) of layer 4 to 4·3 + 1 receivers of layer 5; all ten to the final stream.
    expect(paths.length).toBe(5 * 13 + 10);
    const contributions = paths.map(({ effectContribution }) => effectContribution);
    expect(contributions).toEqual([...contributions].sort((a, b) => b - a));
    const alone = await runHere([
      "path",
      ...FEW,
      "--sender",
      "L4.mlpOut@*",
      "--receiver",
      "L5.mlp@*",
      "--json",
      "--out",
      folder,
    ]);
    const [{ effectMean }] = document.parse(JSON.parse(alone.stdout)).paths;
    const same = paths.find(({ sender, receiver }) => sender === "L4.mlpOut@*" && receiver === "L5.mlp@*");
    expect(Math.abs((same?.effectMean ?? Number.NaN) - effectMean)).toBeLessThan(TOLERANCE);
  });

  it("--source zero patches zeros", async () => {
    const ends = ["--sender", "L5.mlpOut@*", "--receiver", "final", "--source", "zero"];
    const { code, stdout } = await runHere(["path", ...FEW, ...ends, "--out", join(out, "zero")]);
    expect(code).toBe(0);
    expect(stdout).toContain("zero, in place of the other prompt's activations");
  });
});

describe("--help", () => {
  it("has the formats, senders and columns, within the width of a terminal", async () => {
    const { code, stdout } = await runHere(["path", "--help"]);
    expect(code).toBe(0);
    for (const id of ["L3.q[1]@end", "L3.k[0]@*", "L2.mlp@7", "final"]) expect(stdout).toContain(`  ${id} `);
    for (const site of SENDER_SITES) expect(stdout).toMatch(new RegExp(`^ {2}${site} +\\S`, "m"));
    for (const column of PATHS_HEADER) expect(stdout).toContain(column);
    expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(104);
  });

  it("has examples that run as they stand", async () => {
    const cwd = await temporaryFolder();
    await symlink(join(projectRoot, "models"), join(cwd, "models"));
    for (const example of EXAMPLES.path) {
      const [, ...args] = example.replaceAll("'", "").split(" ");
      const { code, stderr } = await runHere([...args, "--max-pairs", "2", "--engine", testBackend()], {
        cwd,
      });
      expect(stderr).not.toMatch(/error|warning/);
      expect(code).toBe(0);
    }
  });
});

describe("exit code 2 and one line on stderr for", () => {
  const SENDER = ["--sender", "L0.z[3]@end"];
  it.each([
    ["no ends", [], "path: expected --sender and --receiver, or --direct, got no --sender and no --receiver"],
    ["no receiver", SENDER, "path: expected --sender and --receiver, or --direct, got no --receiver"],
    [
      "layers without --direct",
      [...SENDER, "--receiver", "final", "--layers", "1-2"],
      "--layers: expected --direct with it, got --layers alone",
    ],
    [
      "layers that say nothing",
      [...SENDER, "--receiver", "final", "--direct", "--layers", "1-2"],
      "--layers: expected --sender or --receiver to be left out, got both",
    ],
    ["layers that are no range", ["--direct", "--layers", "3"], "Expected two layers, such as 2-5."],
    [
      "layers that the model does not have",
      ["--direct", "--layers", "3-9"],
      "endsOfLayers: expected layers first-last from 0 to 5, got 3-9",
    ],
    [
      "a malformed sender",
      ["--sender", "L0.z", "--receiver", "final"],
      'parseNodeId: expected a node id such as "L3.z[5]@12", "L4.mlpOut@7", "L2.k[1]@end" or "L0.q[2]@*", got "L0.z"',
    ],
    [
      "a malformed receiver",
      [...SENDER, "--receiver", "L2.z[0]@1"],
      'parseReceiver: expected a receiver such as "L3.q[1]@end", "L2.k[0]@*", "L2.v[0]@7", "L4.mlp@7" or "final", got "L2.z[0]@1"',
    ],
    [
      "a sender that does not write",
      ["--sender", "L0.q[0]@end", "--receiver", "final"],
      "checkEnds: expected a sender that writes to the residual stream of this model (residPre, z, attnOut, neuron, mlpOut, residPost), got L0.q[0]@end",
    ],
    [
      "an unknown layer",
      [...SENDER, "--receiver", "L9.mlp@*"],
      "checkEnds: expected a receiver in layers 0 to 5, got L9.mlp@*",
    ],
    [
      "final beside others",
      [...SENDER, "--receiver", "final", "L2.mlp@*"],
      "checkTogether: expected the receiver final alone, because it would undo what others do, got final, L2.mlp@*",
    ],
    [
      "a receiver before the sender",
      ["--sender", "L3.z[3]@end", "--receiver", "L3.q[0]@*", "L2.mlp@*"],
      "path: expected receivers that read behind every sender, at a position of the sender's, got none for L3.z[3]@end among L3.q[0]@*, L2.mlp@*",
    ],
    [
      "a receiver elsewhere, with --direct",
      ["--sender", "L0.z[3]@1", "--receiver", "L3.q[0]@2", "--direct"],
      "path: expected receivers that read behind every sender, at a position of the sender's, got none for L0.z[3]@1 among L3.q[0]@2",
    ],
  ])("%s", async (_what, args, expected) => {
    const { code, stdout, stderr } = await runHere(["path", ...FEW, "--out", join(out, "none"), ...args]);
    expect(stderr).toMatch(/^atp: error: [^\n]+\n$/);
    expect(stderr).toContain(expected);
    expect(stdout).toBe("");
    expect(code).toBe(2);
    expect(await readdir(out)).not.toContain("none");
  });

  it("a folder where a result should go", async () => {
    const taken = join(out, "taken");
    await mkdir(join(taken, "paths.csv"), { recursive: true });
    const { code, stderr } = await runHere(["path", ...FEW, "--direct", "--out", taken]);
    expect(stderr).toBe(
      `atp: error: --out: expected a file that can be replaced, got the folder ${join(taken, "paths.csv")}\n`,
    );
    expect(code).toBe(2);
  });
});

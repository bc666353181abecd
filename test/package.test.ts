/** The package as it would be published: what is in it, and that the README's library example runs against it. */

import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { projectRoot } from "./support/child-process.js";

const run = promisify(execFile);

let folder: string;
let files: string[];

// The unpacked package lies inside the project's node_modules, so that it finds its dependencies there.
beforeAll(async () => {
  const cache = join(projectRoot, "node_modules", ".cache");
  await mkdir(cache, { recursive: true });
  folder = await mkdtemp(join(cache, "atpkit-package-"));
  const copy = join(folder, "checkout");
  await mkdir(copy);
  for (const part of [
    "package.json",
    "tsconfig.json",
    "tsconfig.build.json",
    "src",
    "scripts",
    "schema",
    "README.md",
    "LICENSE",
    "models",
    "test",
  ]) {
    await cp(join(projectRoot, part), join(copy, part), { recursive: true });
  }
  await symlink(join(projectRoot, "node_modules"), join(copy, "node_modules"));
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: copy });
  const [packed]: { filename: string; files: { path: string }[] }[] = JSON.parse(
    stdout.slice(stdout.indexOf("[")),
  );
  files = packed.files.map(({ path }) => path);
  const installed = join(folder, "node_modules", "atpkit");
  await mkdir(installed, { recursive: true });
  await run("tar", ["-xzf", join(folder, packed.filename), "-C", installed, "--strip-components=1"]);
  await symlink(join(projectRoot, "models"), join(folder, "models"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the published package", () => {
  it("contains what the build emits, the schema of jobs and the native set-up, and nothing else", () => {
    const others = files.filter((path) => !/^dist\/.+\.(js|d\.ts|css)$/.test(path));
    expect(others.filter((path) => !path.startsWith("scripts/")).sort()).toEqual([
      "LICENSE",
      "README.md",
      "package.json",
      "schema/job.schema.json",
    ]);
    expect(files).toEqual(
      expect.arrayContaining(["dist/index.js", "dist/index.d.ts", "dist/cli.js", "scripts/setup-native.mjs"]),
    );
  });

  it("runs the README's library example, with types", async () => {
    const readme = await readFile(join(projectRoot, "README.md"), "utf8");
    const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
    expect(example).toContain('from "atpkit"');
    await writeFile(join(folder, "example.mts"), example);
    const tsc = join(projectRoot, "node_modules", "typescript", "bin", "tsc");
    const strict = [
      "--strict",
      "--module",
      "nodenext",
      "--target",
      "es2022",
      "--types",
      "node",
      "--skipLibCheck",
      "--ignoreConfig",
    ];
    await run(process.execPath, [tsc, ...strict, "example.mts"], { cwd: folder });
    const { stdout } = await run(process.execPath, ["example.mjs"], { cwd: folder });
    const [engine, ...rows] = stdout.trimEnd().split("\n");
    expect(engine).toMatch(/^(wasm|tensorflow) on /);
    expect(rows.map((row) => row.split(" ")[0])).toEqual(["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
    expect(rows[0]).toMatch(/^1 L\d\.(z\[\d\]|mlpOut)@\d+ .* -?\d+\.\d\d -?\d+\.\d\d$/);
  });

  it("has a command that runs", async () => {
    const cli = join(folder, "node_modules", "atpkit", "dist", "cli.js");
    const { stdout } = await run(process.execPath, [cli, "info", "models/demo", "--json"], { cwd: folder });
    expect(JSON.parse(stdout)).toMatchObject({ family: "gpt_neox", layers: 6 });
  });

  it("has processes that make shards, and a report, both of them compiled", async () => {
    const cli = join(folder, "node_modules", "atpkit", "dist", "cli.js");
    const job = {
      model: "models/demo",
      pairs: "models/demo/pairs/agreement.jsonl",
      maxPairs: 4,
      verify: { topK: 3 },
      engine: "wasm",
      output: "job-out",
    };
    await writeFile(join(folder, "job.json"), JSON.stringify(job));
    const { stdout } = await run(process.execPath, [cli, "batch", "run", "job.json", "--report"], {
      cwd: folder,
    });
    expect(stdout).toMatch(/of which 3 verified by exact patching/);
    expect(await readFile(join(folder, "job-out", "report.html"), "utf8")).toContain(
      "Content-Security-Policy",
    );
  });
});

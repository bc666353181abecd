/** `atp localize --confidence`: what is certain of the list. */

import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { temporaryFolder } from "../support/temporary-folder.js";
import { IOI, RUN, rowsOf, runCli, runHere } from "./run-cli.js";

const FEW = [...RUN, "--max-pairs", "8", "--positions", "roles"];

const certificateFile = z.looseObject({
  topK: z.number(),
  confidence: z.number(),
  certified: z.boolean(),
  threshold: z.number(),
  claims: z.array(z.string()),
  assumptions: z.array(z.string()),
  nodes: z.object({ total: z.number(), verified: z.number() }),
  cost: z.object({ estimate: z.number(), verify: z.number(), sample: z.number(), budget: z.number() }),
});

let out: string;
beforeAll(async () => {
  out = await temporaryFolder();
});

async function readCertificate(folder: string) {
  return certificateFile.parse(JSON.parse(await readFile(join(folder, "certificate.json"), "utf8")));
}

describe("atp localize --confidence", () => {
  it("writes the certificate, prints it, and verifies what it says", async () => {
    const folder = join(out, "certain");
    const args = ["--top-k", "4", "--confidence", "0.95", "--out", folder];
    const { code, stdout, stderr } = await runCli(["localize", ...FEW, ...args]);
    expect(stderr).not.toMatch(/error|warning/);
    expect(code).toBe(0);
    const certificate = await readCertificate(folder);
    const rows = await rowsOf(join(folder, "ranked.csv"));
    expect(certificate).toMatchObject({ topK: 4, confidence: 0.95, certified: true });
    expect(certificate.nodes.total).toBe(rows.length);
    expect(certificate.nodes.verified).toBe(rows.filter(({ verified }) => verified === "true").length);
    expect(rows.slice(0, 4).map(({ verified }) => verified)).toEqual(["true", "true", "true", "true"]);
    expect(Math.abs(Number(rows[3].contribution) - certificate.threshold)).toBeLessThan(1e-5);
    expect(stdout).toContain("certain    yes");
    for (const claim of certificate.claims) expect(stdout).toContain(`claim      ${claim}`);
    for (const assumption of certificate.assumptions) expect(stdout).toContain(`assumed    ${assumption}`);
    expect(stdout).toContain(join(folder, "certificate.json"));

    // A list without a certificate in its place: the old one would speak of another list.
    const again = await runHere(["localize", ...FEW, "--top-k", "1", "--nodes", "mlpOut", "--out", folder]);
    expect(again.code).toBe(0);
    expect(await readdir(folder)).not.toContain("certificate.json");
  });

  it("prints one JSON document with the certificate in it", async () => {
    const folder = join(out, "json");
    const args = ["--top-k", "2", "--nodes", "mlpOut", "--confidence", "0.9", "--json", "--out", folder];
    const { code, stdout } = await runHere(["localize", ...FEW, ...args]);
    expect(code).toBe(0);
    const document = z.looseObject({
      certificate: certificateFile,
      files: z.looseObject({ certificate: z.string() }),
    });
    const { certificate, files } = document.parse(JSON.parse(stdout));
    expect(files.certificate).toBe(join(folder, "certificate.json"));
    const written = await readCertificate(folder);
    expect(written).toMatchObject(certificate);
    // What it is a certificate of.
    expect(written).toMatchObject({
      metric: { name: "logit-diff" },
      direction: "noising",
      command: "localize",
    });
  });
});

describe("bad input", () => {
  it.each([
    [["--budget", "100"], "--budget: expected --confidence with it, got none"],
    [["--inclusion", "0.1"], "--inclusion: expected --confidence with it, got none"],
    [["--prevalence-sample", "10"], "--prevalence-sample: expected --confidence with it, got none"],
    [["--confidence", "1"], "certify: expected a confidence from 0.5 to below 1, got 1"],
    [["--confidence", "0.9", "--inclusion", "2"], "certify: expected an inclusion between 0 and 1, got 2"],
    [
      ["--confidence", "0.9", "--prevalence-sample", "-1"],
      "option '--prevalence-sample <n>' argument '-1' is invalid. Expected 0 or a positive integer.",
    ],
    [
      ["--confidence", "high"],
      "option '--confidence <c>' argument 'high' is invalid. Expected a positive number.",
    ],
  ])("%j", async (args, message) => {
    const folder = join(out, "none");
    const { code, stdout, stderr } = await runHere(["localize", ...FEW, ...args, "--out", folder]);
    expect(stderr).toContain(message);
    expect(stdout).toBe("");
    expect(code).toBe(2);
  });

  it("finds pairs of several lengths before anything is loaded", async () => {
    const mixed = IOI.replace("ioi.jsonl", "ioi-mixed.jsonl");
    const args = [...RUN.slice(0, 2), "--pairs", mixed, "--confidence", "0.9", "--out", join(out, "mixed")];
    const { code, stderr } = await runHere(["localize", ...args]);
    expect(stderr).toMatch(/expected pairs that have every position of the nodes, got one without \d+/);
    expect(code).toBe(2);
  });

  it("refuses a folder in the certificate's place", async () => {
    const folder = join(out, "taken");
    await mkdir(join(folder, "certificate.json"), { recursive: true });
    const { code, stderr } = await runHere(["localize", ...FEW, "--confidence", "0.9", "--out", folder]);
    expect(stderr).toContain(
      `--out: expected a file that can be replaced, got the folder ${join(folder, "certificate.json")}`,
    );
    expect(code).toBe(2);
  });
});

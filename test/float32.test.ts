/** Numbers that float32 loses are refused where people write them. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { randomModel } from "../bench/random-model.js";
import { parseJob } from "../src/batch/parse-job.js";
import { jobSpecSchema } from "../src/batch/spec.js";
import { ConfigFields } from "../src/checkpoint/config-fields.js";
import { isLostInFloat32 } from "../src/float32.js";
import { projection } from "../src/prompts/metrics/internal.js";
import { parseMetric } from "../src/prompts/metrics/parse-metric.js";
import { noiseSource } from "../src/sources/noise.js";
import { runHere } from "./cli/run-cli.js";
import { startTestEngine } from "./support/engine.js";
import { jobByHand } from "./support/job-by-hand.js";
import { temporaryFolder } from "./support/temporary-folder.js";
import { TINY_CONFIGS } from "./support/tiny-config.js";

it.each([
  [0, false],
  [-0, false],
  [1e-50, true],
  [-1e-46, true],
  // The smallest and the largest that there are.
  [2 ** -149, false],
  [3.4028234663852886e38, false],
  [3.5e38, true],
  [-1e39, true],
  [Number.NaN, true],
])("%s: lost is %s", (value, lost) => {
  expect(isLostInFloat32(value)).toBe(lost);
});

describe.each([1e-50, 1e39])("%s is refused", (value) => {
  it("in a direction", async () => {
    const file = join(await temporaryFolder(), "direction.json");
    await writeFile(file, JSON.stringify([1, value]));
    expect(() => parseMetric(`L0.residPost@-1:${file}`)).toThrow(
      `parseMetric: ${file}: [1]: expected a number that float32 can hold, got ${value}`,
    );
    const options = { layer: 0, site: "residPost", position: -1 } as const;
    expect(() => projection({ ...options, direction: [1, value] })).toThrow(
      `projection: expected a direction of numbers that float32 can hold, got ${value} at place 1`,
    );
  });

  it("as ε of a norm", () => {
    const fields = new ConfigFields("config.json", { rms_norm_eps: value });
    expect(() => fields.positive("rms_norm_eps", 1e-6)).toThrow(
      `loadModel: expected rms_norm_eps of config.json to be a positive number that float32 can hold, got ${value}`,
    );
  });

  it("as the scale of noise", async () => {
    await startTestEngine();
    const model = randomModel(TINY_CONFIGS.plain);
    await expect(noiseSource(model, { at: [0], multiple: value })).rejects.toThrow(
      `noiseSource: expected multiple to be a positive number that float32 can hold, got ${value}`,
    );
    model.dispose();
    const source = { noise: { at: ["end"], scale: value } };
    const { error } = jobSpecSchema.safeParse({ model: "m", pairs: "p", output: "o", source });
    expect(error?.issues.map(({ path }) => path.join("."))).toEqual(["source.noise.scale"]);
    const portable = { kind: "noise", at: ["end"], multiple: value, draws: 1, seed: 0 } as const;
    expect(() => parseJob(jobByHand({ source: portable }))).toThrow("that float32 can hold");
    const run = ["--model", "models/demo", "--pairs", "models/demo/pairs/ioi.jsonl", "--source", "noise"];
    const { code, stderr } = await runHere([
      ...["localize", ...run, "--noise-at", "end"],
      ...["--noise-scale", value < 1 ? `0.${"0".repeat(49)}1` : `1${"0".repeat(39)}`],
    ]);
    expect(stderr).toContain("Expected a positive number that float32 can hold.");
    expect(code).toBe(2);
  });
});

it("noise that σ makes too large is refused, too", async () => {
  await startTestEngine();
  const model = randomModel(TINY_CONFIGS.plain);
  await expect(noiseSource(model, { at: [0], multiple: 3.4e38 })).rejects.toThrow(
    /^noiseSource: expected multiple·σ to be a number that float32 can hold, got 3\.4e\+38 · 1\.\d+$/,
  );
  model.dispose();
});

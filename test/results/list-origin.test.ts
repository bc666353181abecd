import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { differenceFromSummary } from "../../src/report/read-summary.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "atpkit-summary-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("differenceFromSummary", () => {
  const run = { model: "m", metric: "prob", direction: "noising", source: "prompt" } as const;
  const summary = {
    model: { name: "m", layers: 2 },
    metric: { name: "prob", base: 1 },
    direction: "noising",
  };
  const difference = async (text: string) => {
    await writeFile(join(folder, "summary.json"), text);
    return differenceFromSummary(join(folder, "ranked.csv"), run);
  };

  it("says what differs", async () => {
    expect(await difference(JSON.stringify(summary))).toBeUndefined();
    expect(
      await difference(JSON.stringify({ ...summary, metric: { name: "kl" }, direction: "denoising" })),
    ).toBe("metric kl (now prob), direction denoising (now noising)");
    expect(await difference(JSON.stringify({ ...summary, model: { name: "n" } }))).toBe("model n (now m)");
    expect(await difference(JSON.stringify({ ...summary, source: "zero" }))).toBe("source zero (now prompt)");
  });

  it("knows nothing of a list without a summary", async () => {
    expect(await differenceFromSummary(join(folder, "elsewhere", "ranked.csv"), run)).toBeUndefined();
    expect(await difference("{}")).toBeUndefined();
    expect(await difference("no JSON")).toBeUndefined();
  });
});

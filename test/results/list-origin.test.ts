/** Whether a list answers the question of a run, by its rows and by the summary beside it. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { differenceFrom, estimatesOfList, originOfList } from "../../src/results/list-origin.js";
import { type Question, questionId, runId } from "../../src/results/question.js";
import { temporaryFolder } from "../support/temporary-folder.js";

const QUESTION: Question = {
  model: "m1",
  pairs: "p1",
  metric: "prob",
  direction: "noising",
  source: "prompt",
};
const NAMES = { model: "m", pairs: "2 of a.jsonl", metric: "prob", direction: "noising", source: "prompt" };

const SUMMARY = {
  command: "localize",
  model: { name: "m" },
  pairs: { files: ["a.jsonl"], used: 2 },
  metric: { name: "prob", base: 1, source: 0 },
  direction: "noising",
  method: "atp",
  agreement: { topK: 7, compared: 7, threshold: 1, settledRows: 7, reachable: 0 },
};

/** What is said of a list of the run of `asked`, whose summary is as given. */
async function differenceOf(asked: Question, change: object = {}) {
  const folder = await temporaryFolder();
  const run = runId(asked, {});
  await writeFile(
    join(folder, "summary.json"),
    JSON.stringify({ ...SUMMARY, run, question: asked, ...change }),
  );
  return differenceFrom(await originOfList(join(folder, "ranked.csv"), run), QUESTION, NAMES);
}

describe("a list", () => {
  it("answers the same question, or differs in parts that are named", async () => {
    expect(await differenceOf(QUESTION)).toBeUndefined();
    expect(
      await differenceOf({ ...QUESTION, metric: "kl" }, { metric: { ...SUMMARY.metric, name: "kl" } }),
    ).toBe("metric kl (now prob)");
    expect(
      await differenceOf(
        { ...QUESTION, pairs: "p2", direction: "denoising" },
        { pairs: { files: ["b.jsonl"], used: 3 }, direction: "denoising" },
      ),
    ).toBe("pairs 3 of b.jsonl (now 2 of a.jsonl), direction denoising (now noising)");
    expect(await differenceOf({ ...QUESTION, source: "zero" }, { source: "zero" })).toBe(
      "source zero (now prompt)",
    );
  });

  it("differs by content where all names are the same", async () => {
    expect(await differenceOf({ ...QUESTION, model: "m2" })).toBe("model m, whose files have changed since");
    expect(await differenceOf({ ...QUESTION, pairs: "p2" })).toBe(
      "pairs 2 of a.jsonl, of which others were taken, or which have changed since",
    );
  });

  it("is told by its rows alone where its summary is gone, cut, or of another run", async () => {
    const other = { ...QUESTION, metric: "kl" };
    const unknown = `another model, pairs, metric, direction or source (run ${runId(other, {})})`;
    expect(await differenceOf(other, { run: "another-1" })).toBe(unknown);
    const folder = await temporaryFolder();
    const file = join(folder, "ranked.csv");
    expect(differenceFrom(await originOfList(file, runId(other, {})), QUESTION, NAMES)).toBe(unknown);
    await writeFile(join(folder, "summary.json"), '{"run": "');
    expect(differenceFrom(await originOfList(file, runId(other, {})), QUESTION, NAMES)).toBe(unknown);
    expect(
      differenceFrom(await originOfList(file, `${questionId(QUESTION)}-1`), QUESTION, NAMES),
    ).toBeUndefined();
    expect(differenceFrom(await originOfList(file, undefined), QUESTION, NAMES)).toBe(
      "a model, pairs and a metric that it does not name",
    );
  });

  it("says how its estimates were made, where the summary is its own", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "summary.json"), JSON.stringify({ ...SUMMARY, run: "a-1" }));
    expect(estimatesOfList(await originOfList(join(folder, "ranked.csv"), "a-1"))).toEqual({
      method: "atp",
      topK: 7,
    });
    expect(estimatesOfList(await originOfList(join(folder, "ranked.csv"), "b-1"))).toEqual({});
  });
});

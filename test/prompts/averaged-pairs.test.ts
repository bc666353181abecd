import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { InputError } from "../../src/errors.js";
import type { Direction } from "../../src/prompts/direction.js";
import { readAveragedPairs } from "../../src/prompts/read-pairs.js";
import { temporaryFolder } from "../support/temporary-folder.js";

const MODEL = { config: { vocabulary: 20, maxPositions: 6, maxPositionsReason: "for this test" } };

async function promptsOf(lines: readonly object[], direction: Direction) {
  const file = join(await temporaryFolder(), "prompts.jsonl");
  await writeFile(file, lines.map((line) => JSON.stringify(line)).join("\n"));
  const pairs = await readAveragedPairs(file, MODEL, direction);
  return pairs.map(({ clean, corrupted }) => {
    expect(corrupted).toBe(clean);
    return clean;
  });
}

// With no answers, with one prompt, with equal prompts, with prompts of two lengths, and with what a pair may have beside.
const LINES = [
  { clean: [1, 2, 3], corrupted: [4, 5, 6] },
  { clean: [7, 8] },
  { corrupted: [9, 10] },
  { clean: [3, 3], corrupted: [3, 3] },
  { clean: [1, 2, 3, 4], corrupted: [5, 6] },
  { clean: [1], corrupted: [2], answers: [3], wrong: [3], roles: { end: -1 }, position: 40, name: "x" },
];

it("of each line one prompt is read, that of the source run, and nothing else is needed", async () => {
  expect(await promptsOf(LINES, "noising")).toEqual([[4, 5, 6], [7, 8], [9, 10], [3, 3], [5, 6], [2]]);
  expect(await promptsOf(LINES, "denoising")).toEqual([
    [1, 2, 3],
    [7, 8],
    [9, 10],
    [3, 3],
    [1, 2, 3, 4],
    [1],
  ]);
});

it.each<[object, string]>([
  [{ answers: [1] }, "clean or corrupted: expected a prompt to average over, got neither"],
  [{ clean: [1], corrupted: [20] }, "corrupted[0]: expected a token id of the model's vocabulary"],
  [{ clean: [1, 1, 1, 1, 1, 1, 1] }, "clean: expected at most 6 tokens, got 7 (for this test)"],
  [{ clean: [1], prompt: [2] }, "unknown field `prompt`"],
])("refuses %j", async (line, text) => {
  const read = promptsOf([line], "noising");
  await expect(read).rejects.toThrow(InputError);
  await expect(read).rejects.toThrow(text);
});

import { describe, expect, it } from "vitest";
import { averagedPrompts, describeAveraged, notesOn } from "../../src/sources/averaged.js";
import { tokenPair } from "../support/token-pair.js";

const ofLength = (tokens: number) =>
  tokenPair(Array(tokens).fill(1), [2, ...Array<number>(tokens - 1).fill(1)]);
const many = (prompts: number, tokens: number) => Array.from({ length: prompts }, () => ofLength(tokens));

describe("what is averaged", () => {
  it("are the prompts of the lengths that are studied", () => {
    const pairs = [...many(2, 5), ...many(1, 3), ...many(3, 4)];
    const { pairs: run, lengths } = averagedPrompts(pairs, [...many(1, 4), ...many(1, 3)]);
    expect(run).toEqual([...many(1, 3), ...many(3, 4)]);
    expect(lengths).toEqual([
      { tokens: 3, prompts: 1 },
      { tokens: 4, prompts: 3 },
    ]);
  });

  it.each<[number[][], string]>([
    [[[15, 40]], "mean over 40 prompts of 15 tokens, position by position"],
    [
      [
        [3, 1],
        [15, 40],
        [16, 2],
      ],
      "mean over 1 prompt of 3 tokens, 40 of 15 tokens and 2 of 16 tokens, position by position",
    ],
    [
      [1, 2, 3, 4, 5].map((tokens) => [tokens, 2 * tokens]),
      "mean over 30 prompts of 5 lengths, 2 to 10 of each, position by position",
    ],
  ])("is said for people: %j", (lengths, text) => {
    expect(describeAveraged(lengths.map(([tokens, prompts]) => ({ tokens, prompts })))).toBe(text);
  });

  it("has a warning for lengths of one prompt alone", () => {
    expect(notesOn({ lengths: [{ tokens: 4, prompts: 2 }] })).toEqual([
      "source: mean over 2 prompts of 4 tokens, position by position",
    ]);
    const lengths = [1, 2, 3, 4, 5].map((tokens) => ({ tokens, prompts: 1 }));
    expect(notesOn({ lengths })[1]).toBe(
      "warning: only 1 prompt of 1, 2, 3, 4, … (5 lengths) tokens is averaged: for pairs of that length the mean is this prompt itself",
    );
  });
});

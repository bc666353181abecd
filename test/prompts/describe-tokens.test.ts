import { describe, expect, it } from "vitest";
import { compareTokens, describeTokens } from "../../src/prompts/describe-tokens.js";
import { demoContext, fixtureContext } from "./contexts.js";

const { tokenizer: demo } = await demoContext();
const { tokenizer: bpe } = await fixtureContext("gpt2-bos");

describe("describeTokens", () => {
  it("shows text and id, or the id alone where a token has no text", () => {
    expect(describeTokens([0, 80], demo)).toBe('"<|endoftext|>" (0), "Paul" (80)');
    expect(describeTokens([567], bpe)).toBe('" Paul" (567)');
    expect(describeTokens([80, 340], demo)).toBe('"Paul" (80), 340'); // the demo tokenizer ends at 339
    expect(describeTokens([0, 80], undefined)).toBe("0, 80");
    expect(describeTokens([], demo)).toBe("");
  });
});

describe("compareTokens", () => {
  it("lines up the common beginning and ending", () => {
    expect(compareTokens([1, 2, 3, 9], [1, 4, 9], undefined)).toBe(
      ["  clean  corrupted", "  0 1    0 1", "> 1 2    1 4", "> 2 3", "  3 9    2 9"].join("\n"),
    );
  });

  it("counts no token as both beginning and ending", () => {
    expect(compareTokens([7, 7], [7, 7, 7], undefined)).toBe(
      ["  clean  corrupted", "  0 7    0 7", "  1 7    1 7", ">        2 7"].join("\n"),
    );
  });

  it("pads positions to the longest and shows every token", () => {
    const long = Array.from({ length: 101 }, (_, i) => i);
    const lines = compareTokens(long.slice(1), long, undefined).split("\n");
    expect(lines).toHaveLength(102);
    expect(lines[1]).toBe(">            0 0");
    expect(lines[2]).toBe("    0 1      1 1");
    expect(lines[101]).toBe("   99 100  100 100");
  });
});

/** What readPairs tells about tokens that are hardly what was meant. Ids are those of the vocabulary in tokenizer.json. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { openModel } from "../../src/checkpoint/load-model.js";
import type { PairContext } from "../../src/prompts/pair-tokens.js";
import { readPairs } from "../../src/prompts/read-pairs.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";
import { describeRealModel, REAL_MODEL } from "../support/real-model.js";
import { DEMO_PAIRS, demoContext, fixtureContext, idContext } from "./contexts.js";

const vocabularyOf = (name: string): Readonly<Record<string, number>> =>
  JSON.parse(
    readFileSync(
      fileURLToPath(new URL(`../fixtures/tokenizers/${name}/tokenizer.json`, import.meta.url)),
      "utf8",
    ),
  ).model.vocab;

const BYTES = vocabularyOf("qwen2");
const FRANK = `"Frank" (${BYTES.Frank})`;
const SPACED_FRANK = `" Frank" (${BYTES.ĠFrank})`;
const SPACED_JAMES = `" James" (${BYTES.ĠJames})`;

async function told(context: PairContext, pairs: readonly object[]): Promise<string[]> {
  const file = join(temporaryFolder(), "pairs.jsonl");
  writeFileSync(file, pairs.map((pair) => JSON.stringify(pair)).join("\n"));
  const notices: string[] = [];
  const onNotice = (text: string) => notices.push(text.replace(file, "FILE"));
  await readPairs(file, context, { answers: false, wrong: false }, { onNotice });
  return notices;
}

const PROMPTS = { clean: "the year walked to", corrupted: "the year went to" };
const GOOD = { ...PROMPTS, answers: [" Frank"], wrong: [" James"] };

const bytes = await fixtureContext("qwen2");
const startsWithBos = await fixtureContext("llama3");
const sentencePiece = await fixtureContext("llama2");

describe("a start token that is there twice", () => {
  const BOS = "<|begin_of_text|>";
  const id = startsWithBos.tokenizer?.before[0] ?? 0;
  const doubled = { ...GOOD, clean: `${BOS}${PROMPTS.clean}`, corrupted: `${BOS}${PROMPTS.corrupted}` };
  const message = `a prompt begins with "${BOS}" (${id}) twice; the tokenizer puts it before every text, so leave it out of the text`;

  it("is told, with how often and where first", async () => {
    expect(await told(startsWithBos, [GOOD, doubled, GOOD, doubled])).toEqual([
      `warning: FILE: 2 of 4 pairs, the first in line 2: ${message}`,
    ]);
    expect(await told(startsWithBos, [doubled])).toEqual([`warning: FILE: line 1: ${message}`]);
  });

  it("is told of prompts that are ids", async () => {
    expect(await told(startsWithBos, [{ clean: [id, id, 5, 6], corrupted: [id, id, 7, 6] }])).toHaveLength(1);
    expect(await told(startsWithBos, [{ clean: [id, 5, 6], corrupted: [id, 7, 6] }])).toEqual([]);
  });

  it("may be written where the tokenizer puts none", async () => {
    const end = "<|endoftext|>";
    expect(
      await told(bytes, [
        { ...GOOD, clean: `${end}${PROMPTS.clean}`, corrupted: `${end}${PROMPTS.corrupted}` },
      ]),
    ).toEqual([]);
  });
});

describe("an answer without its space", () => {
  it("is told where both spellings are one token", async () => {
    expect(await told(bytes, [GOOD])).toEqual([]);
    expect(await told(bytes, [{ ...PROMPTS, answers: ["Frank"], wrong: ["James"] }])).toEqual([
      `warning: FILE: line 1: ${FRANK} follows " to" (${BYTES.Ġto}) without a space, and ${SPACED_FRANK} is one token as well, ` +
        "which a model is far more likely to mean",
    ]);
  });

  it("is told where the other answer has one", async () => {
    const mixed = { ...PROMPTS, answers: [" James"], wrong: ["Frank"] };
    expect(await told(bytes, [GOOD, mixed])).toEqual([
      `warning: FILE: 1 of 2 pairs, the first in line 2: ${SPACED_JAMES} is spelled with a space and ${FRANK} without, and ` +
        `${SPACED_FRANK} is one token as well; spell all answers in the same way`,
    ]);
  });

  it("is not told where no other spelling is one token, both are listed, or it is a token id", async () => {
    expect(await told(bytes, [{ ...PROMPTS, answers: [" Frank", "Frank"] }])).toEqual([]);
    expect(await told(bytes, [{ ...PROMPTS, answers: [BYTES.Frank] }])).toEqual([]);
    // "," does not begin a word.
    expect(await told(bytes, [{ ...PROMPTS, answers: [","] }])).toEqual([]);
  });

  it("is not told where the metric is read behind what no space follows", async () => {
    const open = { clean: "the year walked (", corrupted: "the year went (", answers: ["Frank"] };
    expect(await told(bytes, [open])).toEqual([]);
    // Read behind "of", and not at the end.
    expect(
      await told(bytes, [{ ...open, clean: " year of (", corrupted: " war of (", position: 1 }]),
    ).toEqual([expect.stringContaining('follows " of"')]);
    // The rest of a number.
    const number = { clean: "the year 1", corrupted: "the war 1", answers: ["1"] };
    expect(await told(bytes, [number])).toEqual([]);
  });
});

describe("a space at the end of a prompt", () => {
  it("is told where answers have one, too", async () => {
    const trailing = { ...GOOD, clean: `${PROMPTS.clean} `, corrupted: `${PROMPTS.corrupted} ` };
    const about =
      `warning: FILE: line 1: the metric is read behind a space, and ${SPACED_FRANK} has a space of its own; ` +
      "leave out the one at the end of the prompt";
    expect(await told(bytes, [trailing])).toEqual([about]);
    expect(await told(bytes, [{ ...trailing, answers: ["Frank"], wrong: ["James"] }])).toEqual([about]);
    expect(await told(bytes, [{ ...trailing, answers: [], wrong: [] }])).toEqual([]);
    expect(await told(bytes, [{ ...trailing, position: -2 }])).toEqual([]);
  });
});

describe("SentencePiece, which puts a space in front of a text itself", () => {
  const PIECES = vocabularyOf("llama2");

  it("reads a word without a space as the token that has one, so nothing is told", async () => {
    const [pair] = await read(sentencePiece, { ...PROMPTS, answers: ["year"], wrong: ["gave"] });
    expect(pair?.answers).toEqual([PIECES["▁year"]]);
    expect(await told(sentencePiece, [{ ...PROMPTS, answers: ["to"], wrong: ["gave"] }])).toEqual([]);
  });

  it("is told of a space at the end", async () => {
    const trailing = { clean: `${PROMPTS.clean} `, corrupted: `${PROMPTS.corrupted} `, answers: ["gave"] };
    expect(await told(sentencePiece, [trailing])).toEqual([
      `warning: FILE: line 1: the metric is read behind a space, and " gave" (${PIECES["▁gave"]}) has a space of its own; ` +
        "leave out the one at the end of the prompt",
    ]);
  });
});

async function read(context: PairContext, pair: object) {
  const file = join(temporaryFolder(), "pairs.jsonl");
  writeFileSync(file, JSON.stringify(pair));
  return readPairs(file, context, { answers: false, wrong: false });
}

describe("nothing is told", () => {
  it("of the demo's pairs, whose tokenizer drops spaces", async () => {
    const notices: string[] = [];
    const onNotice = (text: string) => notices.push(text);
    const needs = { answers: true, wrong: true };
    await readPairs(`${DEMO_PAIRS}ioi.jsonl`, await demoContext(), needs, { onNotice });
    expect(notices).toEqual([]);
  });

  it("of token ids without a tokenizer", async () => {
    expect(await told(idContext(), [{ clean: [1, 1], corrupted: [1, 2], answers: [3] }])).toEqual([]);
  });
});

describeRealModel("tokens of a real model", () => {
  const written = {
    clean: "When Mary and John went to the store, John gave a drink to",
    corrupted: "When Mary and John went to the store, Mary gave a drink to",
  };
  it.each([
    ["nothing", written, [" Mary"], [" John"], []],
    ["a space left out", written, ["Mary"], ["John"], ['"Mary" (25653) follows " to" (288) without a space']],
    [
      "two spellings",
      written,
      [" Mary"],
      ["John"],
      ['" Mary" (5099) is spelled with a space and "John" (9682) without'],
    ],
    [
      "a space at the end",
      { clean: `${written.clean} `, corrupted: `${written.corrupted} ` },
      [" Mary"],
      [" John"],
      ['the metric is read behind a space, and " Mary" (5099) has a space of its own'],
    ],
  ])("%s", async (_, prompts, answers, wrong, expected) => {
    const opened = await openModel(REAL_MODEL);
    try {
      const notices = await told(opened, [{ ...prompts, answers, wrong }]);
      expect(notices).toEqual(expected.map((text) => expect.stringContaining(text)));
    } finally {
      await opened.close();
    }
  });
});

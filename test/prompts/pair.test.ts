import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InputError } from "../../src/errors.js";
import { formatNodeId, parseNodeId } from "../../src/nodes/node-id.js";
import { makePair, type Pair } from "../../src/prompts/pair.js";
import type { PairInput } from "../../src/prompts/pair-input.js";
import type { PairContext } from "../../src/prompts/pair-tokens.js";
import { demoContext, idContext } from "./contexts.js";

const NO_NEEDS = { answers: false, wrong: false };
const BOTH = { answers: true, wrong: true };

const demo = await demoContext();
const ids = idContext();

/** The demo's first pair, with some fields replaced. */
const ella = (fields: object): PairInput => ({
  clean: "<|endoftext|> When Ella gave a ball to",
  corrupted: "<|endoftext|> When Paul gave a ball to",
  answers: ["Paul"],
  wrong: ["Ella"],
  ...fields,
});

/** A pair of ids, four tokens long, with some fields replaced. */
const four = (fields: object): PairInput => ({
  clean: [0, 5, 6, 7],
  corrupted: [0, 5, 8, 7],
  answers: [1],
  wrong: [2],
  ...fields,
});

function messageOf(input: PairInput, context: PairContext = demo, needs = BOTH): string {
  try {
    makePair(input, context, needs, "here:3");
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return error instanceof InputError ? error.message : "";
  }
  throw new Error("expected makePair to refuse the pair");
}

describe("makePair", () => {
  it("tokenizes text and resolves roles and the metric position", () => {
    // Ids looked up by hand in the vocabulary of tokenizer.json.
    const ioi: PairInput = {
      name: "first",
      clean: "<|endoftext|> When Ella and Paul went to the library , Ella gave a ball to",
      corrupted: "<|endoftext|> When Ella and Paul went to the library , Paul gave a ball to",
      answers: ["Paul"],
      wrong: ["Ella"],
      roles: { io: 4, s1: 2, s2: 10, end: -1 },
    };
    expect(makePair(ioi, demo, BOTH, "ioi.jsonl:1")).toEqual({
      name: "first",
      clean: [0, 2, 71, 3, 80, 4, 5, 6, 105, 7, 71, 8, 9, 108, 5],
      corrupted: [0, 2, 71, 3, 80, 4, 5, 6, 105, 7, 80, 8, 9, 108, 5],
      answers: [80],
      wrong: [71],
      roles: new Map([
        ["io", 4],
        ["s1", 2],
        ["s2", 10],
        ["end", 14],
      ]),
      metricPosition: 14,
      origin: "ioi.jsonl:1",
    });
  });

  it("takes ids as they are, with or without a tokenizer, and mixes them with texts", () => {
    const pair = makePair(four({}), ids, BOTH, "x");
    expect([pair.clean, pair.corrupted, pair.answers, pair.wrong]).toEqual([
      [0, 5, 6, 7],
      [0, 5, 8, 7],
      [1],
      [2],
    ]);
    expect("name" in pair).toBe(false);
    expect(makePair(ella({ answers: ["Paul", 3] }), demo, BOTH, "x").answers).toEqual([80, 3]);
    expect(makePair(ella({ corrupted: [0, 2, 80, 8, 9, 108, 5] }), demo, BOTH, "x").corrupted).toEqual(
      makePair(ella({}), demo, BOTH, "x").corrupted,
    );
  });

  it("goes without a corrupted prompt where noise stands in for it", () => {
    const needs = { ...BOTH, corrupted: false };
    const { corrupted, ...written } = ella({});
    const pair = makePair(written, demo, needs, "x");
    expect(pair.corrupted).toBe(pair.clean);
    expect(makePair(ella({}), demo, needs, "x")).toEqual(makePair(ella({}), demo, BOTH, "x"));
    expect(() => makePair(written, demo, BOTH, "x")).toThrow(
      "makePair: x: corrupted: expected text or an array of token ids, got nothing (the field is missing)",
    );
    expect(() => makePair(ella({ corrupted: 7 }), demo, needs, "x")).toThrow(
      "makePair: x: corrupted: expected text or an array of token ids, got 7",
    );
    expect(() => makePair(ella({ corrupted: [1, 2] }), demo, needs, "x")).toThrow(
      "makePair: x: clean and corrupted: expected as many tokens in both, got 7 and 2",
    );
  });

  it("does not keep the caller's arrays", () => {
    const clean = [0, 5, 6, 7];
    const pair = makePair(four({ clean }), ids, BOTH, "x");
    clean[1] = 9;
    expect(pair.clean).toEqual([0, 5, 6, 7]);
  });

  it("reads the metric at the last position, a position, a position from the end, or a role", () => {
    const at = (fields: object) => makePair(four(fields), ids, BOTH, "x").metricPosition;
    expect(at({})).toBe(3);
    expect(at({ position: 2 })).toBe(2);
    expect(at({ position: -2 })).toBe(2);
    expect(at({ position: "verb", roles: { verb: -2 } })).toBe(2);
  });

  it("resolves every position inside the prompt and refuses every other", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: -60, max: 60 }), (length, position) => {
        const clean = Array.from({ length }, (_, i) => i);
        const input = four({ clean, corrupted: [50, ...clean.slice(1)], roles: { r: position } });
        if (position >= -length && position < length) {
          const resolved = makePair(input, ids, BOTH, "x").roles.get("r");
          expect(resolved).toBe(clean.at(position));
        } else {
          expect(messageOf(input, ids)).toContain(
            `roles.r: expected an integer position from ${-length} to ${length - 1} (the prompt has ${length} tokens), got ${position}`,
          );
        }
      }),
    );
  });

  it("accepts as role names what a node id can carry after its @", () => {
    const word = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_-]*$/).filter((role) => role !== "__proto__");
    fc.assert(
      fc.property(word, (role) => {
        const [accepted] = makePair(four({ roles: { [role]: 1 } }), ids, BOTH, "x").roles.keys();
        const node = { layer: 3, site: "z", index: 5, position: accepted ?? "" } as const;
        expect(parseNodeId(formatNodeId(node))).toEqual(node);
      }),
    );
  });

  it("lets a metric that needs no tokens go without them", () => {
    const kl: Pair = makePair({ clean: [1, 2], corrupted: [1, 3] }, ids, NO_NEEDS, "x");
    expect([kl.answers, kl.wrong]).toEqual([[], []]);
    expect(makePair(four({ wrong: [] }), ids, { answers: true, wrong: false }, "x").wrong).toEqual([]);
  });
});

describe("makePair refuses", () => {
  it("a metric's needs that are not met", () => {
    expect(messageOf(ella({ wrong: [] }))).toBe(
      "makePair: here:3: wrong: this metric needs `wrong`, got no tokens",
    );
    expect(messageOf(ella({ answers: undefined }))).toContain(
      "answers: this metric needs `answers`, got no tokens",
    );
    expect(messageOf(ella({ answers: [], wrong: [] }))).toContain("this metric needs `answers` and `wrong`");
  });

  it("fields that are missing, unknown or of the wrong type", () => {
    expect(messageOf(ella({ clean: undefined }))).toBe(
      "makePair: here:3: clean: expected text or an array of token ids, got nothing (the field is missing)",
    );
    expect(messageOf(ella({ clean: 7 }))).toContain("clean: expected text or an array of token ids, got 7");
    expect(messageOf(ella({ clean: [1, "a"] }))).toContain('clean[1]: expected a token id, got the text "a"');
    expect(messageOf(ella({ answers: "Paul" }))).toContain(
      'answers: expected an array of tokens, got the text "Paul"',
    );
    expect(messageOf(ella({ wrong: [null] }))).toContain(
      "wrong[0]: expected a token's text or its id, got null",
    );
    expect(messageOf(ella({ roles: [1] }))).toContain("roles: expected an object of positions, got an array");
    expect(messageOf(ella({ roles: { end: "1" } }))).toContain(
      'roles.end: expected a position, got the text "1"',
    );
    expect(messageOf(ella({ name: {} }))).toContain("name: expected text, got an object");
    expect(messageOf(ella({ position: true }))).toContain(
      "position: expected a position or a role name, got true",
    );
    expect(messageOf(ella({ answer: ["Paul"] }))).toContain(
      "unknown field `answer` (known: clean, corrupted, answers, wrong, roles, name, position)",
    );
    expect(messageOf(ella({ clean: 7, a: 1, b: 2 }))).toMatch(
      /clean: expected .* got 7; unknown fields `a`, `b`/,
    );
  });

  it("prompts of different lengths, showing both with the common beginning and ending lined up", () => {
    const message = messageOf(ella({ corrupted: "<|endoftext|> When Paul and Max gave a ball to" }));
    expect(message).toBe(
      [
        'makePair: here:3: clean and corrupted: expected as many tokens in both, got 7 and 9; they differ in the rows marked ">":',
        "      clean                  corrupted",
        '      0 "<|endoftext|>" (0)  0 "<|endoftext|>" (0)',
        '      1 "When" (2)           1 "When" (2)',
        '    > 2 "Ella" (71)          2 "Paul" (80)',
        '    >                        3 "and" (3)',
        '    >                        4 "Max" (94)',
        '      3 "gave" (8)           5 "gave" (8)',
        '      4 "a" (9)              6 "a" (9)',
        '      5 "ball" (108)         7 "ball" (108)',
        '      6 "to" (5)             8 "to" (5)',
      ].join("\n"),
    );
  });

  it("words the tokenizer does not know, by name", () => {
    expect(messageOf(ella({ clean: "<|endoftext|> When Zaphod met Trillian , Zaphod gave a ball to" }))).toBe(
      'makePair: here:3: clean: expected text the tokenizer knows, got "Zaphod", "met", "Trillian", which it would read as "<|endoftext|>" (0)',
    );
    expect(messageOf(ella({ answers: ["paul"] }))).toContain(
      'answers[0]: expected text the tokenizer knows, got "paul"',
    );
    expect(messageOf(ella({ wrong: ["Ella", "ella"] }))).toContain(
      'wrong[1]: expected text the tokenizer knows, got "ella"',
    );
    // The unknown token written out is a token like any other, wherever it stands.
    expect(makePair(ella({ wrong: ["<|endoftext|>"] }), demo, BOTH, "x").wrong).toEqual([0]);
    expect(
      makePair(ella({ corrupted: "<|endoftext|> When<|endoftext|>gave a ball to" }), demo, BOTH, "x")
        .corrupted,
    ).toEqual([0, 2, 0, 8, 9, 108, 5]);
  });

  it("an answer that is not one token", () => {
    expect(messageOf(ella({ answers: ["Paul Ella"] }))).toBe(
      'makePair: here:3: answers[0]: expected exactly 1 token, got 2 for "Paul Ella": "Paul" (80), "Ella" (71)',
    );
    expect(messageOf(ella({ wrong: [""] }))).toContain('wrong[0]: expected exactly 1 token, got 0 for ""');
  });

  it("ids that the model does not have", () => {
    const expected = "expected a token id of the model's vocabulary, an integer from 0 to 99";
    expect(messageOf(four({ clean: [0, 100, 6, 7] }), ids)).toContain(`clean[1]: ${expected}, got 100`);
    expect(messageOf(four({ corrupted: [0, 5, 8, -1] }), ids)).toContain(`corrupted[3]: ${expected}, got -1`);
    expect(messageOf(four({ answers: [1.5] }), ids)).toContain(`answers[0]: ${expected}, got 1.5`);
    expect(messageOf(four({ wrong: [2, 1e9] }), ids)).toContain(`wrong[1]: ${expected}, got 1000000000`);
    // A tokenizer with more tokens than the model has rows.
    const small = { ...demo, config: { ...demo.config, vocabulary: 75 } };
    expect(messageOf(ella({}), small)).toContain(
      'clean[5]: expected a token id of the model\'s vocabulary, an integer from 0 to 74, got "ball" (108)',
    );
  });

  it("text without a tokenizer", () => {
    expect(messageOf(four({ clean: "When Ella" }), ids)).toContain(
      'clean: expected token ids, got the text "When Ella", and this model has no tokenizer.json',
    );
    expect(messageOf(four({ answers: ["Paul"] }), ids)).toContain(
      'answers[0]: expected token ids, got the text "Paul"',
    );
  });

  it("duplicate answers, and tokens that are both right and wrong", () => {
    expect(messageOf(ella({ answers: ["Paul", "Max", 80] }))).toContain(
      'answers: expected each token once, got "Paul" (80) at answers[0] and at answers[2]',
    );
    expect(messageOf(ella({ wrong: ["Ella", "Ella"] }))).toContain(
      'wrong: expected each token once, got "Ella" (71)',
    );
    expect(messageOf(ella({ answers: ["Max", "Paul"], wrong: ["Ella", "Paul"] }))).toContain(
      'answers and wrong: expected different tokens, got "Paul" (80) in both',
    );
    expect(messageOf(four({ answers: [4], wrong: [4] }), ids)).toContain(
      "expected different tokens, got 4 in both",
    );
  });

  it("prompts that do not differ, or only behind the metric", () => {
    expect(messageOf(four({ corrupted: [0, 5, 6, 7] }), ids)).toContain(
      "clean and corrupted: expected different prompts, got the same tokens twice: there is nothing to patch",
    );
    expect(messageOf(four({ position: 1 }), ids)).toContain(
      "position: expected a position from 2 on, where the prompts first differ, got 1: there is nothing to patch before it",
    );
    expect(makePair(four({ position: 2 }), ids, BOTH, "x").metricPosition).toBe(2);
  });

  it("role names that a node id cannot carry", () => {
    for (const role of ["*", "3", "", "1st", "a b", "a@b", "é"]) {
      expect(messageOf(four({ roles: { [role]: 1 } }), ids)).toContain(
        `roles: expected role names of letters, digits, "_" and "-" that start with a letter or "_", got ${JSON.stringify(role)}`,
      );
    }
  });

  it("positions outside the prompt or between tokens", () => {
    const expected = "expected an integer position from -4 to 3 (the prompt has 4 tokens)";
    expect(messageOf(four({ roles: { end: 4 } }), ids)).toContain(`roles.end: ${expected}, got 4`);
    expect(messageOf(four({ roles: { end: 0.5 } }), ids)).toContain(`roles.end: ${expected}, got 0.5`);
    expect(messageOf(four({ position: -5 }), ids)).toContain(`position: ${expected}, got -5`);
    expect(messageOf(four({ position: "end", roles: { s1: 2, s2: 3 } }), ids)).toContain(
      'position: expected one of s1, s2, got the role "end"',
    );
    expect(messageOf(four({ position: "end" }), ids)).toContain(
      'position: expected a number, as the pair has no roles, got the role "end"',
    );
  });

  it("prompts that are empty or longer than the model", () => {
    expect(messageOf(four({ clean: [] }), ids)).toContain(
      "clean: expected at least 1 token, got an empty prompt",
    );
    expect(messageOf(ella({ corrupted: "" }))).toContain(
      "corrupted: expected at least 1 token, got an empty prompt",
    );
    const long = new Array<number>(129).fill(1);
    expect(messageOf(four({ clean: long }), ids)).toContain(
      "clean: expected at most 128 tokens, got 129 (n_positions in config.json)",
    );
    const [, ...fits] = long;
    expect(
      makePair(four({ clean: fits, corrupted: [0, ...fits.slice(1)] }), ids, BOTH, "x").clean,
    ).toHaveLength(128);
  });
});

describe("names that are parts of every object", () => {
  it("are roles like any other", () => {
    const roles = JSON.parse('{"__proto__": 1, "constructor": 2, "toString": 0}');
    const pair = makePair(four({ roles }), ids, BOTH, "here");
    expect([...pair.roles]).toEqual([
      ["__proto__", 1],
      ["constructor", 2],
      ["toString", 0],
    ]);
  });
});

/** The index of error messages has all of them, and none that there is not. */

import { describe, expect, it } from "vitest";
import { messagesLike, readEntries } from "./error-index.js";
import { HOLE, readSources } from "./source-messages.js";

/** Messages that need no entry, each with the reason. Their holes hold a message that has an entry of its own. */
const WITHOUT_ENTRY: ReadonlyMap<string, string> = new Map([
  ["readPairs: …", "names the function before a message about a pair or a file"],
  ["readPairs: … bad lines: …", "several messages about pairs, each in a line"],
  ["makePair: …: …", "names function and pair before a message about a pair"],
  ["checkPairsForMetric: …: metric …: …", "names pair and metric before a message about a position"],
  ["readRankedCsv: …:…: …", "names file and line before a message about a row, whose texts have entries"],
  ['…:…: column "node": …', "names file and line before a message about a node"],
  ['parseWindow: "…": …', "names the window before a message about a node"],
  [`${HOLE} ${HOLE}`, "what else goes wrong on the way to the hub, in the words of the network"],
  ["prepareJob: …: ……", "names file and field before a message about what the job file names"],
  ["pairOf: …: …", "names the pair of a job before a message about a pair"],
  ["…: …", "names the function before the fields of a job or task that are wrong"],
  [HOLE, "a message made elsewhere: fields of a pair, the shape of a window"],
]);

const sources = readSources();
const entries = readEntries();

describe("docs/errors.md", () => {
  it("has every message that the sources make", () => {
    const known = new Set(
      entries.flatMap(({ messages }) => messages.flatMap(({ text }) => messagesLike(text, sources))),
    );
    const missing = sources.messages.filter(({ text }) => !known.has(text) && !WITHOUT_ENTRY.has(text));
    expect(
      missing.map(
        ({ text, place }) =>
          `${place}: add to docs/errors.md, under the heading it belongs to:\n- ${codeSpan(text)}\n\n  Cause. Cure.\n`,
      ),
    ).toEqual([]);
  });

  it("has no message that the sources do not make", () => {
    const strange = entries
      .flatMap(({ messages }) => messages)
      .filter(({ text }) => messagesLike(text, sources).length === 0);
    expect(
      strange.map(({ text, line }) => `docs/errors.md:${line}: no error in src reads like this: ${text}`),
    ).toEqual([]);
  });

  it("explains every message, once", () => {
    const empty = entries.filter(({ explanation }) => explanation === "");
    expect(empty.map(({ messages }) => messages)).toEqual([]);
    const texts = entries.flatMap(({ messages }) => messages.map(({ text }) => text));
    expect(texts.filter((text, at) => texts.indexOf(text) < at)).toEqual([]);
  });

  it("leaves out only what is there", () => {
    const texts = new Set(sources.messages.map(({ text }) => text));
    expect([...WITHOUT_ENTRY.keys()].filter((text) => !texts.has(text))).toEqual([]);
  });
});

describe("finding what an entry speaks of", () => {
  const made = {
    messages: [
      { text: "read: …: expected …, got …", place: "src/a.ts:1" },
      { text: "read: …: expected a file, got …", place: "src/a.ts:2" },
      { text: "…", place: "src/a.ts:3" },
    ],
    texts: ["a number of ", " things"],
  };
  it.each([
    ["the same", "read: …: expected …, got …", ["read: …: expected …, got …"]],
    ["the one that says most", "read: …: expected a file, got …", ["read: …: expected a file, got …"]],
    [
      "a hole filled from the sources",
      "read: …: expected a number of … things, got …",
      ["read: …: expected …, got …"],
    ],
    ["a hole filled with words from nowhere", "read: …: expected a tree, got …", []],
    ["another message", "write: …: expected …, got …", []],
  ])("%s", (_, text, found) => {
    expect(messagesLike(text, made)).toEqual(found);
  });
});

/** As an entry writes it: a message may itself hold backticks. */
function codeSpan(text: string): string {
  return text.includes("`") ? `\`\` ${text} \`\`` : `\`${text}\``;
}

/** Text and values of unknown content in messages: escaped, cut, however deep or long they are. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InputError, RunError } from "../src/errors.js";
import { shown, shownMessage, visibleText } from "../src/shown-text.js";

describe("shown", () => {
  it.each([
    ["a text", 'a "b"', String.raw`"a \"b\""`],
    ["a long text", "a".repeat(5_000_000), `"${"a".repeat(120)}"… (5000000 characters)`],
    ["escapes of a terminal", "\u001b]0;pwned\u0007\u009b2J", String.raw`"\u001b]0;pwned\u0007\u009b2J"`],
    ["text that is turned round", "a\u202eb", String.raw`"a\u202eb"`],
    ["a number too large for JSON", 2n ** 70n, "1180591620717411303424"],
    ["nothing", undefined, "undefined"],
    ["an object", { a: [1, null, "x"], b: true }, '{"a":[1,null,"x"],"b":true}'],
    ["a key of somebody's", { ["__proto__"]: 1, "\u001b[2J": 2 }, String.raw`{"__proto__":1,"\u001b[2J":2}`],
    ["what is deep", JSON.parse(`${"[".repeat(20_000)}${"]".repeat(20_000)}`), "[[[[[…]]]]]"],
    ["what is long", Array.from({ length: 1e6 }, () => 0), `[${"0,".repeat(59)}0…`],
  ])("shows %s", (_, value, text) => {
    expect(shown(value).slice(0, 121)).toBe(text.slice(0, 121));
    expect(shown(value).length).toBeLessThan(200);
  });

  it("has no character that a terminal obeys, and a length of its own", () => {
    fc.assert(
      fc.property(fc.anything({ withBigInt: true }), (value) => {
        const text = shown(value);
        expect(text).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u);
        expect(text.length).toBeLessThan(1000);
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(JSON.parse(visibleText(text))).toBe(text);
      }),
    );
  });
});

describe("messages of errors", () => {
  it("keep their lines, and escape and cut the rest", () => {
    for (const error of [InputError, RunError]) {
      expect(new error("a\u001b[2Jb\n  c").message).toBe("a\\u001b[2Jb\n  c");
    }
    const long = `file: ${"a".repeat(5_000_000)}: expected less`;
    const message = shownMessage(long);
    expect(message.length).toBeLessThan(4_100);
    expect(message.slice(0, 10)).toBe("file: aaaa");
    expect(message).toMatch(/ … \(5000021 characters\) … a+: expected less$/);
  });
});

/** @file Ways in which a file of a user's goes wrong: cut, doubled, flipped, of other types, of sizes that nothing has. */

import fc from "fast-check";

/** A file in memory, and what was done to it, for whoever looks into a case. */
export interface Mutated {
  readonly bytes: Buffer;
  readonly what: string;
  /** The file without the field that got a value of another type: what is accepted with such a value has to mean as much. */
  readonly without?: Buffer;
}

/** Stands for brackets in brackets, deeper than anything can be made into text that goes from call to call. */
const DEEP = "deep brackets";
const BRACKETS = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;

/** Values that a field may have in a file that somebody made, or made up. */
const STRANGE: readonly (() => unknown)[] = [
  () => null,
  () => true,
  () => "",
  () => "x".repeat(300_000),
  () => "\u001b[2J\u202e",
  () => "__proto__",
  () => [],
  () => ({}),
  () => ({ ["__proto__"]: { a: 1 } }),
  () => -1,
  () => 0,
  () => 0.5,
  () => 1e308,
  () => 1e-60,
  () => 2 ** 31,
  () => 2 ** 53,
  () => 4e9,
  () => 1e8,
  () => Array.from({ length: 3000 }, (_, i) => i),
  () => DEEP,
];

/** Bytes of any file; fields, too, of JSON; fields alone, where what is read is no file but stands for values. */
export type MutationKind = "bytes" | "json" | "fields";

/** One mutation of a file. */
export function mutationOf(content: Buffer, kind: MutationKind): fc.Arbitrary<Mutated> {
  if (kind === "fields") return ofFields(content);
  return kind === "json"
    ? fc.oneof(ofBytes(content), ofFields(content), ofFields(content))
    : ofBytes(content);
}

const place = (length: number) => fc.nat({ max: Math.max(0, length - 1) });

function ofBytes(content: Buffer): fc.Arbitrary<Mutated> {
  // The head of a file, where its structure stands, is hit as often as all the rest.
  const at = fc.oneof(place(content.length), place(Math.min(content.length, 400)));
  return fc.oneof(
    at.map((end) => ({ what: `cut at ${end}`, bytes: content.subarray(0, end) })),
    fc.tuple(at, fc.nat({ max: 255 })).map(([where, value]) => ({
      what: `byte ${where} is ${value}`,
      bytes: spliced(content, where, 1, Buffer.from([value])),
    })),
    fc.tuple(at, fc.integer({ min: 1, max: 64 })).map(([where, count]) => ({
      what: `${count} bytes from ${where} on are gone`,
      bytes: spliced(content, where, count, Buffer.alloc(0)),
    })),
    fc
      .tuple(
        at,
        fc.constantFrom('"', "[", "{", "\0", "\n", '"'.repeat(9), "\u001b]0;x\u0007", ",", "9".repeat(400)),
      )
      .map(([where, text]) => ({
        what: `${JSON.stringify(text.slice(0, 20))} at ${where}`,
        bytes: spliced(content, where, 0, Buffer.from(text)),
      })),
    fc.tuple(at, at, fc.integer({ min: 1, max: 2000 })).map(([from, to, count]) => ({
      what: `${count} bytes of ${from} again at ${to}`,
      bytes: spliced(content, to, 0, content.subarray(from, from + count)),
    })),
    at.map((where) => ({
      what: `a megabyte at ${where}`,
      bytes: spliced(content, where, 0, Buffer.alloc(2 ** 20, "a")),
    })),
    fc.constant({ what: "nothing in it", bytes: Buffer.alloc(0) }),
  );
}

function spliced(content: Buffer, at: number, gone: number, put: Uint8Array): Buffer {
  return Buffer.concat([content.subarray(0, at), put, content.subarray(at + gone)]);
}

type Step = string | number;

/** Every field of a JSON text, or of one of its lines, as the way to it. */
function waysIn(value: unknown, way: readonly Step[] = []): (readonly Step[])[] {
  if (typeof value !== "object" || value === null) return [way];
  const steps: Step[] = Array.isArray(value)
    ? [...value.keys()].slice(0, 20)
    : Object.keys(value).slice(0, 80);
  return [way, ...steps.flatMap((step) => waysIn(Reflect.get(value, step), [...way, step]))];
}

function ofFields(content: Buffer): fc.Arbitrary<Mutated> {
  const lines = content.toString("utf8").trimEnd().split("\n");
  // JSON Lines, or one document.
  const isLines = lines.length > 1 && lines.every((line) => line.startsWith("{") && line.endsWith("}"));
  const texts = isLines ? lines : [content.toString("utf8")];
  const put = (line: number, text: string) =>
    Buffer.from(
      (isLines ? texts.map((old, l) => (l === line ? text : old)).join("\n") : text).replace(
        JSON.stringify(DEEP),
        BRACKETS,
      ),
    );
  return fc.nat({ max: Math.min(texts.length, 4) - 1 }).chain((line) => {
    const document: unknown = JSON.parse(texts[line]);
    return fc.constantFrom(...waysIn(document)).chain((way) => {
      const name = way.join(".") || "all of it";
      return fc.oneof(
        fc.constantFrom(...STRANGE).map((make) => {
          const value = make();
          const isOther = value === DEEP || typeOf(value) !== typeOf(valueAt(document, way));
          return {
            ...(isOther && {
              without: put(line, JSON.stringify(replaced(document, way, undefined) ?? null)),
            }),
            what: `${name} is ${JSON.stringify(value)?.slice(0, 40)}`,
            bytes: put(line, JSON.stringify(replaced(document, way, value))),
          };
        }),
        fc.constant({
          what: `${name} is gone`,
          bytes: put(line, JSON.stringify(replaced(document, way, undefined) ?? null)),
        }),
        fc.constantFrom(...waysIn(document)).map((other) => ({
          what: `${name} is what ${other.join(".")} is`,
          bytes: put(line, JSON.stringify(replaced(document, way, valueAt(document, other)))),
        })),
      );
    });
  });
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

function valueAt(value: unknown, [step, ...rest]: readonly Step[]): unknown {
  if (step === undefined || typeof value !== "object" || value === null) return value;
  return valueAt(Reflect.get(value, step), rest);
}

function replaced(value: unknown, [step, ...rest]: readonly Step[], by: unknown): unknown {
  if (step === undefined) return by;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    return value.map((part: unknown, at) => (at === step ? (replaced(part, rest, by) ?? null) : part));
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key, key === step ? replaced(part, rest, by) : part]),
  );
}

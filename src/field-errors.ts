/** @file What is wrong with input that zod has checked, in words: which field, what was expected, what is there. */

import { z } from "zod";
import { shown } from "./shown-text.js";

type ErrorText = (issue: { readonly input?: unknown }) => string;

/** The error text of a schema, for its `error` option. */
export function expected(what: string): ErrorText {
  return ({ input }) => `expected ${what}, got ${describeValue(input)}`;
}

/** A schema of some names, which its error text lists. */
export function oneOf<const Names extends readonly [string, ...string[]]>(names: Names) {
  return z.enum(names, { error: expected(`one of ${names.join(", ")}`) });
}

/**
 * A schema of an object whose keys are names that somebody has chosen. Any name is one, `__proto__` too, which `z.record` passes over
 * without a word.
 * @param what the object, for the error text
 */
export function namedValues<Value>(value: z.ZodType<Value>, what: string) {
  return z.unknown().transform((input, context): Readonly<Record<string, Value>> => {
    if (typeof input !== "object" || input === null || Array.isArray(input)) {
      context.addIssue({ code: "custom", input, message: expected(what)({ input }) });
      return z.NEVER;
    }
    // Without a prototype, so that no name has a meaning of its own.
    const values: Record<string, Value> = Object.create(null);
    for (const [name, part] of Object.entries(input)) {
      const result = value.safeParse(part);
      if (result.success) values[name] = result.data;
      else
        for (const issue of result.error.issues) context.addIssue({ ...issue, path: [name, ...issue.path] });
    }
    return values;
  });
}

/**
 * @param known the fields of the object that may have unknown ones, where it is the outermost
 * @returns "roles.end: expected a position, got null"
 */
export function issueText(issue: z.core.$ZodIssue, known?: readonly string[]): string {
  if (issue.code === "unrecognized_keys") {
    const unknown = issue.keys.map((key) => `\`${[fieldName(issue.path), key].filter(Boolean).join(".")}\``);
    const names = known && issue.path.length === 0 ? ` (known: ${known.join(", ")})` : "";
    return `unknown ${issue.keys.length > 1 ? "fields" : "field"} ${unknown.join(", ")}${names}`;
  }
  if (issue.code === "invalid_union") {
    // The alternative that failed inside says more than "none of the alternatives fits", if it is the one that was meant.
    const meant = issue.errors.filter((alternative) => !alternative.some(isOtherObject));
    const inner = meant.flat().find((alternative) => alternative.path.length > 0);
    if (inner !== undefined) return issueText({ ...inner, path: [...issue.path, ...inner.path] });
  }
  return issue.path.length > 0 ? `${fieldName(issue.path)}: ${issue.message}` : issue.message;
}

function isOtherObject(issue: z.core.$ZodIssue): boolean {
  return issue.code === "unrecognized_keys" && issue.path.length === 0;
}

/** `answers[2]`, `roles.end` */
export function fieldName(path: readonly PropertyKey[]): string {
  return path
    .map((step, depth) => (typeof step === "number" ? `[${step}]` : `${depth > 0 ? "." : ""}${String(step)}`))
    .join("");
}

function describeValue(value: unknown): string {
  if (value === undefined) return "nothing (the field is missing)";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "string") return `the text ${shown(value)}`;
  if (typeof value === "object") return "an object";
  return String(value);
}

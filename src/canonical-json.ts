/** @file One text for one meaning, and its hash: what names by content are made of. */

import { createHash } from "node:crypto";

/** SHA-256 of the canonical JSON, 64 hexadecimal digits: the order of fields does not matter. */
export function hashOf(value: unknown): string {
  return createHash("sha256").update(canonicalJson(value)).digest("hex");
}

/**
 * JSON with the keys of every object in order and without fields that are undefined: one text for one meaning.
 * @throws Error for a number that JSON has no text for
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (key, part: unknown) => {
    if (typeof part === "number" && !Number.isFinite(part)) {
      throw new Error(`canonicalJson: expected finite numbers, got ${part} for ${key}`);
    }
    if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

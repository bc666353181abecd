/**
 * @file Positions of a pair: role names that stand for a position, and the position where the metric is read.
 */

import { InputError } from "../errors.js";
import { shown } from "../shown-text.js";

/** Role names stand after `@` in node ids, so they can be neither `*` nor a number nor contain what ids are made of. */
const ROLE_NAME = /^[A-Za-z_][A-Za-z0-9_-]*$/;

/**
 * Resolves written roles to positions from the start.
 *
 * @param length number of tokens T of the prompts
 * @returns role name -> position in 0 … T−1
 * @throws InputError for an invalid role name or a position outside the prompt
 */
export function resolveRoles(
  roles: Readonly<Record<string, number>>,
  length: number,
): ReadonlyMap<string, number> {
  return new Map(
    Object.entries(roles).map(([role, position]) => {
      if (!ROLE_NAME.test(role)) {
        throw new InputError(
          `roles: expected role names of letters, digits, "_" and "-" that start with a letter or "_", got ${shown(role)}`,
        );
      }
      return [role, resolvePosition(position, length, `roles.${role}`)];
    }),
  );
}

/**
 * Where the metric reads its logits.
 *
 * @param position as written: from the start, negative from the end, a role name, or absent for the last position
 * @param roles resolved roles of the same pair
 * @param length number of tokens T of the prompts
 * @param field what the position is called, for the error text
 * @returns a position in 0 … T−1
 * @throws InputError for a role the pair does not have or a position outside the prompt
 */
export function resolveMetricPosition(
  position: number | string | undefined,
  roles: ReadonlyMap<string, number>,
  length: number,
  field = "position",
): number {
  if (typeof position !== "string") return resolvePosition(position ?? -1, length, field);
  const resolved = roles.get(position);
  if (resolved === undefined) {
    const known =
      roles.size > 0 ? `one of ${[...roles.keys()].join(", ")}` : "a number, as the pair has no roles";
    throw new InputError(`${field}: expected ${known}, got the role ${shown(position)}`);
  }
  return resolved;
}

function resolvePosition(position: number, length: number, field: string): number {
  if (!Number.isInteger(position) || position < -length || position >= length) {
    throw new InputError(
      `${field}: expected an integer position from ${-length} to ${length - 1} (the prompt has ${length} tokens), got ${position}`,
    );
  }
  return position < 0 ? length + position : position;
}

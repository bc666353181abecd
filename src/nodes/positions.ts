/**
 * @file The position axis of a node space. A label is what stands after the `@` of a node id: a position (counted from the end of
 * each pair where it is negative), a role, or `*` for all positions. In a given pair it covers a span of positions, or none.
 */

import { InputError } from "../errors.js";
import type { Pair } from "../prompts/pair.js";
import { shown } from "../shown-text.js";
import { ALL_POSITIONS, type NodePosition } from "./node-id.js";

export const POSITION_MODES = ["each", "roles", "all"] as const;

/** One node per position, one per role, or one for all positions together. */
export type PositionMode = (typeof POSITION_MODES)[number];

/** Positions `first` … `end − 1`. */
export interface Span {
  readonly first: number;
  readonly end: number;
}

type Positioned = Pick<Pair, "clean" | "roles">;

/** @throws InputError for any other name */
export function parsePositionMode(name: string): PositionMode {
  const mode = POSITION_MODES.find((known) => known === name);
  if (!mode) {
    throw new InputError(
      `parsePositionMode: expected one of ${POSITION_MODES.join(", ")}, got ${shown(name)}`,
    );
  }
  return mode;
}

/**
 * The labels that cover all pairs: positions up to the longest prompt, every role that some pair names (in order of
 * first appearance), or `*`.
 * @throws InputError for "roles" when no pair has roles
 */
export function positionLabels(mode: PositionMode, pairs: readonly Positioned[]): NodePosition[] {
  switch (mode) {
    case "all":
      return [ALL_POSITIONS];
    case "each": {
      const longest = pairs.reduce((length, pair) => Math.max(length, pair.clean.length), 0);
      return Array.from({ length: longest }, (_, position) => position);
    }
    case "roles": {
      const roles = [...new Set(pairs.flatMap((pair) => [...pair.roles.keys()]))];
      if (roles.length === 0) {
        throw new InputError('positionLabels: expected pairs with "roles" for positions "roles", got none');
      }
      return roles;
    }
  }
}

/** The positions of a pair's prompts that a label covers; undefined where the pair has no such position or role. */
export function spanInPair(label: NodePosition, pair: Positioned): Span | undefined {
  if (label === ALL_POSITIONS) return { first: 0, end: pair.clean.length };
  const { length } = pair.clean;
  const place = typeof label === "number" ? label : pair.roles.get(label);
  if (place === undefined) return undefined;
  const first = place < 0 ? length + place : place;
  return first >= 0 && first < length ? { first, end: first + 1 } : undefined;
}

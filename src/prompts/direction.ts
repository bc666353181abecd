/**
 * @file The direction of patching: which prompt of a pair is the base run (patched into) and which the source run
 * (activations are taken from). The two directions are not mirror images: noising finds what the behaviour needs,
 * denoising what suffices to restore it.
 */

import { InputError } from "../errors.js";
import { shown } from "../shown-text.js";
import type { Pair } from "./pair.js";

export const DIRECTIONS = ["noising", "denoising"] as const;

/** noising: base = clean, source = corrupted; denoising: base = corrupted, source = clean. */
export type Direction = (typeof DIRECTIONS)[number];

/** @throws InputError for any other name */
export function parseDirection(name: string): Direction {
  const direction = DIRECTIONS.find((known) => known === name);
  if (!direction)
    throw new InputError(`parseDirection: expected one of ${DIRECTIONS.join(", ")}, got ${shown(name)}`);
  return direction;
}

/** Token ids of the run that is patched into. */
export function basePrompt(pair: Pair, direction: Direction): readonly number[] {
  return direction === "noising" ? pair.clean : pair.corrupted;
}

/** Token ids of the run that activations are taken from. */
export function sourcePrompt(pair: Pair, direction: Direction): readonly number[] {
  return direction === "noising" ? pair.corrupted : pair.clean;
}

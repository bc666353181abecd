/**
 * @file Pairs that are only averaged over: of each the source prompt is run and nothing is measured, so it needs no answers, no
 * second prompt, and nothing that differs.
 */

import { InputError } from "../errors.js";
import type { Direction } from "./direction.js";
import type { Pair } from "./pair.js";
import { checkAveragedInput } from "./pair-input.js";
import { type PairContext, promptTokens } from "./pair-tokens.js";

/**
 * The one prompt of a written pair that is averaged, as both prompts of a pair: the corrupted one when noising, the clean one when
 * denoising; where the line has only one, that.
 *
 * @param input of unchecked shape; its other fields are those of a pair, and passed over
 * @throws InputError for an unknown field or one of the wrong type, no prompt, or a prompt that `makePair` refuses
 */
export function resolveAveraged(
  input: unknown,
  context: PairContext,
  direction: Direction,
  origin: string,
): Pair {
  const { clean, corrupted } = checkAveragedInput(input);
  const fields = [
    ["corrupted", corrupted],
    ["clean", clean],
  ] as const;
  const inOrder = direction === "noising" ? fields : fields.toReversed();
  for (const [field, prompt] of inOrder) {
    if (prompt === undefined) continue;
    const tokens = promptTokens(prompt, field, context);
    return {
      clean: tokens,
      corrupted: tokens,
      answers: [],
      wrong: [],
      roles: new Map(),
      metricPosition: tokens.length - 1,
      origin,
    };
  }
  throw new InputError("clean or corrupted: expected a prompt to average over, got neither");
}

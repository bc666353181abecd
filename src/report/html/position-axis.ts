/** @file The position axis of the heatmaps: positions and roles in the order of the prompt, with their tokens. */

import { ALL_POSITIONS, type NodePosition } from "../../nodes/node-id.js";
import { visibleText } from "../../shown-text.js";
import type { PromptSummary } from "../prompt-summary.js";

export interface PositionLabel {
  readonly position: NodePosition;
  /** The position, and where prompts are known its tokens: one, or where they differ the clean and the corrupted one. */
  readonly lines: readonly string[];
  /** Whether the two runs of some pair begin with different tokens here. */
  readonly changed: boolean;
}

/** Longer tokens are cut, where there is room for so much. */
export const TOKEN_CHARACTERS = 14;

/** Keeps text that runs from right to left from turning round what stands beside it. */
const ISOLATE = ["\u2068", "\u2069"] as const;

/**
 * Labels in the order of the first pair's prompt; roles of unknown position behind the others, and so positions counted from the
 * end where prompts have several lengths; `*` last.
 * @param characters what is shown of a token at most
 */
export function positionAxis(
  positions: readonly NodePosition[],
  prompts: PromptSummary | undefined,
  characters: number = TOKEN_CHARACTERS,
): PositionLabel[] {
  const placeOf = (position: NodePosition): number => {
    if (position === ALL_POSITIONS) return Number.MAX_VALUE;
    return ownPosition(prompts, position) ?? Number.MAX_SAFE_INTEGER;
  };
  // Sorting is stable: roles at unknown positions stay in order of appearance.
  return [...positions]
    .sort((a, b) => placeOf(a) - placeOf(b))
    .map((position) => labelOf(position, prompts, characters));
}

function ownPosition(prompts: PromptSummary | undefined, position: NodePosition): number | undefined {
  if (typeof position === "number") {
    if (position >= 0) return position;
    return prompts && position >= -prompts.length ? prompts.length + position : undefined;
  }
  // Roles are names from a file: "constructor" is none of an object's own.
  return prompts && Object.hasOwn(prompts.roles, position) ? prompts.roles[position] : undefined;
}

function labelOf(
  position: NodePosition,
  prompts: PromptSummary | undefined,
  characters: number,
): PositionLabel {
  const at = ownPosition(prompts, position);
  const name = position === ALL_POSITIONS ? "all positions" : String(position);
  if (!prompts || at === undefined || at >= prompts.length)
    return { position, lines: [name], changed: false };
  const changed =
    typeof position === "number" ? prompts.differing.includes(at) : prompts.differingRoles.includes(position);
  const [clean, corrupted] = [prompts.clean[at], prompts.corrupted[at]].map((token) =>
    tokenText(token, characters),
  );
  if (!changed) return { position, lines: [name, clean], changed };
  const other = corrupted === clean ? [] : [`≠ ${corrupted}`];
  return { position, lines: [`▲ ${name}`, clean, ...other], changed };
}

/** A token on one line of a picture: in quotes, so that its spaces can be seen, and cut where it is long. */
function tokenText(token: string, most: number): string {
  const characters = [...token];
  const text = visibleText(characters.slice(0, most).join(""));
  return `${ISOLATE[0]}${characters.length > most ? `${text.slice(0, -1)}…"` : text}${ISOLATE[1]}`;
}

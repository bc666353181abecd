/** @file Text of unknown content, made fit for one line of a terminal. */

/** Control and format characters, line and paragraph separators, halves of pairs: what moves a cursor or turns text round. */
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/**
 * The text in quotes with everything that could break a layout escaped, as JSON does: `" Paul"`, `"\n"`, `"\u001b[2J"`.
 * Spaces at its ends, which mean something in a token, can be seen.
 */
export function visibleText(text: string): string {
  return JSON.stringify(text).replace(INVISIBLE, (character) =>
    Array.from({ length: character.length }, (_, unit) => character.charCodeAt(unit))
      .map((code) => `\\u${code.toString(16).padStart(4, "0")}`)
      .join(""),
  );
}

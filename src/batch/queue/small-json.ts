/**
 * @file JSON of unknown origin is looked at before it is read: a text of many millions of brackets becomes objects of a hundred times
 * its size.
 */

export interface JsonLimits {
  readonly characters: number;
  /** Arrays and objects. */
  readonly brackets: number;
}

const QUOTE = 34;
const BACKSLASH = 92;
const ARRAY = 91;
const OBJECT = 123;

/** Whether a text is no larger than that. It need not be JSON. */
export function isSmallJson(text: string, { characters, brackets }: JsonLimits): boolean {
  if (text.length > characters) return false;
  let opened = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (inString) {
      if (code === BACKSLASH) at++;
      else if (code === QUOTE) inString = false;
    } else if (code === QUOTE) inString = true;
    else if (code === ARRAY || code === OBJECT) {
      opened += 1;
      if (opened > brackets) return false;
    }
  }
  return true;
}

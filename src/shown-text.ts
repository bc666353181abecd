/**
 * @file Text and values of unknown content, made fit for a terminal: whoever wrote a file that is complained of must not be able
 * to move the cursor, and a value of megabytes must not fill the screen.
 */

/** Control and format characters, line and paragraph separators, halves of pairs: what moves a cursor or turns text round. */
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Characters of a value in an error text. */
const SHOWN_CHARACTERS = 120;

/** How deep an error text goes into a value: a file may nest as deep as it is long, and recursion would end the process. */
const SHOWN_DEPTH = 4;

/** Characters of a whole message: enough for a list of ten bad lines. */
const MESSAGE_CHARACTERS = 4_000;

/**
 * The text in quotes with everything that could break a layout escaped, as JSON does: `" Paul"`, `"\n"`, `"\u001b[2J"`.
 * Spaces at its ends, which mean something in a token, can be seen.
 */
export function visibleText(text: string): string {
  return escaped(JSON.stringify(text));
}

/**
 * A value as JSON for an error text, escaped, and cut where it is long or deep: `"aaaa…" (5000000 characters)`, `[[[[…]]]]`.
 * @param most characters
 */
export function shown(value: unknown, most = SHOWN_CHARACTERS): string {
  if (typeof value === "string") {
    if (value.length <= most) return visibleText(value);
    return `${visibleText(value.slice(0, most))}… (${value.length} characters)`;
  }
  const text = jsonTo(value, SHOWN_DEPTH, most);
  return text.length <= most ? text : `${text.slice(0, most)}…`;
}

/** A name that stands in a sentence without quotes, such as that of a tensor or a file: escaped, and cut where it is long. */
export function shownName(name: string, most = SHOWN_CHARACTERS): string {
  return name.length <= most ? escaped(name) : `${escaped(name.slice(0, most))}… (${name.length} characters)`;
}

/**
 * A message with invisible characters escaped, line breaks apart, and its middle left out where it is long: what is wrong stands
 * at the beginning, what was found at the end.
 */
export function shownMessage(message: string): string {
  const cut =
    message.length <= MESSAGE_CHARACTERS
      ? message
      : `${message.slice(0, MESSAGE_CHARACTERS - 500)} … (${message.length} characters) … ${message.slice(-500)}`;
  return shownLines(cut);
}

/** Others' words inside a message: on one line, escaped, and cut where they are long. */
export function shownWords(text: string, most = SHOWN_CHARACTERS): string {
  return escaped(text.length <= most ? text : `${text.slice(0, most)}… (${text.length} characters)`);
}

/** Text of several lines with everything else that is invisible escaped. */
export function shownLines(text: string): string {
  return text.split("\n").map(escaped).join("\n");
}

function escaped(text: string): string {
  return text.replace(INVISIBLE, (character) =>
    Array.from({ length: character.length }, (_, unit) => character.charCodeAt(unit))
      .map((code) => `\\u${code.toString(16).padStart(4, "0")}`)
      .join(""),
  );
}

/** As JSON.stringify, but of the first `depth` levels and of no more parts than `most` characters have room for. */
function jsonTo(value: unknown, depth: number, most: number): string {
  if (typeof value === "string") return shown(value, most);
  if (typeof value !== "object" || value === null) return String(value);
  const isArray = Array.isArray(value);
  const [open, close] = isArray ? "[]" : "{}";
  if (depth === 0) return `${open}…${close}`;
  const parts: string[] = [];
  let length = 0;
  for (const key of Object.keys(value)) {
    if (length > most) break;
    const part = jsonTo(Reflect.get(value, key), depth - 1, most);
    parts.push(isArray ? part : `${shown(key, most)}:${part}`);
    length += parts[parts.length - 1].length + 1;
  }
  const rest = parts.length < Object.keys(value).length ? ",…" : "";
  return `${open}${parts.join(",")}${rest}${close}`;
}

/** @file The entries of docs/errors.md, and which messages of the sources they speak of. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../support/child-process.js";
import { HOLE, type Sources } from "./source-messages.js";

export interface Entry {
  /** With `HOLE` for what differs from case to case. */
  readonly messages: readonly { readonly text: string; readonly line: number }[];
  /** Cause and cure. */
  readonly explanation: string;
}

/** An item of a list that begins with messages in code spans, one per line, with hard breaks between them. */
export function readEntries(): Entry[] {
  const entries: { messages: { text: string; line: number }[]; explanation: string }[] = [];
  const lines = readFileSync(join(projectRoot, "docs", "errors.md"), "utf8").split("\n");
  let open = false;
  lines.forEach((line, at) => {
    const [, bullet, , text] = /^(- | {2})(`+) ?((?:(?!\2).)+?) ?\2\\?$/.exec(line) ?? [];
    const entry = entries.at(-1);
    if (text !== undefined && bullet === "- ") {
      entries.push({ messages: [{ text, line: at + 1 }], explanation: "" });
      open = true;
    } else if (text !== undefined && entry && open && entry.explanation === "") {
      entry.messages.push({ text, line: at + 1 });
    } else if (entry && open && /^ {2}\S/.test(line)) {
      entry.explanation += `${line.trim()} `;
    } else if (line !== "") {
      open = false;
    }
  });
  return entries;
}

/** What a message of the sources can look like, its holes as groups. */
function patternOf(message: string): RegExp {
  const fixed = message.split(HOLE).map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${fixed.join("(.*)")}$`);
}

/** How many characters of a message are the same every time: of two that fit, the one with more says more. */
function weight(message: string): number {
  return message.replaceAll(HOLE, "").length;
}

/** The messages of the sources that an entry's text stands for; empty if the sources have no such message. */
export function messagesLike(text: string, { messages, texts }: Sources): string[] {
  const fitting = messages
    .map((message) => message.text)
    // One without a word of its own would fit anything.
    .filter((message) => /[a-z]/i.test(message))
    .filter((message) => {
      const [, ...fillings] = patternOf(message).exec(text) ?? [undefined, undefined];
      return fillings.every((filling) => filling !== undefined && isFilling(filling, texts));
    });
  const most = Math.max(...fitting.map(weight));
  return [...new Set(fitting.filter((message) => weight(message) === most))];
}

/** What an entry says in place of a hole must come from the sources, too, but for its own holes. */
function isFilling(filling: string, texts: readonly string[]): boolean {
  return filling.split(HOLE).every((part) => {
    const words = part.trim();
    return words === "" || texts.some((text) => text.includes(words));
  });
}

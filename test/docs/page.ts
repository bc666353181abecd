/** @file A page of docs/ as tests read it: its fenced blocks, and its text without them. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../support/child-process.js";

export interface Fence {
  /** What stands behind the opening fence. */
  readonly language: string;
  readonly text: string;
  /** Of the opening fence, from 1. */
  readonly line: number;
}

export interface Page {
  readonly fences: readonly Fence[];
  /** Everything outside of fences. */
  readonly prose: string;
}

/** @param name file name in docs/ */
export function readPage(name: string): Page {
  const fences: Fence[] = [];
  const prose: string[] = [];
  let open: { language: string; line: number; lines: string[] } | undefined;
  readFileSync(join(projectRoot, "docs", name), "utf8")
    .split("\n")
    .forEach((text, at) => {
      if (!text.startsWith("```")) (open?.lines ?? prose).push(text);
      else if (!open) open = { language: text.slice(3), line: at + 1, lines: [] };
      else {
        fences.push({ language: open.language, line: open.line, text: open.lines.join("\n") });
        open = undefined;
      }
    });
  if (open) throw new Error(`docs/${name}:${open.line}: expected an end of the fence, got none`);
  return { fences, prose: prose.join("\n") };
}

/**
 * @file The messages of the errors that the sources make, read from their syntax trees, so that a page that explains
 * them can be compared with all of them.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAst } from "vitest/node";
import { projectRoot } from "../support/child-process.js";

/** Stands in a message for what is only known when it is made. */
export const HOLE = "…";

export interface SourceMessage {
  /** With `HOLE` for each part that is not a text in the sources; line breaks are spaces. */
  readonly text: string;
  /** `src/file.ts:12` */
  readonly place: string;
}

export interface Sources {
  readonly messages: readonly SourceMessage[];
  /** Every text in the sources, whether or not a message: what a hole of a message may be filled with. */
  readonly texts: readonly string[];
}

/** What a user can see: the errors of this project, and those of options, to which commander adds its own words. */
const ERRORS: readonly unknown[] = [
  "InputError",
  "ModelChanged",
  "RunError",
  "TokenizerError",
  "InvalidArgumentError",
];

export function readSources(): Sources {
  const messages: SourceMessage[] = [];
  const texts: string[] = [];
  const files = readdirSync(join(projectRoot, "src"), { recursive: true, encoding: "utf8" });
  for (const file of files.filter((name) => name.endsWith(".ts")).sort()) {
    const code = readFileSync(join(projectRoot, "src", file), "utf8");
    visit(parseAst(code, { lang: "ts" }), (node) => {
      if (node.type === "Literal" && typeof node.value === "string") texts.push(node.value);
      if (node.type === "TemplateElement") texts.push(textOfElement(node));
      if (node.type !== "NewExpression" || !isNode(node.callee) || !ERRORS.includes(node.callee.name)) return;
      const line = code.slice(0, Number(node.start)).split("\n").length;
      for (const text of alternatives(nodesOf(node.arguments)[0])) {
        messages.push({ text: text.replaceAll("\n", " "), place: `src/${file}:${line}` });
      }
    });
  }
  return { messages, texts };
}

/** A node of the tree; its fields depend on its type. */
type Node = Readonly<Record<string, unknown>> & { readonly type: string };

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
}

function nodesOf(value: unknown): Node[] {
  return Array.isArray(value) ? value.filter(isNode) : [];
}

function visit(value: unknown, see: (node: Node) => void): void {
  if (Array.isArray(value)) for (const item of value) visit(item, see);
  if (!isNode(value)) return;
  see(value);
  for (const field of Object.values(value)) visit(field, see);
}

/** A condition that decides on the whole message makes two of them; one inside a message is a hole. */
function alternatives(node: Node | undefined): string[] {
  if (node?.type === "ConditionalExpression") {
    return [node.consequent, node.alternate].flatMap((branch) =>
      alternatives(isNode(branch) ? branch : undefined),
    );
  }
  return [textOf(node)];
}

function textOf(node: unknown): string {
  if (!isNode(node)) return HOLE;
  if (node.type === "Literal" && typeof node.value === "string") return node.value;
  if (node.type === "ParenthesizedExpression") return textOf(node.expression);
  if (node.type === "BinaryExpression" && node.operator === "+") {
    return textOf(node.left) + textOf(node.right);
  }
  if (node.type === "TemplateLiteral") {
    const holes = nodesOf(node.expressions).map(textOf);
    return nodesOf(node.quasis).reduce(
      (text, quasi, i) => text + textOfElement(quasi) + (holes[i] ?? ""),
      "",
    );
  }
  return HOLE;
}

function textOfElement({ value }: Node): string {
  const cooked = typeof value === "object" && value !== null && "cooked" in value ? value.cooked : undefined;
  return typeof cooked === "string" ? cooked : HOLE;
}

/** @file The four gradient methods by name. */

import { InputError } from "../errors.js";
import { shown } from "../shown-text.js";

export const METHODS = ["atp", "atp+qkfix", "atp+graddrop", "atp*"] as const;

/** AtP, with the QK fix, with GradDrop, or with both. */
export type Method = (typeof METHODS)[number];

/** What each one does, in one line, for help texts. */
export const METHOD_DESCRIPTIONS: Readonly<Record<Method, string>> = {
  atp: "first-order attribution patching: misses where softmax saturates or paths cancel",
  "atp+qkfix": "the attention softmax recomputed exactly for queries and keys",
  "atp+graddrop": "mean over gradients with one layer dropped each, so that paths cannot cancel",
  "atp*": "QK fix and GradDrop together",
};

export interface MethodParts {
  readonly qkFix: boolean;
  readonly gradDrop: boolean;
}

export function partsOf(method: Method): MethodParts {
  return {
    qkFix: method === "atp+qkfix" || method === "atp*",
    gradDrop: method === "atp+graddrop" || method === "atp*",
  };
}

/** @throws InputError for any other name */
export function parseMethod(name: string): Method {
  const method = METHODS.find((known) => known === name);
  if (!method) throw new InputError(`parseMethod: expected one of ${METHODS.join(", ")}, got ${shown(name)}`);
  return method;
}

/** @file The list of `--from`: which run it is of, and whether that asked what this one asks. */

import { differenceFrom, type ListOrigin, type ListReference, originOfList } from "../results/list-origin.js";
import { questionNames } from "./asked.js";
import { printNote } from "./context.js";
import type { AskedRun } from "./prepare-run.js";

export interface GivenList {
  readonly origin: ListOrigin;
  /** As summaries have it. */
  readonly reference: ListReference;
}

/**
 * Says on stderr where a list answers another question, or is of a run that broke off.
 * @param run the one that its rows name
 * @param use what a list of another question is still good for
 */
export async function givenList(
  asked: AskedRun,
  file: string,
  run: string | undefined,
  use: string,
): Promise<GivenList> {
  const origin = await originOfList(file, run);
  const differs = differenceFrom(origin, asked.question, questionNames(asked));
  if (differs !== undefined) {
    printNote(
      `warning: ${file} was computed with ${differs}: its numbers and the new ones do not compare, ${use}`,
    );
  }
  const { state = "done" } = origin.summary ?? {};
  if (state !== "done")
    printNote(`warning: ${file} is of a run that broke off: its list is not the last one`);
  return {
    origin,
    reference: { file, ...(run !== undefined && { run }), ...(differs !== undefined && { differs }) },
  };
}

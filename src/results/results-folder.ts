/**
 * @file A folder of results as its writer sees it: one at a time, and in an order that a kill at any moment leaves readable. A list
 * begins with a summary.json that says "running", then goes what was there before, then its files come, then summary.json says
 * "done". Whoever finds "running" and no writer knows that the run broke off; whoever finds a file of another run knows that, too,
 * as every file names its run.
 */

import { join } from "node:path";
import { asError, InputError, RunError } from "../errors.js";
import { type OwnDocument, readOwnDocument } from "./documents.js";
import { lockFolder } from "./folder-lock.js";
import { checkFolder, checkReplaceable, makeFolder } from "./make-folder.js";
import { removeOwn, removePages } from "./own-files.js";
import { questionOfRun } from "./question.js";
import {
  filesOfGroup,
  RESULT_FILES,
  RESULT_NAMES,
  type ResultGroup,
  type ResultName,
} from "./result-files.js";

/** How far the run of a list is: `interrupted` by its user, with what it had computed. */
export type RunState = "running" | "interrupted" | "done";

export class ResultsFolder {
  #unlock: (() => Promise<void>) | undefined;
  #began = false;

  private constructor(
    readonly folder: string,
    private readonly option: string,
  ) {}

  /**
   * Checks, without changing anything, that results can be written.
   * @param option what names the folder, for error texts: "--out"
   * @throws InputError for a path that is or runs through a file, that may not be written to, or where a folder has the
   *   name of a result
   */
  static async check(folder: string, option = "--out"): Promise<ResultsFolder> {
    await checkFolder(option, folder);
    const results = ResultsFolder.at(folder, option);
    for (const name of RESULT_NAMES) await checkReplaceable(option, results.path(name));
    return results;
  }

  /** The same for a folder that has been checked. */
  static at(folder: string, option: string): ResultsFolder {
    return new ResultsFolder(folder, option);
  }

  path(name: ResultName): string {
    return join(this.folder, RESULT_FILES[name].name);
  }

  /**
   * Makes the folder and keeps other writers out. Half files that killed processes have left are removed.
   * @throws InputError where somebody else writes to it, or it cannot be made; RunError if the disk refuses
   */
  async open(onNotice?: (text: string) => void): Promise<void> {
    await makeFolder(this.option, this.folder);
    this.#unlock = await lockFolder(this.folder, onNotice);
  }

  async close(): Promise<void> {
    await this.#unlock?.();
    this.#unlock = undefined;
  }

  /**
   * Checks that something can stand beside the list of the folder, before it is computed.
   * @param question of the run: `questionId`
   * @param ofList the run of the list that it is about, where it is about one
   * @throws InputError where the folder has a list of another question, or another list
   */
  async checkBeside(question: string, ofList?: string): Promise<void> {
    const list = await this.#document("list");
    if (!list) return;
    const asks = list.run === undefined ? undefined : questionOfRun(list.run);
    if (asks === question && (ofList === undefined || list.run === ofList)) return;
    const what =
      asks === undefined
        ? "that does not say what it is of"
        : asks === question
          ? `of the run ${list.run}, another one than that of --from`
          : `that answers another question (run ${list.run})`;
    throw new InputError(
      `${this.option}: expected a folder without a list, or with one of the same model, pairs, metric, direction and source, got ${this.folder}, whose list is one ${what}: name another folder`,
    );
  }

  /**
   * Begins a list: writes its summary so far, and removes what belongs to another run. What the list is being merged from stays until
   * its own file takes the place. Called again on the way, it removes what only a finished list has.
   * @param write puts the summary, which says "running", in its place
   * @param keeps files that the run writes before its list
   * @returns the names of removed results that no list has replaced, for people
   */
  async beginList(run: string, write: (path: string) => Promise<void>): Promise<string[]> {
    const removed: string[] = [];
    const curve = await this.#document("curve");
    const paths = await this.#document("paths");
    await write(this.path("summary"));
    for (const name of filesOfGroup("list")) {
      if (name !== "summary" && name !== "ranked") await this.#remove(name);
    }
    const foreign = (document: OwnDocument | undefined, isOwn: (found: string) => boolean) =>
      document?.run === undefined || !isOwn(document.run);
    if (!this.#began) {
      // A curve is of one list, in its order; paths only ask the same question.
      if (foreign(curve, () => curve?.list === run)) removed.push(...(await this.#removeGroup("curve")));
      if (foreign(paths, (found) => questionOfRun(found) === questionOfRun(run)))
        removed.push(...(await this.#removeGroup("paths")));
      this.#began = true;
    }
    await this.#onDisk(() => removePages(this.folder));
    return removed;
  }

  /** Takes away a list of single nodes: what is to be written is one of windows. */
  async removeList(): Promise<void> {
    await this.#remove("ranked");
  }

  /** Begins what stands beside a list: the document, which is written last, goes first. */
  async beginBeside(group: "curve" | "paths"): Promise<void> {
    await this.#removeGroup(group);
    await this.#onDisk(() => removePages(this.folder));
  }

  async #removeGroup(group: ResultGroup): Promise<string[]> {
    const removed: string[] = [];
    for (const name of filesOfGroup(group)) {
      if (await this.#remove(name)) removed.push(RESULT_FILES[name].name);
    }
    return removed;
  }

  async #remove(name: ResultName): Promise<boolean> {
    return await this.#onDisk(() => removeOwn(this.folder, name));
  }

  async #document(group: "list" | "curve" | "paths"): Promise<OwnDocument | undefined> {
    return await readOwnDocument(this.folder, group);
  }

  async #onDisk<Result>(body: () => Promise<Result>): Promise<Result> {
    try {
      return await body();
    } catch (error) {
      if (error instanceof RunError) throw error;
      throw new RunError(`results: ${this.folder}: ${asError(error).message}`, {
        cause: error,
      });
    }
  }
}

/** One job at a time in a folder, whoever tries when, and whatever a dead one has left there. */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { hostname } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { InputError } from "../../src/errors.js";
import { lockFolder } from "../../src/results/folder-lock.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";

const ROUNDS = 150;

/** Above the largest number that Linux gives. */
const DEAD = 2 ** 22 + 1;

const IDS = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"];

function lockOf(changes: object): string {
  return JSON.stringify({ pid: DEAD, host: hostname(), ...changes });
}

async function startTaker(): Promise<ChildProcess> {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const entry = fileURLToPath(new URL("lock-process.ts", import.meta.url));
  const child = fork(entry, [], { execArgv: ["--import", tsx] });
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(child, "message");
  return child;
}

async function ask(child: ChildProcess, message: string | number): Promise<unknown> {
  const answer = once(child, "message");
  child.send(message);
  return (await answer)[0];
}

describe("the lock of a folder", () => {
  it("is taken by one of two processes, also where both find a dead one's", {
    timeout: 120_000,
  }, async () => {
    const takers = await Promise.all([startTaker(), startTaker()]);
    const folder = temporaryFolder();
    const lock = join(folder, "run.lock");
    const wins = [0, 0];
    for (let round = 0; round < ROUNDS; round++) {
      // None; of an earlier version; a whole one; a broken one.
      if (round % 4 === 1) writeFileSync(lock, lockOf({}));
      if (round % 4 === 2) writeFileSync(lock, lockOf({ id: IDS[0] }));
      if (round % 4 === 3) writeFileSync(lock, '{"pid": ');
      const answers = await Promise.all(takers.map((taker) => ask(taker, folder)));
      const winner = answers.indexOf("taken");
      expect(answers).toContain("taken");
      // The loser has met the winner's lock, or the one that decides who replaces a dead one's.
      const [before, after] = String(answers[1 - winner]).split(lock);
      expect(before).toBe(
        `InputError: lockFolder: expected a results folder that nobody else writes to, got ${folder}, where process ${takers[winner].pid} does (if it does not: remove `,
      );
      expect(after).toMatch(/^(\.unknown|\.1{8}-\S+1{12})?\)$/);
      expect(JSON.parse(readFileSync(lock, "utf8")).pid).toBe(takers[winner].pid);
      wins[winner]++;
      await ask(takers[winner], 0);
      expect(readdirSync(folder)).toEqual([]);
    }
    expect(wins[0] + wins[1]).toBe(ROUNDS);
  });

  it("is taken once by a process, by whatever name", async () => {
    const folder = temporaryFolder();
    const link = join(temporaryFolder(), "link");
    symlinkSync(folder, link);
    const unlock = await lockFolder(folder);
    for (const name of [folder, link]) {
      await expect(lockFolder(name)).rejects.toThrow(
        new InputError(
          `lockFolder: expected a results folder that nobody else writes to, got ${name}, where this process does`,
        ),
      );
    }
    await unlock();
    await (await lockFolder(link))();
    expect(readdirSync(folder)).toEqual([]);
  });

  it("is taken over where whoever was taking it over died, too; and not where that one lives", async () => {
    const folder = temporaryFolder();
    const lock = join(folder, "run.lock");
    const turn = `${lock}.${IDS[0]}`;
    writeFileSync(lock, lockOf({ id: IDS[0] }));
    writeFileSync(turn, lockOf({ id: IDS[1], pid: process.ppid }));
    await expect(lockFolder(folder)).rejects.toThrow(`where process ${process.ppid} does (if it does not: `);
    expect(JSON.parse(readFileSync(lock, "utf8")).id).toBe(IDS[0]);
    writeFileSync(turn, lockOf({ id: IDS[1] }));
    const unlock = await lockFolder(folder);
    expect(JSON.parse(readFileSync(lock, "utf8"))).toMatchObject({ pid: process.pid, host: hostname() });
    expect(readdirSync(folder)).toEqual(["run.lock"]);
    await unlock();
    expect(readdirSync(folder)).toEqual([]);
  });

  it("is not given back where somebody else has it meanwhile", async () => {
    const folder = temporaryFolder();
    const lock = join(folder, "run.lock");
    const unlock = await lockFolder(folder);
    rmSync(lock);
    writeFileSync(lock, lockOf({ id: IDS[0], host: "elsewhere.example" }));
    await unlock();
    expect(JSON.parse(readFileSync(lock, "utf8")).id).toBe(IDS[0]);
  });

  it("says so where the disk refuses it", async () => {
    const folder = join(temporaryFolder(), "none");
    await expect(lockFolder(folder)).rejects.toThrow(/^lockFolder: .*run\.lock: ENOENT/);
  });

  it("removes half files that killed processes have left, and no others", async () => {
    const folder = temporaryFolder();
    const [left, kept, list] = [
      `.report.html.${IDS[0]}.tmp`,
      `.report.html.${IDS[1]}.tmp`,
      `.ranked.csv.${IDS[0]}.tmp`,
    ];
    for (const name of [left, kept, list, ".mine.tmp"]) writeFileSync(join(folder, name), "half");
    const ago = (name: string, seconds: number) => {
      const time = Date.now() / 1000 - seconds;
      utimesSync(join(folder, name), time, time);
    };
    ago(left, 120);
    ago(".mine.tmp", 120);
    // Pages are written without the lock, so another command may still be writing this one; the list nobody else can be writing.
    ago(kept, 5);
    ago(list, 5);
    await (await lockFolder(folder))();
    expect(readdirSync(folder).sort()).toEqual([".mine.tmp", kept].sort());
  });
});

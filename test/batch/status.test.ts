/** The status of a job: when it is written, and what is in it. */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { type JobStatus, readStatus, StatusFile } from "../../src/batch/status.js";
import { InputError } from "../../src/errors.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";
import { until } from "./job-folder.js";

function fileAndStatus() {
  const file = join(temporaryFolder(), "status.json");
  return { file, status: new StatusFile(file, "0".repeat(64)) };
}

/** Waits for a status that is as it should be; a test that waits for ever fails. */
async function seen(file: string, wanted: (status: JobStatus) => boolean): Promise<JobStatus> {
  let last: JobStatus | undefined;
  await until(async () => {
    last = await readStatus(file);
    return last !== undefined && wanted(last);
  });
  if (!last) throw new Error("expected a status");
  return last;
}

describe("StatusFile", () => {
  it("writes a beginning and failures at once, and the last shard of a second at its end", async () => {
    const { file, status } = fileAndStatus();
    /** The status that the call writes: that it was made up during the call does not depend on how busy the machine is. */
    const writtenBy = async (call: () => void, wanted: (status: JobStatus) => boolean) => {
      const before = Date.now();
      call();
      const after = Date.now();
      const written = await seen(file, wanted);
      const updated = Date.parse(written.updated);
      expect(updated).toBeGreaterThanOrEqual(before);
      expect(updated).toBeLessThanOrEqual(after);
      return written;
    };
    await writtenBy(
      () => status.begin("estimate", 5, 1),
      ({ shards }) => shards.total === 5,
    );
    await writtenBy(
      () => status.begin("verify", 3, 0),
      ({ stage }) => stage === "verify",
    );
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = timers();
    status.advance();
    status.advance();
    // It keeps no process alive.
    expect(timers()).toBe(before);
    const failure = { stage: "verify", shard: "1".repeat(64), what: "some", tries: 3, error: "bad" } as const;
    const failed = await writtenBy(
      () => {
        status.fail([failure]);
        status.advance();
      },
      ({ shards }) => shards.failed === 1,
    );
    expect(failed).toMatchObject({ shards: { done: 2, total: 3 }, failures: [failure] });
    const { shards, secondsLeft, updated } = await seen(file, ({ shards }) => shards.done === 3);
    expect(shards).toEqual({ done: 3, total: 3, failed: 1, reused: 0 });
    expect(secondsLeft).toBe(0);
    // A timer may be a millisecond early.
    expect(Date.parse(updated) - Date.parse(failed.updated)).toBeGreaterThanOrEqual(998);
  });

  it("writes nothing after its last word", async () => {
    const { file, status } = fileAndStatus();
    status.begin("estimate", 2, 0);
    status.advance();
    await status.end("interrupted");
    const text = readFileSync(file, "utf8");
    expect(JSON.parse(text)).toMatchObject({ state: "interrupted", shards: { done: 1, total: 2 } });
    writeFileSync(file, "");
    await delay(1200);
    expect(readFileSync(file, "utf8")).toBe("");
  });

  it("never has more shards done than there are, nor less than no time left", async () => {
    const { file, status } = fileAndStatus();
    status.begin("verify", 3, 3);
    status.again();
    const again = await seen(file, ({ shards }) => shards.done === 2);
    expect(again.shards).toEqual({ done: 2, total: 3, failed: 0, reused: 2 });
    status.advance();
    await status.end("done");
    const { shards, shardsPerSecond } = await seen(file, ({ state }) => state === "done");
    expect(shards).toEqual({ done: 3, total: 3, failed: 0, reused: 2 });
    expect(shardsPerSecond).toBeGreaterThan(0);
  });
});

describe("readStatus", () => {
  it("tells a file that cannot be read from one that is no status, and from none", async () => {
    const folder = temporaryFolder();
    expect(await readStatus(join(folder, "none.json"))).toBeUndefined();
    const file = join(folder, "status.json");
    mkdirSync(file);
    await expect(readStatus(file)).rejects.toThrow(InputError);
    await expect(readStatus(file)).rejects.toThrow(`${file}: expected a file, got a folder, pipe or device`);
    const other = join(folder, "other.json");
    writeFileSync(other, "{}");
    await expect(readStatus(other)).rejects.toThrow(InputError);
    await expect(readStatus(other)).rejects.toThrow(
      `readStatus: ${other}: expected the status of a job, got something else: `,
    );
  });
});

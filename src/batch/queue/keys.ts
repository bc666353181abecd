/**
 * @file What is in Redis, under one prefix. A *submission* is a job and the output folder that its results go to, named by a
 * random number that lies in that folder: running the job again there goes on with it, and another folder has a queue of its own.
 *
 *     <prefix>:submissions          sorted set: submission -> when its coordinator was last seen, ms
 *     <prefix>:submission:<id>      hash: job (the portable job), state (see `submission.ts`)
 *     <prefix>:workers              hash: worker -> what it has and does (see `presence.ts`)
 *     <prefix>:<id>:…               BullMQ's queue of the submission, one job per shard
 *     <prefix>:result:<id>:<upload>:<n>   a piece of a result that has no shared folder to go to
 */

/** Of `--prefix`. */
export const DEFAULT_PREFIX = "atpkit";

/** Random, 128 bits in hexadecimal digits: of submissions and uploads. */
export const RANDOM_ID = /^[0-9a-f]{32}$/;

/**
 * How long Redis keeps a submission that no coordinator looks after, and results that nobody fetches: a job that broke off on a
 * Friday evening can go on on Monday. Either is made again when it is gone.
 */
export const KEPT_SECONDS = 4 * 24 * 3600;

export interface QueueKeys {
  readonly prefix: string;
  readonly submissions: string;
  readonly workers: string;
  submission(id: string): string;
  resultPiece(id: string, upload: string, piece: number): string;
}

export function queueKeys(prefix: string): QueueKeys {
  return {
    prefix,
    submissions: `${prefix}:submissions`,
    workers: `${prefix}:workers`,
    submission: (id) => `${prefix}:submission:${id}`,
    resultPiece: (id, upload, piece) => `${prefix}:result:${id}:${upload}:${piece}`,
  };
}

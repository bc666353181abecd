/**
 * @file Results without a shared folder: through Redis, in pieces, since one value of Redis is at most 512 MB and the server does
 * nothing else while it takes one. Every upload has a name of its own: two workers that made the same shard cannot mix their pieces.
 */

import { createHash, randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import { RunError } from "../../errors.js";
import { KEPT_SECONDS, type QueueKeys } from "./keys.js";

const PIECE_BYTES = 8 * 2 ** 20;

/** More than any shard: a message that says more is not one of ours. */
export const MAX_RESULT_BYTES = 16 * 2 ** 30;

/** Where a result lies in Redis. */
export interface Upload {
  readonly upload: string;
  readonly bytes: number;
  /** SHA-256 of the whole, in hexadecimal digits. */
  readonly sha256: string;
}

/**
 * Puts a result into Redis, where it stays until it is fetched, or for `KEPT_SECONDS`. Where Redis has no room for it the connection
 * waits until a coordinator has made some.
 */
export async function putResult(
  redis: Redis,
  keys: QueueKeys,
  id: string,
  bytes: Uint8Array,
): Promise<Upload> {
  const upload = randomBytes(16).toString("hex");
  for (let piece = 0; piece * PIECE_BYTES < bytes.length; piece++) {
    const start = piece * PIECE_BYTES;
    const size = Math.min(PIECE_BYTES, bytes.length - start);
    const part = Buffer.from(bytes.buffer, bytes.byteOffset + start, size);
    await redis.set(keys.resultPiece(id, upload, piece), part, "EX", KEPT_SECONDS);
  }
  return { upload, bytes: bytes.length, sha256: sha256(bytes) };
}

/**
 * Fetches a result; it stays in Redis.
 * @returns undefined where a piece is gone: it expired, or Redis has lost it
 * @throws RunError where the bytes are not those that were put
 */
export async function getResult(
  redis: Redis,
  keys: QueueKeys,
  id: string,
  { upload, bytes, sha256: expected }: Upload,
): Promise<Uint8Array | undefined> {
  const pieces: Buffer[] = [];
  for (let piece = 0; piece * PIECE_BYTES < bytes; piece++) {
    // One that somebody else has put there may be of any size: no more is fetched than there should be.
    const part = await redis.getrangeBuffer(keys.resultPiece(id, upload, piece), 0, PIECE_BYTES - 1);
    if (part.length === 0) return undefined;
    pieces.push(part);
  }
  const whole = Buffer.concat(pieces);
  if (whole.length !== bytes || sha256(whole) !== expected) {
    throw new RunError(
      `getResult: expected ${bytes} bytes with SHA-256 ${expected}, got ${whole.length} others`,
    );
  }
  return whole;
}

/** Removes a result from Redis. */
export async function dropResult(
  redis: Redis,
  keys: QueueKeys,
  id: string,
  { upload, bytes }: Upload,
): Promise<void> {
  for (let piece = 0; piece * PIECE_BYTES < bytes; piece++)
    await redis.unlink(keys.resultPiece(id, upload, piece));
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

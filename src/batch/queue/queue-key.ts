/**
 * @file Signatures by a key that only the machines of a job have, and Redis has not: whoever can write to Redis can then put nothing
 * there that a worker computes or a coordinator believes. What is signed names the submission and the shard that it belongs to, so
 * nothing that was signed once can be used in another place.
 */

import { createHmac, timingSafeEqual } from "node:crypto";
import { InputError } from "../../errors.js";

/** The variable of the environment that has it. There is no option: lists of processes show those. */
export const KEY_VARIABLE = "ATPKIT_QUEUE_KEY";

const SHORTEST_KEY = 16;

/** What a signature looks like: HMAC-SHA256 in hexadecimal digits. */
export const SIGNATURE = /^[0-9a-f]{64}$/;

/** What is signed: every kind means something else by the same texts. */
export type SignedKind = "job" | "shard" | "result" | "failure";

/** Signs and checks; the key itself cannot be had from it. */
export class QueueKey {
  readonly #key: string;

  /** @throws InputError for a key that is short or has line breaks; its text repeats nothing of it */
  constructor(key: string) {
    if (key.length < SHORTEST_KEY || /[\r\n]/.test(key)) {
      throw new InputError(
        `${KEY_VARIABLE}: expected at least ${SHORTEST_KEY} characters without line breaks, got ${key.length < SHORTEST_KEY ? "fewer" : "a line break"}`,
      );
    }
    this.#key = key;
  }

  /**
   * The signature of some texts and numbers, 64 hexadecimal digits.
   * @param parts of one kind always the same, in the same order
   */
  sign(kind: SignedKind, parts: readonly (string | number)[]): string {
    // As JSON, so that where one part ends and the next begins is signed, too.
    return createHmac("sha256", this.#key)
      .update(JSON.stringify(["atpkit", kind, ...parts]))
      .digest("hex");
  }

  /** Whether a text is the signature of these parts by this key. */
  signed(kind: SignedKind, parts: readonly (string | number)[], signature: unknown): boolean {
    if (typeof signature !== "string" || !SIGNATURE.test(signature)) return false;
    return timingSafeEqual(Buffer.from(signature, "hex"), Buffer.from(this.sign(kind, parts), "hex"));
  }
}

/**
 * The key of this process; undefined where it has none.
 * @throws InputError as the constructor does. An empty text is a key that was forgotten, not one that is not wanted
 */
export function queueKeyOf(environment: NodeJS.ProcessEnv): QueueKey | undefined {
  const key = environment[KEY_VARIABLE];
  return key === undefined ? undefined : new QueueKey(key);
}

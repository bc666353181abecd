/**
 * @file One shard's result as bytes:
 *
 *   magic, 8 bytes | length of the header, 8 bytes | header, JSON | zeros up to a multiple of 8
 *   | each array, little-endian, with zeros up to a multiple of 8 | SHA-256 of all before, 32 bytes
 *
 * The header has the shard's name, and what the name is the hash of, so that a file says itself whether it is what its name
 * promises. A file is written from the arrays' own memory and read array by array, so that a result of many gigabytes is held once.
 * A result that travels as bytes, through a queue, is in memory twice while it is packed or checked.
 */

import { createHash } from "node:crypto";
import { z } from "zod";
import { InputError, RunError } from "../errors.js";
import { HASH, shardName } from "./identity.js";
import { taskSchema } from "./parse-job.js";
import type { ShardArray, ShardResult } from "./shard-result.js";

const MAGIC = "ATPSHRD1";
const ALIGNMENT = 8;
const CHECKSUM_BYTES = 32;

/** Many times a header with a chunk of a million nodes: more is no header. */
const MAX_HEADER_BYTES = 2 ** 28;

/** Bytes that are read, hashed or written at a time: neither files nor hashes take 2 GiB at once. */
const CHUNK_BYTES = 2 ** 24;

/** For people: kind and name of a device. */
const LONGEST_DEVICE = 1024;

const ARRAY_NAME = /^[A-Za-z]+(\.\d+)?$/;

const ARRAYS = { float64: Float64Array, float32: Float32Array, uint32: Uint32Array } as const;

type ArrayType = keyof typeof ARRAYS;

const headerSchema = z.strictObject({
  name: z.string().regex(HASH),
  job: z.string().regex(HASH),
  task: taskSchema,
  device: z.string().max(LONGEST_DEVICE),
  seconds: z.number().min(0),
  forwardEquivalents: z.number().min(0),
  arrays: z.array(
    z.strictObject({
      name: z.string().regex(ARRAY_NAME),
      type: z.enum(["float64", "float32", "uint32"]),
      length: z.int().min(0),
    }),
  ),
});

/** The bytes of a shard in pieces, in order; pieces of arrays are the arrays' own memory. */
export function* shardPieces(name: string, result: ShardResult): Generator<Uint8Array> {
  const { job, task, device, seconds, forwardEquivalents, arrays } = result;
  if (shardName(job, task) !== name) {
    throw new Error(`shardPieces: expected the shard ${name}, got another one's result`);
  }
  const checksum = createHash("sha256");
  const counted = (piece: Uint8Array): Uint8Array => {
    checksum.update(piece);
    return piece;
  };
  const described = Object.entries(arrays).map(([of, array]) => ({
    name: of,
    type: typeOf(array),
    length: array.length,
  }));
  const header = Buffer.from(
    JSON.stringify({ name, job, task, device, seconds, forwardEquivalents, arrays: described }),
    "utf8",
  );
  yield counted(frontOf(header.length));
  yield counted(header);
  yield counted(paddingAfter(header.length));
  for (const array of Object.values(arrays)) {
    // Little-endian, as the machine is: Node has binaries for none but s390x that is not.
    for (const chunk of chunksOf(bytesOf(array))) yield counted(chunk);
    yield counted(paddingAfter(array.byteLength));
  }
  yield checksum.digest();
}

/** Where bytes come from, from the first one on. */
export interface ByteSource {
  /** How many there are. */
  readonly size: number;
  /** Fills all of `target`. */
  read(target: Uint8Array): Promise<void>;
}

/**
 * The result in a shard's bytes.
 *
 * @param name the shard that is expected
 * @throws RunError saying what is wrong: another shard's, cut short, or changed in any bit
 */
export async function readShard(name: string, source: ByteSource): Promise<ShardResult> {
  const checksum = createHash("sha256");
  const take = async <Target extends Uint8Array>(target: Target): Promise<Target> => {
    for (const chunk of chunksOf(target)) {
      await source.read(chunk);
      checksum.update(chunk);
    }
    return target;
  };
  const expect = (holds: boolean, what: string) => {
    if (!holds) throw new RunError(`readShard: ${name}: expected ${what}`);
  };
  let left = source.size - CHECKSUM_BYTES;
  const spend = (bytes: number) => {
    left -= bytes;
    expect(left >= 0, `the whole shard, got one of ${source.size} bytes that breaks off`);
  };

  spend(frontOf(0).length);
  const front = Buffer.from(await take(new Uint8Array(frontOf(0).length)));
  expect(front.toString("latin1", 0, MAGIC.length) === MAGIC, "a shard, got something else");
  const headerBytes = Number(front.readBigUInt64LE(MAGIC.length));
  expect(headerBytes <= MAX_HEADER_BYTES, `a header, got one of ${headerBytes} bytes`);
  spend(headerBytes + paddingAfter(headerBytes).length);
  const text = Buffer.from(await take(new Uint8Array(headerBytes))).toString("utf8");
  await take(paddingAfter(headerBytes));
  const { arrays: described, ...result } = parseHeader(text, name);
  expect(result.name === name, `that shard, got ${result.name}`);

  const arrays: Record<string, ShardArray> = {};
  for (const { name: of, type, length } of described) {
    const bytes = length * ARRAYS[type].BYTES_PER_ELEMENT;
    spend(bytes + paddingAfter(bytes).length);
    expect(!Object.hasOwn(arrays, of), `each array once, got ${of} twice`);
    const array = new ARRAYS[type](length);
    await take(bytesOf(array));
    await take(paddingAfter(bytes));
    arrays[of] = array;
  }
  expect(left === 0, `${source.size - left} bytes, got ${source.size}`);
  const stored = new Uint8Array(CHECKSUM_BYTES);
  await source.read(stored);
  expect(checksum.digest().equals(stored), "bytes as they were written, got others: their checksum is wrong");
  expect(
    shardName(result.job, result.task) === name,
    "a name that is the hash of its job and task, got another one",
  );
  const { name: _, ...rest } = result;
  return { ...rest, arrays };
}

/** A source of bytes in memory. */
export function bytesAsSource(bytes: Uint8Array): ByteSource {
  let at = 0;
  return {
    size: bytes.length,
    async read(target) {
      target.set(bytes.subarray(at, at + target.length));
      at += target.length;
    },
  };
}

function parseHeader(text: string, name: string): z.output<typeof headerSchema> {
  try {
    return headerSchema.parse(JSON.parse(text));
  } catch (error) {
    if (!(error instanceof z.ZodError || error instanceof SyntaxError || error instanceof InputError))
      throw error;
    throw new RunError(`readShard: ${name}: expected a header, got something else`);
  }
}

function frontOf(headerBytes: number): Buffer {
  const front = Buffer.alloc(MAGIC.length + 8);
  front.write(MAGIC, "latin1");
  front.writeBigUInt64LE(BigInt(headerBytes), MAGIC.length);
  return front;
}

function paddingAfter(bytes: number): Uint8Array {
  return new Uint8Array((ALIGNMENT - (bytes % ALIGNMENT)) % ALIGNMENT);
}

function* chunksOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
}

function bytesOf({ buffer, byteOffset, byteLength }: ShardArray): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function typeOf(array: ShardArray): ArrayType {
  if (array instanceof Float64Array) return "float64";
  return array instanceof Float32Array ? "float32" : "uint32";
}

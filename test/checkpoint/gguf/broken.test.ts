/** @file GGUF files that are refused: each names the file and what is wrong with it, before any weight is read. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { resolveCheckpoint } from "../../../src/checkpoint/hub.js";
import { InputError } from "../../../src/errors.js";
import { temporaryFolder } from "../../support/checkpoint-folders.js";
import { type GgufParts, type GgufTensor, ggufBytes } from "../../support/gguf-file.js";

const D = 8;
const FLOATS = (...shape: number[]): GgufTensor => ({
  dtype: "F32",
  shape,
  bytes: new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)),
});

/** A Llama of one layer, two heads of width 4, 6 neurons and 5 tokens. */
const WHOLE: GgufParts = {
  metadata: [
    ["general.architecture", "text", "llama"],
    ["llama.block_count", "u32", 1],
    ["llama.context_length", "u32", 16],
    ["llama.embedding_length", "u32", D],
    ["llama.feed_forward_length", "u32", 6],
    ["llama.attention.head_count", "u32", 2],
    ["llama.attention.layer_norm_rms_epsilon", "f32", 1e-5],
  ],
  tensors: [
    ["token_embd.weight", FLOATS(5, D)],
    ["output_norm.weight", FLOATS(D)],
    ["blk.0.attn_norm.weight", FLOATS(D)],
    ["blk.0.attn_q.weight", FLOATS(D, D)],
    ["blk.0.attn_k.weight", FLOATS(D, D)],
    ["blk.0.attn_v.weight", FLOATS(D, D)],
    ["blk.0.attn_output.weight", FLOATS(D, D)],
    ["blk.0.ffn_norm.weight", FLOATS(D)],
    ["blk.0.ffn_gate.weight", FLOATS(6, D)],
    ["blk.0.ffn_up.weight", FLOATS(6, D)],
    ["blk.0.ffn_down.weight", FLOATS(D, 6)],
  ],
};

function written(bytes: Uint8Array): string {
  const path = join(temporaryFolder(), "model.gguf");
  writeFileSync(path, bytes);
  return path;
}

async function refusal(bytes: Uint8Array): Promise<string> {
  const path = written(bytes);
  try {
    await (await openCheckpoint(path)).close();
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return String(error).replaceAll(path, "FILE");
  }
  throw new Error("refusal: the file was accepted");
}

/** The file with keys of its metadata, and tensors, changed, added, or (undefined) left out. */
function changed(
  metadata: Readonly<Record<string, GgufParts["metadata"][number] | undefined>>,
  tensors: Readonly<Record<string, GgufTensor | undefined>> = {},
): Buffer {
  const keys = new Map<string, GgufParts["metadata"][number] | undefined>(
    [...WHOLE.metadata].map((entry) => [entry[0], entry]),
  );
  for (const [key, entry] of Object.entries(metadata)) keys.set(key, entry);
  const named = new Map<string, GgufTensor | undefined>(WHOLE.tensors);
  for (const [name, tensor] of Object.entries(tensors)) named.set(name, tensor);
  return ggufBytes({
    metadata: [...keys.values()].filter((entry) => entry !== undefined),
    tensors: [...named].flatMap(([name, tensor]) => (tensor ? [[name, tensor] as const] : [])),
  });
}

const keyed = (
  key: string,
  ...value: [type: "u32" | "f32" | "bool" | "text", value: number | string | boolean]
) => ({
  [key]: [key, ...value] as const,
});

/** The file with another count in its first bytes. */
function counted(at: number, count: number): Buffer {
  const bytes = ggufBytes(WHOLE);
  bytes.writeBigUInt64LE(BigInt(count), at);
  return bytes;
}

test("the whole file is accepted: what it has no keys for is as the format's readers assume it", async () => {
  const { config, tied, close } = await openCheckpoint(written(ggufBytes(WHOLE)));
  expect(config).toMatchObject({ kvHeads: 2, headWidth: 4, vocabulary: 5, mlpWidth: 6, maxPositions: 16 });
  expect(config.rotary?.inverseFrequencies).toEqual([1, 10_000 ** -0.5]);
  expect(tied).toBe(true);
  await close();
});

test.each<[string, Buffer, string]>([
  [
    "an unknown architecture",
    changed(keyed("general.architecture", "text", "mamba")),
    'expected general.architecture of FILE to be one of the supported gpt2, llama, qwen2, qwen3, got "mamba"',
  ],
  ["no architecture", changed({ "general.architecture": undefined }), "got no such key"],
  [
    "a missing key",
    changed({ "llama.block_count": undefined }),
    "expected llama.block_count of FILE to be a positive integer, got no such field",
  ],
  [
    "a missing key with a default elsewhere",
    changed({ "llama.attention.layer_norm_rms_epsilon": undefined }),
    "expected llama.attention.layer_norm_rms_epsilon of FILE to be there, got no such field",
  ],
  [
    "a key of another kind",
    changed(keyed("llama.embedding_length", "text", "8")),
    'expected llama.embedding_length of FILE to be a positive integer, got "8"',
  ],
  [
    "a key that is not understood",
    changed(keyed("llama.attention.clamp_kqv", "f32", 8)),
    "expected only metadata of FILE that is understood, got llama.attention.clamp_kqv 8",
  ],
  ["a key of another architecture", changed(keyed("gemma.block_count", "u32", 8)), "got gemma.block_count 8"],
  [
    "experts",
    changed(keyed("llama.expert_count", "u32", 8)),
    "expected llama.expert_count of FILE to be 0 (mixtures of experts are not supported), got 8",
  ],
  [
    "attention to later tokens",
    changed(keyed("llama.attention.causal", "bool", false)),
    "expected llama.attention.causal of FILE to be true (attention to later tokens is not supported), got false",
  ],
  [
    "yarn",
    changed(keyed("llama.rope.scaling.type", "text", "yarn")),
    'expected llama.rope.scaling.type of FILE to be none or linear (other rotary scalings are not supported), got "yarn"',
  ],
  [
    "half a head that turns",
    changed(keyed("llama.rope.dimension_count", "u32", 2)),
    "expected llama.rope.dimension_count of FILE to be the width of a head, 4, got 2",
  ],
  [
    "an adapter",
    changed(keyed("general.type", "text", "adapter")),
    'expected FILE to have general.type "model", got "adapter"',
  ],
  ["one of several parts", changed(keyed("split.count", "u32", 3)), "got split.count 3"],
  [
    "a tensor that is not understood",
    changed({}, { "blk.0.attn_q_norm.weight": FLOATS(4) }),
    "expected only tensors of FILE that llama has, got blk.0.attn_q_norm.weight",
  ],
  [
    "a tensor of a layer that the metadata leaves out",
    changed({}, { "blk.1.attn_norm.weight": FLOATS(D), "blk.1.ffn_norm.weight": FLOATS(D) }),
    "expected llama.block_count of FILE to be 2, as the last layer in FILE is that of blk.1.attn_norm.weight, got 1",
  ],
  [
    "fewer layers than the metadata counts",
    changed(keyed("llama.block_count", "u32", 1_000_000_000)),
    "expected llama.block_count of FILE to be 1, as the last layer in FILE is that of blk.0.attn_norm.weight, got 1000000000",
  ],
  [
    "more layers than can be counted",
    changed(keyed("llama.block_count", "u32", 4_294_967_295)),
    "expected llama.block_count of FILE to be at most 2147483647, got 4294967295",
  ],
  [
    "more heads than there are rows",
    changed({
      ...keyed("llama.attention.head_count", "u32", 2 ** 30),
      ...keyed("llama.attention.key_length", "u32", 4),
    }),
    "expected tensor blk.0.attn_q.weight of FILE to have shape [4294967296, 8], as its metadata says, got [8, 8]",
  ],
  [
    "heads wider than any",
    changed(keyed("llama.attention.key_length", "u32", 1_000_000_000)),
    "expected llama.attention.key_length of FILE to be at most 65536, got 1000000000",
  ],
  [
    "a vocabulary larger than the embedding",
    changed(keyed("llama.vocab_size", "u32", 1_000_000_000)),
    "expected tensor token_embd.weight of FILE to have shape [1000000000, 8], as its metadata says, got [5, 8]",
  ],
  [
    "more tensors than the file has room for",
    counted(8, 10_000_000),
    "to have a header within its 2816 bytes, got one of 10000000 tensors and 7 keys: the file is truncated",
  ],
  [
    "more keys than the file has room for",
    counted(16, 100_000),
    "to have a header within its 2816 bytes, got one of 11 tensors and 100000 keys: the file is truncated",
  ],
  [
    "a key of a strange name",
    changed(keyed("__proto__", "u32", 1)),
    "expected FILE to have every key of its metadata once, with texts in UTF-8",
  ],
  [
    "a tensor that is missing",
    changed({}, { "blk.0.ffn_up.weight": undefined }),
    "expected tensor blk.0.ffn_up.weight in FILE, got a checkpoint without it",
  ],
  [
    "no token embedding",
    changed({}, { "token_embd.weight": undefined }),
    "expected tensor token_embd.weight in FILE, got a checkpoint without it",
  ],
  [
    "another shape",
    changed({}, { "blk.0.ffn_up.weight": FLOATS(D, 6) }),
    "expected tensor blk.0.ffn_up.weight of FILE to have shape [6, 8], as its metadata says, got [8, 6]",
  ],
  [
    "a type that is not supported",
    changed({}, { "blk.0.ffn_up.weight": { dtype: "Q2_K", shape: [6, D], bytes: new Uint8Array(84) } }),
    "expected tensor blk.0.ffn_up.weight of FILE to be stored as one of F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, got Q2_K",
  ],
  [
    "rows that are no whole blocks",
    changed({}, { "blk.0.attn_q.weight": { dtype: "Q4_0", shape: [D, D], bytes: new Uint8Array(36) } }),
    "expected rows of tensor blk.0.attn_q.weight of FILE to be blocks of 32 values, as Q4_0 has them, got rows of 8",
  ],
  [
    "tensors that overlap",
    changed({}, { "blk.0.ffn_down.weight": { ...FLOATS(D, 6), offset: 0 } }),
    "expected FILE to have every byte in one tensor, got token_embd.weight and blk.0.ffn_down.weight, which overlap",
  ],
  [
    "a tensor between alignments",
    changed({}, { "blk.0.ffn_down.weight": { ...FLOATS(D, 6), offset: 4097 } }),
    "expected FILE to have tensor blk.0.ffn_down.weight at a multiple of 32 bytes, got offset 4097",
  ],
  [
    "an older layout of blocks",
    changed(keyed("general.quantization_version", "u32", 1), {
      "blk.0.attn_q.weight": { dtype: "Q4_0", shape: [D, 32], bytes: new Uint8Array(144) },
    }),
    "expected FILE to have general.quantization_version 2 (older layouts are not supported), got 1",
  ],
  [
    "a key that is there twice",
    ggufBytes({ ...WHOLE, metadata: [...WHOLE.metadata, ["llama.block_count", "u32", 1]] }),
    "expected FILE to have every key of its metadata once, with texts in UTF-8",
  ],
  [
    "a tensor that is there twice",
    ggufBytes({ ...WHOLE, tensors: [...WHOLE.tensors, ["output_norm.weight", FLOATS(D)]] }),
    "expected FILE to have every tensor once, got output_norm.weight twice",
  ],
  [
    "another format",
    Buffer.from("{}".padEnd(100)),
    'expected FILE to have a file that begins with "GGUF" and a header, got one that does not begin so',
  ],
  ["an empty file", Buffer.alloc(0), "got one that does not begin so"],
  ["the beginning alone", Buffer.from("GGUF"), "got 4 bytes: truncated"],
])("%s", async (_, bytes, expected) => {
  expect(await refusal(bytes)).toContain(expected);
});

test("a file that is cut anywhere is refused as truncated", async () => {
  const whole = ggufBytes(WHOLE);
  for (let size = 24; size < whole.length - 32; size += 97) {
    expect(await refusal(whole.subarray(0, size))).toMatch(/truncated|can be accounted for/);
  }
});

test("a text that lies across the end of what the parser reads at a time is refused when it comes out cut", async () => {
  // 2,000,000 bytes are read at first, and more ahead of each key unless half a million are left.
  const filler: GgufParts["metadata"][number] = ["general.description", "text", "x".repeat(2_100_000)];
  const text = await refusal(ggufBytes({ ...WHOLE, metadata: [filler, ...WHOLE.metadata] }));
  expect(text).toContain("can be accounted for");
});

test("a text that is said to go on far behind the end of the file is refused, and no room is made for it", async () => {
  const bytes = ggufBytes({ ...WHOLE, metadata: [...WHOLE.metadata, ["general.name", "text", "x"]] });
  const length = bytes.indexOf("general.name") + "general.name".length + 4;
  bytes.writeBigUInt64LE(9_000_000n, length);
  const before = process.memoryUsage().rss;
  expect(await refusal(bytes)).toContain("got a header that goes on behind its");
  expect(process.memoryUsage().rss - before).toBeLessThan(100e6);
});

test("a big-endian file is refused", async () => {
  const bytes = Buffer.alloc(64);
  bytes.write("GGUF");
  bytes.writeUInt32BE(3, 4);
  expect(await refusal(bytes)).toContain("expected FILE to have a little-endian file, got a big-endian one");
});

test("names that are no files", async () => {
  const folder = temporaryFolder();
  await expect(resolveCheckpoint(join(folder, "no.gguf"))).rejects.toThrow(
    `resolveCheckpoint: ${join(folder, "no.gguf")}: expected a GGUF file, got no such file`,
  );
  const text = join(folder, "config.json");
  writeFileSync(text, "{}");
  await expect(resolveCheckpoint(text)).rejects.toThrow(
    `resolveCheckpoint: ${text}: expected a folder, a GGUF file (.gguf) or a model id, got another file`,
  );
});

test("bytes behind the last tensor are told, and padding is not", async () => {
  const path = join(temporaryFolder(), "model.gguf");
  const noticesOf = async (more: number) => {
    writeFileSync(path, Buffer.concat([ggufBytes(WHOLE), Buffer.alloc(more)]));
    const checkpoint = await openCheckpoint(path);
    await checkpoint.close();
    return checkpoint.notices;
  };
  expect(await noticesOf(0)).toEqual([]);
  expect(await noticesOf(100)).toEqual([
    expect.stringMatching(
      /^warning: .*model\.gguf has 1\d\d bytes behind its last tensor that nothing in it speaks of/,
    ),
  ]);
});

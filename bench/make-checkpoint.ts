/**
 * @file Writes a checkpoint of random weights in the shape of a large Llama model, for benches that read weights from disk:
 * BF16, in shards behind an index, without a tokenizer (prompts are token ids).
 *
 *   npx tsx bench/make-checkpoint.ts llama-7b|llama-1b|llama-400m FOLDER
 *
 * All tensors are cut from one block of normal numbers whose length is a multiple of no tensor's width, each from another
 * place on: drawing 7 billion numbers would take longer than writing them. They are scaled so that the residual stream
 * grows slowly, attention scores and logits have a standard deviation of about 1, and nothing saturates.
 */

import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

/** The sizes of a Llama model. */
export interface LlamaShape {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly mlpWidth: number;
  readonly vocabulary: number;
  readonly tied: boolean;
}

export const LLAMA_SHAPES: Readonly<Record<string, LlamaShape>> = {
  "llama-7b": {
    layers: 32,
    width: 4096,
    heads: 32,
    kvHeads: 32,
    mlpWidth: 11_008,
    vocabulary: 32_000,
    tied: false,
  },
  "llama-1b": {
    layers: 16,
    width: 2048,
    heads: 32,
    kvHeads: 8,
    mlpWidth: 8192,
    vocabulary: 128_256,
    tied: true,
  },
  "llama-400m": {
    layers: 14,
    width: 1536,
    heads: 12,
    kvHeads: 12,
    mlpWidth: 4096,
    vocabulary: 8192,
    tied: false,
  },
};

/** A tensor to be written: normal numbers of a standard deviation, or ones. */
interface RandomTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly deviation: number | "ones";
}

function* tensorsOf({ layers, width: D, heads, kvHeads, mlpWidth: F, vocabulary, tied }: LlamaShape) {
  const keys = (D / heads) * kvHeads;
  // What each layer adds to the stream has a variance of 1 / 2L in each of its two parts.
  const quiet = 1 / Math.sqrt(2 * layers);
  const matrix = (name: string, out: number, into: number, gain = 1): RandomTensor => ({
    name: `${name}.weight`,
    shape: [out, into],
    deviation: gain / Math.sqrt(into),
  });
  const ones = (name: string): RandomTensor => ({ name: `${name}.weight`, shape: [D], deviation: "ones" });
  yield { name: "model.embed_tokens.weight", shape: [vocabulary, D], deviation: tied ? 1 / Math.sqrt(D) : 1 };
  for (let l = 0; l < layers; l++) {
    const layer = `model.layers.${l}.`;
    yield ones(`${layer}input_layernorm`);
    yield matrix(`${layer}self_attn.q_proj`, D, D);
    yield matrix(`${layer}self_attn.k_proj`, keys, D);
    yield matrix(`${layer}self_attn.v_proj`, keys, D);
    yield matrix(`${layer}self_attn.o_proj`, D, D, quiet);
    yield ones(`${layer}post_attention_layernorm`);
    yield matrix(`${layer}mlp.gate_proj`, F, D);
    yield matrix(`${layer}mlp.up_proj`, F, D);
    // An activation silu(gate)·up of unit normals has a mean square of about 0.36.
    yield matrix(`${layer}mlp.down_proj`, D, F, quiet / 0.6);
  }
  yield ones("model.norm");
  if (!tied) yield matrix("lm_head", vocabulary, D);
}

/** Values of the block: odd, and so a multiple of no width. */
const BLOCK_VALUES = 2 ** 20 + 12_345;

const SHARD_BYTES = 4 * 2 ** 30;

const VALUE_BYTES = 2;

/** Normal numbers (Box–Muller), always the same ones. */
function normalBlock(): Float32Array {
  const random = xoroshiro128plus(1);
  const values = new Float32Array(BLOCK_VALUES);
  for (let i = 0; i < values.length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniformFloat64(random)));
    const angle = 2 * Math.PI * uniformFloat64(random);
    values[i] = radius * Math.cos(angle);
    if (i + 1 < values.length) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

/** The nearest BF16 numbers. */
function toBrainFloats(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < halves.length; i++) halves[i] = (bits[i] + 0x7fff + ((bits[i] >>> 16) & 1)) >>> 16;
  return halves;
}

const bytesOf = ({ shape }: RandomTensor): number => shape.reduce((a, b) => a * b, VALUE_BYTES);

function shardsOf(tensors: Iterable<RandomTensor>): RandomTensor[][] {
  const shards: RandomTensor[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    if (bytes + bytesOf(tensor) > SHARD_BYTES && bytes > 0) {
      shards.push([]);
      bytes = 0;
    }
    shards[shards.length - 1].push(tensor);
    bytes += bytesOf(tensor);
  }
  return shards;
}

/** Writes config.json, the shards and their index. Returns the bytes of all tensors. */
export function makeCheckpoint(folder: string, shape: LlamaShape): number {
  mkdirSync(folder, { recursive: true });
  const config = {
    model_type: "llama",
    architectures: ["LlamaForCausalLM"],
    num_hidden_layers: shape.layers,
    hidden_size: shape.width,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    intermediate_size: shape.mlpWidth,
    vocab_size: shape.vocabulary,
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    hidden_act: "silu",
    tie_word_embeddings: shape.tied,
    torch_dtype: "bfloat16",
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config, null, 2));
  const block = normalBlock();
  const scaled = new Map<RandomTensor["deviation"], Uint16Array>();
  const valuesOf = ({ deviation }: RandomTensor): Uint16Array => {
    const known = scaled.get(deviation);
    const values =
      known ?? toBrainFloats(block.map((value) => (deviation === "ones" ? 1 : value * deviation)));
    scaled.set(deviation, values);
    return values;
  };
  const shards = shardsOf(tensorsOf(shape));
  const weightMap: Record<string, string> = {};
  let total = 0;
  let place = 0;
  for (const [s, tensors] of shards.entries()) {
    const [number, count] = [s + 1, shards.length].map((n) => String(n).padStart(5, "0"));
    const name = `model-${number}-of-${count}.safetensors`;
    const file = openSync(join(folder, name), "w");
    writeHeader(file, tensors);
    for (const tensor of tensors) {
      weightMap[tensor.name] = name;
      total += bytesOf(tensor);
      place = (place + 400_009) % BLOCK_VALUES;
      writeRepeated(file, valuesOf(tensor), place, bytesOf(tensor) / VALUE_BYTES);
    }
    closeSync(file);
  }
  const index = { metadata: { total_size: total }, weight_map: weightMap };
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify(index));
  return total;
}

function writeHeader(file: number, tensors: readonly RandomTensor[]): void {
  let end = 0;
  const entries = tensors.map((tensor) => {
    const start = end;
    end += bytesOf(tensor);
    return [tensor.name, { dtype: "BF16", shape: tensor.shape, data_offsets: [start, end] }];
  });
  const text = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeSync(file, Buffer.concat([length, text]));
}

/** Writes `count` values of a block that begins again where it ends. */
function writeRepeated(file: number, block: Uint16Array, from: number, count: number): void {
  let [place, left] = [from, count];
  while (left > 0) {
    const part = block.subarray(place, Math.min(block.length, place + left));
    const bytes = new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
    for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
    left -= part.length;
    place = (place + part.length) % block.length;
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [, , name = "", folder] = process.argv;
  const shape = Object.hasOwn(LLAMA_SHAPES, name) ? LLAMA_SHAPES[name] : undefined;
  if (!shape || folder === undefined) {
    throw new Error(`expected one of ${Object.keys(LLAMA_SHAPES).join(", ")} and a folder`);
  }
  const start = performance.now();
  const bytes = makeCheckpoint(folder, shape);
  const seconds = (performance.now() - start) / 1000;
  console.log(`${(bytes / 1e9).toFixed(2)} GB in ${seconds.toFixed(0)} s`);
}

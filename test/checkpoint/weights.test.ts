/**
 * @file Every weight of every golden checkpoint against the bytes of its file, taken apart here by index arithmetic
 * and by decoders that share nothing with the ones under test.
 */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, test } from "vitest";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import type { ModelConfig } from "../../src/model/config.js";
import { readStored, type StoredTensor } from "../support/checkpoint-folders.js";
import { startTestEngine } from "../support/engine.js";
import { BASE_VARIANTS, goldenFolder } from "../support/goldens.js";

interface Values {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** Slot of the canonical weights ("3.q.weight", "embedding.tokens") -> its tensor. */
type Slots = Map<string, Values>;

beforeAll(async () => {
  await startTestEngine();
});

function decodeHalf(bits: number): number {
  const fraction = (bits % 1024) / 1024;
  const exponent = Math.floor(bits / 1024) % 32;
  const magnitude = exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15);
  return bits >= 32_768 ? -magnitude : magnitude;
}

function decodeBrain(bits: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint16(0, bits, false);
  return view.getFloat32(0, false);
}

function decode({ dtype, shape, bytes }: StoredTensor): Values {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = shape.reduce((a, b) => a * b, 1);
  const at = (i: number): number => {
    if (dtype === "F32") return view.getFloat32(4 * i, true);
    return dtype === "F16"
      ? decodeHalf(view.getUint16(2 * i, true))
      : decodeBrain(view.getUint16(2 * i, true));
  };
  return { shape, values: Array.from({ length: count }, (_, i) => at(i)) };
}

class StoredWeights {
  readonly #stored = new Map<string, StoredTensor>();

  constructor(folder: string) {
    for (const file of readdirSync(folder).filter((name) => name.endsWith(".safetensors"))) {
      for (const [name, tensor] of readStored(join(folder, file))) this.#stored.set(name, tensor);
    }
  }

  get(name: string): Values {
    const tensor = this.#stored.get(name);
    if (tensor === undefined) throw new Error(`no ${name} in the golden`);
    return decode(tensor);
  }

  has(name: string): boolean {
    return this.#stored.has(name);
  }
}

/** A part whose value at [row, column] is the stored tensor's at `from(row, column)`. */
function gather(
  stored: Values,
  shape: readonly [number, number],
  from: (row: number, column: number) => number,
): Values {
  const [rows, columns] = shape;
  const values = Array.from({ length: rows * columns }, (_, i) => {
    return stored.values[from(Math.floor(i / columns), i % columns)];
  });
  return { shape, values };
}

function asVector({ values }: Values): Values {
  return { shape: [values.length], values };
}

/** Slots whose weights stand in the file as they are: slot -> name, with `{l}` for the layer. */
const GPT2_NAMES = {
  "attnNorm.scale": "h.{l}.ln_1.weight",
  "attnNorm.bias": "h.{l}.ln_1.bias",
  "o.weight": "h.{l}.attn.c_proj.weight",
  "o.bias": "h.{l}.attn.c_proj.bias",
  "mlpNorm.scale": "h.{l}.ln_2.weight",
  "mlpNorm.bias": "h.{l}.ln_2.bias",
  "mlpIn.weight": "h.{l}.mlp.c_fc.weight",
  "mlpIn.bias": "h.{l}.mlp.c_fc.bias",
  "mlpOut.weight": "h.{l}.mlp.c_proj.weight",
  "mlpOut.bias": "h.{l}.mlp.c_proj.bias",
};

const NEOX_NAMES = {
  "attnNorm.scale": "layers.{l}.input_layernorm.weight",
  "attnNorm.bias": "layers.{l}.input_layernorm.bias",
  "o.weight": "layers.{l}.attention.dense.weight",
  "o.bias": "layers.{l}.attention.dense.bias",
  "mlpNorm.scale": "layers.{l}.post_attention_layernorm.weight",
  "mlpNorm.bias": "layers.{l}.post_attention_layernorm.bias",
  "mlpIn.weight": "layers.{l}.mlp.dense_h_to_4h.weight",
  "mlpIn.bias": "layers.{l}.mlp.dense_h_to_4h.bias",
  "mlpOut.weight": "layers.{l}.mlp.dense_4h_to_h.weight",
  "mlpOut.bias": "layers.{l}.mlp.dense_4h_to_h.bias",
};

const LLAMA_NAMES = {
  "attnNorm.scale": "layers.{l}.input_layernorm.weight",
  "q.weight": "layers.{l}.self_attn.q_proj.weight",
  "k.weight": "layers.{l}.self_attn.k_proj.weight",
  "v.weight": "layers.{l}.self_attn.v_proj.weight",
  "o.weight": "layers.{l}.self_attn.o_proj.weight",
  "mlpNorm.scale": "layers.{l}.post_attention_layernorm.weight",
  "mlpGate.weight": "layers.{l}.mlp.gate_proj.weight",
  "mlpIn.weight": "layers.{l}.mlp.up_proj.weight",
  "mlpOut.weight": "layers.{l}.mlp.down_proj.weight",
};

const QWEN2_NAMES = {
  ...LLAMA_NAMES,
  "q.bias": "layers.{l}.self_attn.q_proj.bias",
  "k.bias": "layers.{l}.self_attn.k_proj.bias",
  "v.bias": "layers.{l}.self_attn.v_proj.bias",
};

const QWEN3_NAMES = {
  ...LLAMA_NAMES,
  qNorm: "layers.{l}.self_attn.q_norm.weight",
  kNorm: "layers.{l}.self_attn.k_norm.weight",
};

function layerSlots(
  names: Readonly<Record<string, string>>,
  prefix: string,
  layers: number,
  file: StoredWeights,
): Slots {
  const slots: Slots = new Map();
  for (let l = 0; l < layers; l++) {
    for (const [slot, name] of Object.entries(names)) {
      slots.set(`${l}.${slot}`, file.get(prefix + name.replace("{l}", `${l}`)));
    }
  }
  return slots;
}

function gpt2Slots(file: StoredWeights, { layers, width: D }: ModelConfig): Slots {
  const slots = layerSlots(GPT2_NAMES, "transformer.", layers, file);
  for (let l = 0; l < layers; l++) {
    const weight = file.get(`transformer.h.${l}.attn.c_attn.weight`); // [D, 3·D]
    const bias = file.get(`transformer.h.${l}.attn.c_attn.bias`);
    for (const [part, slot] of ["q", "k", "v"].entries()) {
      slots.set(
        `${l}.${slot}.weight`,
        gather(weight, [D, D], (row, column) => row * 3 * D + part * D + column),
      );
      slots.set(`${l}.${slot}.bias`, asVector(gather(bias, [1, D], (_, column) => part * D + column)));
    }
  }
  slots.set("embedding.tokens", file.get("transformer.wte.weight"));
  slots.set("embedding.positions", file.get("transformer.wpe.weight"));
  slots.set("unembedding.norm.scale", file.get("transformer.ln_f.weight"));
  slots.set("unembedding.norm.bias", file.get("transformer.ln_f.bias"));
  slots.set("unembedding.rows", file.get("transformer.wte.weight"));
  return slots;
}

function neoxSlots(file: StoredWeights, { layers, width: D, headWidth }: ModelConfig): Slots {
  const slots = layerSlots(NEOX_NAMES, "gpt_neox.", layers, file);
  /** Row of query_key_value that holds row `row` of q, k or v: the rows of a head's q, k and v follow each other. */
  const storedRow = (part: number, row: number) => {
    const head = Math.floor(row / headWidth);
    return head * 3 * headWidth + part * headWidth + (row % headWidth);
  };
  for (let l = 0; l < layers; l++) {
    const weight = file.get(`gpt_neox.layers.${l}.attention.query_key_value.weight`); // [3·D, D]
    const bias = file.get(`gpt_neox.layers.${l}.attention.query_key_value.bias`);
    for (const [part, slot] of ["q", "k", "v"].entries()) {
      slots.set(
        `${l}.${slot}.weight`,
        gather(weight, [D, D], (row, column) => storedRow(part, row) * D + column),
      );
      slots.set(`${l}.${slot}.bias`, asVector(gather(bias, [1, D], (_, column) => storedRow(part, column))));
    }
  }
  slots.set("embedding.tokens", file.get("gpt_neox.embed_in.weight"));
  slots.set("unembedding.norm.scale", file.get("gpt_neox.final_layer_norm.weight"));
  slots.set("unembedding.norm.bias", file.get("gpt_neox.final_layer_norm.bias"));
  slots.set(
    "unembedding.rows",
    file.get(file.has("embed_out.weight") ? "embed_out.weight" : "lm_head.weight"),
  );
  return slots;
}

function llamaSlots(file: StoredWeights, { layers, family }: ModelConfig, tied: boolean): Slots {
  const names = family === "qwen2" ? QWEN2_NAMES : family === "qwen3" ? QWEN3_NAMES : LLAMA_NAMES;
  const slots = layerSlots(names, "model.", layers, file);
  slots.set("embedding.tokens", file.get("model.embed_tokens.weight"));
  slots.set("unembedding.norm.scale", file.get("model.norm.weight"));
  slots.set("unembedding.rows", file.get(tied ? "model.embed_tokens.weight" : "lm_head.weight"));
  return slots;
}

function expectedSlots(variant: string, config: ModelConfig): Slots {
  const file = new StoredWeights(goldenFolder(variant));
  if (config.family === "gpt2") return gpt2Slots(file, config);
  if (config.family === "gpt_neox") return neoxSlots(file, config);
  return llamaSlots(file, config, variant === "llama_tied" || variant === "qwen2");
}

/** All weights as the checkpoint reads them; nothing stays on the engine. */
async function readSlots(checkpoint: Checkpoint): Promise<Slots> {
  const slots: Slots = new Map();
  const collect = (path: string, value: unknown): void => {
    if (value instanceof tf.Tensor) slots.set(path, { shape: value.shape, values: [...value.dataSync()] });
    else if (typeof value === "object" && value !== null) {
      for (const [key, inner] of Object.entries(value)) collect(path === "" ? key : `${path}.${key}`, inner);
    }
  };
  const embedding = await checkpoint.readEmbedding();
  const unembedding = await checkpoint.readUnembedding(embedding);
  collect("embedding", embedding);
  collect("unembedding", unembedding);
  for (let l = 0; l < checkpoint.config.layers; l++) {
    const layer = await checkpoint.readLayer(l);
    collect(`${l}`, layer);
    tf.dispose(layer);
  }
  tf.dispose(unembedding);
  tf.dispose(embedding);
  return slots;
}

async function openGolden(variant: string): Promise<{ config: ModelConfig; slots: Slots }> {
  const checkpoint = await openCheckpoint(goldenFolder(variant));
  try {
    return { config: checkpoint.config, slots: await readSlots(checkpoint) };
  } finally {
    await checkpoint.close();
  }
}

describe.each(BASE_VARIANTS)("%s", (variant) => {
  test("has every weight as its file has it, and no other", async () => {
    const before = tf.memory().numTensors;
    const { config, slots } = await openGolden(variant);
    expect(tf.memory().numTensors).toBe(before);
    const expected = expectedSlots(variant, config);
    expect([...slots.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [slot, values] of expected) expect(slots.get(slot), slot).toEqual(values);
  });
});

test.each([
  ["gpt2_hub", "gpt2"],
  ["pythia_hub", "gpt_neox"],
  ["llama3_hub", "llama3"],
  ["llama_sharded", "llama"],
])("%s, in the names and spellings of the hub or in shards, is %s", async (variant, base) => {
  const [a, b] = [await openGolden(variant), await openGolden(base)];
  expect(a.config).toEqual(b.config);
  expect(a.slots).toEqual(b.slots);
});

test("matrices keep the layout of their family's files", async () => {
  const layouts = async (variant: string) => {
    const checkpoint = await openCheckpoint(goldenFolder(variant));
    const layer = await checkpoint.readLayer(0);
    tf.dispose(layer);
    await checkpoint.close();
    const { q, k, v, o, mlpIn, mlpOut } = layer;
    return new Set([q, k, v, o, mlpIn, mlpOut].map((linear) => linear.layout));
  };
  expect(await layouts("gpt2")).toEqual(new Set(["in-out"]));
  expect(await layouts("gpt_neox")).toEqual(new Set(["out-in"]));
  expect(await layouts("qwen3")).toEqual(new Set(["out-in"]));
});

test("the first values of the BF16 and F16 goldens, by hand", async () => {
  // The first two numbers of the files' embeddings, bit by bit.
  const bits = (variant: string, name: string) => {
    const { bytes } = readStored(join(goldenFolder(variant), "model.safetensors")).get(name) ?? { bytes: [] };
    return [bytes[0] + 256 * bytes[1], bytes[2] + 256 * bytes[3]].map((word) =>
      word.toString(2).padStart(16, "0"),
    );
  };
  const binary = (digits: string, exponentBits: number, bias: number) => {
    const exponent = Number.parseInt(digits.slice(1, 1 + exponentBits), 2);
    const mantissa = digits.slice(1 + exponentBits);
    const significand = 1 + Number.parseInt(mantissa, 2) / 2 ** mantissa.length;
    return (digits[0] === "1" ? -1 : 1) * significand * 2 ** (exponent - bias);
  };
  const name = "model.embed_tokens.weight";
  const brain = (await openGolden("qwen2")).slots.get("embedding.tokens")?.values.slice(0, 2);
  expect(brain).toEqual(bits("qwen2", name).map((digits) => binary(digits, 8, 127)));
  const half = (await openGolden("qwen3")).slots.get("embedding.tokens")?.values.slice(0, 2);
  expect(half).toEqual(bits("qwen3", name).map((digits) => binary(digits, 5, 15)));
});

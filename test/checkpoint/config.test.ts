import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ConfigFields, readConfigFile } from "../../src/checkpoint/config-fields.js";
import { familyOf } from "../../src/checkpoint/families/registry.js";
import type { ModelPlan } from "../../src/checkpoint/weight-plan.js";
import { InputError } from "../../src/errors.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";

type Fields = Readonly<Record<string, unknown>>;

const GPT2 = { model_type: "gpt2", vocab_size: 50, n_embd: 12, n_head: 3, n_layer: 2 };
const WIDTHS = { vocab_size: 50, hidden_size: 64, num_hidden_layers: 2, intermediate_size: 24 };
const NEOX = { model_type: "gpt_neox", ...WIDTHS, num_attention_heads: 4 };
const LLAMA = { model_type: "llama", ...WIDTHS, num_attention_heads: 4 };
const MISTRAL = { model_type: "mistral", ...WIDTHS, num_attention_heads: 16 };
const QWEN2 = { model_type: "qwen2", ...WIDTHS, num_attention_heads: 32 };
const QWEN3 = { model_type: "qwen3", ...WIDTHS, num_attention_heads: 32 };

/** The plan for a config beside weight files that hold `present`, or every tensor. */
function planOf(values: Fields, present?: readonly string[]): ModelPlan {
  const fields = new ConfigFields("config.json", values);
  const names = { has: (name: string) => present?.includes(name) ?? true, listing: "model.safetensors" };
  return familyOf(fields).plan(fields, names);
}

function refusal(values: Fields, present?: readonly string[]): string {
  try {
    planOf(values, present);
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  throw new Error("refusal: the config was accepted");
}

describe("the file", () => {
  test("is missing, not JSON, or no object", async () => {
    const file = join(temporaryFolder(), "config.json");
    await expect(readConfigFile(file)).rejects.toThrow(
      `loadModel: expected a Hugging Face checkpoint with ${file}, got no such file`,
    );
    await expect(readConfigFile(tmpdir())).rejects.toThrow(
      `loadModel: ${tmpdir()}: expected a file, got a folder, pipe or device`,
    );
    writeFileSync(file, "{model_type: gpt2}");
    await expect(readConfigFile(file)).rejects.toThrow(
      `loadModel: expected ${file} to be JSON, got SyntaxError`,
    );
    writeFileSync(file, "[]");
    await expect(readConfigFile(file)).rejects.toThrow(
      `loadModel: expected ${file} to be a JSON object, got another value`,
    );
    writeFileSync(file, '{"n_layer": 3, "n_head": 2, "n_layer": 2}');
    await expect(readConfigFile(file)).rejects.toThrow(
      `loadModel: expected ${file} to have every name once, got "n_layer" twice`,
    );
    writeFileSync(file, `{"n_layer": ${"[".repeat(200_000)}`);
    await expect(readConfigFile(file)).rejects.toThrow(
      `loadModel: expected ${file} to be JSON, got brackets more than 100000 deep`,
    );
  });

  test("has fields of its own alone, and deep ones are shown short", async () => {
    const file = join(temporaryFolder(), "config.json");
    writeFileSync(
      file,
      `{"__proto__": {"n_layer": 2}, "n_head": ${"[".repeat(20_000)}${"]".repeat(20_000)}}`,
    );
    const fields = await readConfigFile(file);
    expect([fields.has("n_layer"), fields.has("toString"), fields.has("constructor")]).toEqual([
      false,
      false,
      false,
    ]);
    expect(() => fields.count("n_head")).toThrow(
      `loadModel: expected n_head of ${file} to be a positive integer, got [[[[[…]]]]]`,
    );
    expect(() => fields.count("n_layer")).toThrow("to be a positive integer, got no such field");
  });

  test("names a model type that is not supported, or none", () => {
    const families = "gpt2, gpt_neox, llama, mistral, qwen2, qwen3";
    expect(refusal({ ...LLAMA, model_type: "bert" })).toBe(
      `loadModel: expected model_type of config.json to be one of the supported families ${families}, got "bert"`,
    );
    expect(refusal({ vocab_size: 3 })).toBe(
      `loadModel: expected model_type of config.json to be one of the supported families ${families}, got no such field`,
    );
  });
});

describe("a field that changes what is computed, and is not supported in any family", () => {
  test.each<[string, unknown, readonly unknown[]]>([
    ["is_encoder_decoder", true, [false, null]],
    ["add_cross_attention", true, [false]],
    ["is_causal", false, [true, null]],
    ["use_bidirectional_attention", true, [false]],
    ["bidirectional", true, [false]],
    ["quantization_config", { quant_method: "gptq", bits: 4 }, [null]],
    ["quantization", { group_size: 64, bits: 4 }, [null]],
    ["attn_logit_softcapping", 50, [null]],
    ["final_logit_softcapping", 30, [null]],
    ["logits_scaling", 8, [1]],
    ["logit_scale", 0.0625, [1]],
    ["attention_multiplier", 0.015625, [null]],
    ["embedding_multiplier", 12, [1]],
    ["residual_multiplier", 0.22, [1]],
    ["query_pre_attn_scalar", 224, [null]],
    ["scale_emb", 12, [1]],
    ["num_local_experts", 8, [0, 1, null]],
    ["use_alibi", true, [false]],
    ["rope_interleave", true, [false]],
    ["no_rope_layers", [1, 0], [[1, 1], null]],
    ["pruned_heads", { "0": [1] }, [{}, null]],
    [
      "architectures",
      ["LlamaForSequenceClassification"],
      [["LlamaForCausalLM"], ["LLaMAForCausalLM"], [], null],
    ],
    ["architectures", ["Qwen2ForRewardModel"], [["GPT2LMHeadModel"], ["GPT2Model"]]],
    ["architectures", ["Qwen2ForTokenClassification"], [["GPTNeoXForCausalLM"], ["Qwen3ForCausalLM"]]],
    ["architectures", ["LlamaForCausalLM", "LlamaForCausalLMEagle"], [["MistralForCausalLM"]]],
    ["architectures", "LlamaForCausalLM", []],
    ["layer_types", ["full_attention", "linear_attention"], [["full_attention", "full_attention"], null]],
    ["layer_types", ["full_attention"], []],
  ])("%s: %j", (field, refused, accepted) => {
    for (const family of [GPT2, NEOX, LLAMA, MISTRAL, QWEN2, QWEN3]) {
      expect(refusal({ ...family, [field]: refused })).toMatch(
        new RegExp(`^loadModel: expected ${field} of config.json to be .*, got [^ ]`),
      );
      for (const value of accepted) {
        expect(planOf({ ...family, [field]: value }).config).toEqual(planOf(family).config);
      }
    }
  });

  test("what transformers writes and never looks at changes nothing", () => {
    const idle = {
      is_decoder: false,
      pretraining_tp: 2,
      attention_dropout: 0.1,
      resid_pdrop: 0.1,
      classifier_dropout: 0.1,
      use_cache: true,
      torch_dtype: "bfloat16",
      initializer_range: 0.02,
    };
    for (const family of [GPT2, NEOX, LLAMA, MISTRAL, QWEN2, QWEN3]) {
      expect(planOf({ ...family, ...idle }).config).toEqual(planOf(family).config);
    }
  });

  test("names the value and why, and what to do with quantized weights", () => {
    expect(refusal({ ...LLAMA, use_bidirectional_attention: true })).toBe(
      "loadModel: expected use_bidirectional_attention of config.json to be false " +
        "(attention to later tokens is not supported), got true",
    );
    expect(refusal({ ...LLAMA, quantization: { bits: 4 } })).toBe(
      "loadModel: expected quantization of config.json to be absent (quantized weights are not supported: take the " +
        'checkpoint that it was made from, or a GGUF file of it), got {"bits":4}',
    );
    expect(refusal({ ...QWEN2, architectures: ["Qwen2ForSequenceClassification"] })).toBe(
      "loadModel: expected architectures of config.json to be a decoder's with a language model head, …ForCausalLM " +
        '(classifiers, reward models and encoders are not supported), got ["Qwen2ForSequenceClassification"]',
    );
  });

  test("a norm on q and k in a family without one, and windows in one without them", () => {
    for (const family of [GPT2, NEOX, LLAMA, MISTRAL, QWEN2]) {
      expect(refusal({ ...family, use_qk_norm: true })).toContain(
        "expected use_qk_norm of config.json to be false",
      );
    }
    expect(planOf({ ...QWEN3, use_qk_norm: true }).config.qkNorm).toBe(true);
    for (const family of [GPT2, NEOX]) {
      expect(refusal({ ...family, sliding_window: 4096 })).toContain(
        "expected sliding_window of config.json to be absent",
      );
    }
    // In Llama's files it limits prompts, as in those of the others.
    expect(planOf({ ...LLAMA, sliding_window: 100 }).config.maxPositions).toBe(100);
    const sliding = { layer_types: ["sliding_attention", "full_attention"] };
    expect(planOf({ ...MISTRAL, ...sliding }).config.maxPositions).toBe(4096);
    expect(refusal({ ...QWEN2, ...sliding })).toContain("to be full_attention for each of 2 layers");
    expect(planOf({ ...QWEN2, ...sliding, use_sliding_window: true }).config.maxPositions).toBe(4096);
  });
});

describe("sizes that no model has", () => {
  test.each<[Fields, string]>([
    [
      { ...NEOX, hidden_size: 400_000_000 },
      "hidden_size of config.json to be at most 65536 for each of num_attention_heads 4",
    ],
    [
      { ...NEOX, hidden_size: 4_000_000_000 },
      "hidden_size of config.json to be at most 2147483647, got 4000000000",
    ],
    [
      { ...LLAMA, hidden_size: 4e12 },
      "hidden_size of config.json to be at most 2147483647, got 4000000000000",
    ],
    [{ ...LLAMA, head_dim: 100_000_000 }, "head_dim of config.json to be at most 65536, got 100000000"],
    [{ ...QWEN3, head_dim: 4e12 }, "head_dim of config.json to be at most 2147483647"],
    [{ ...LLAMA, head_dim: 1e300 }, "head_dim of config.json to be a positive integer, got 1e+300"],
    [{ ...LLAMA, vocab_size: 1e12 }, "vocab_size of config.json to be at most 2147483647, got 1000000000000"],
    [{ ...GPT2, n_layer: 1e10 }, "n_layer of config.json to be at most 2147483647, got 10000000000"],
    [{ ...GPT2, n_embd: 1_200_000_000 }, "n_embd of config.json to be at most 65536 for each of n_head 3"],
    [
      { ...LLAMA, max_position_embeddings: 1e15 },
      "max_position_embeddings of config.json to be at most 2147483647",
    ],
  ])("%#: %s is refused before anything is made of it", (values, expected) => {
    const start = performance.now();
    expect(refusal(values)).toContain(`loadModel: expected ${expected}`);
    expect(performance.now() - start).toBeLessThan(100);
  });
});

describe("a field", () => {
  test("is missing or of the wrong kind", () => {
    const { n_layer: _, ...noLayers } = GPT2;
    expect(refusal(noLayers)).toBe(
      "loadModel: expected n_layer of config.json to be a positive integer, got no such field",
    );
    expect(refusal({ ...GPT2, n_layer: "two" })).toBe(
      'loadModel: expected n_layer of config.json to be a positive integer, got "two"',
    );
    expect(refusal({ ...GPT2, n_layer: 1.5 })).toContain("to be a positive integer, got 1.5");
    expect(refusal({ ...GPT2, n_layer: 0 })).toContain("to be a positive integer, got 0");
    expect(refusal({ ...LLAMA, rms_norm_eps: -1 })).toBe(
      "loadModel: expected rms_norm_eps of config.json to be a positive number, got -1",
    );
    expect(refusal({ ...NEOX, use_parallel_residual: "yes" })).toBe(
      'loadModel: expected use_parallel_residual of config.json to be true or false, got "yes"',
    );
    expect(refusal({ ...LLAMA, hidden_act: 3 })).toBe(
      "loadModel: expected hidden_act of config.json to be text, got 3",
    );
    expect(refusal({ ...LLAMA, rope_scaling: "linear" })).toBe(
      'loadModel: expected rope_scaling of config.json to be an object, got "linear"',
    );
    expect(refusal({ ...LLAMA, rope_scaling: { rope_type: "linear" } })).toBe(
      "loadModel: expected rope_scaling.factor of config.json to be a positive number, got no such field",
    );
  });

  test("asks for widths that do not divide", () => {
    expect(refusal({ ...GPT2, n_head: 5 })).toBe(
      "loadModel: expected n_head of config.json to be a divisor of n_embd 12, got 5",
    );
    expect(refusal({ ...NEOX, num_attention_heads: 5 })).toBe(
      "loadModel: expected num_attention_heads of config.json to be a divisor of hidden_size 64, got 5",
    );
    expect(refusal({ ...LLAMA, num_key_value_heads: 3 })).toBe(
      "loadModel: expected num_key_value_heads of config.json to be a divisor of num_attention_heads 4, got 3",
    );
  });

  test("asks for something that is not supported", () => {
    expect(refusal({ ...GPT2, scale_attn_by_inverse_layer_idx: true })).toBe(
      "loadModel: expected scale_attn_by_inverse_layer_idx of config.json to be false " +
        "(scaling by layer is not supported), got true",
    );
    expect(refusal({ ...GPT2, scale_attn_weights: false })).toBe(
      "loadModel: expected scale_attn_weights of config.json to be true (unscaled attention is not supported), got false",
    );
    expect(refusal({ ...GPT2, add_cross_attention: true })).toBe(
      "loadModel: expected add_cross_attention of config.json to be false (cross-attention is not supported), got true",
    );
    expect(refusal({ ...GPT2, activation_function: "quick_gelu" })).toBe(
      "loadModel: expected activation_function of config.json to be one of the supported activations " +
        'gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, silu, swish, relu, got "quick_gelu"',
    );
    for (const type of ["yarn", "dynamic", "longrope"]) {
      expect(refusal({ ...LLAMA, rope_scaling: { type, factor: 2 } })).toBe(
        "loadModel: expected rope_scaling.type of config.json to be one of default, linear, llama3 " +
          `(other rotary scalings are not supported), got "${type}"`,
      );
    }
    expect(refusal({ ...LLAMA, rope_parameters: { rope_type: "yarn", factor: 2 } })).toContain(
      "expected rope_parameters.rope_type of config.json to be one of default, linear, llama3",
    );
  });
});

describe("GPT-2", () => {
  test("fields that are left out have the values of transformers", () => {
    expect(planOf(GPT2).config).toEqual({
      family: "gpt2",
      layers: 2,
      width: 12,
      heads: 3,
      kvHeads: 3,
      headWidth: 4,
      mlpWidth: 48,
      vocabulary: 50,
      maxPositions: 1024,
      maxPositionsReason: "n_positions 1024 of config.json",
      norm: "layer",
      normEps: 1e-5,
      activation: "gelu-tanh",
      gated: false,
      parallelResidual: false,
      qkNorm: false,
    });
    expect(planOf({ ...GPT2, n_inner: null }).config.mlpWidth).toBe(48);
    expect(planOf({ ...GPT2, n_inner: 20 }).config.mlpWidth).toBe(20);
  });

  test("activations go by their formula, not by their name", () => {
    const names = ["gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "silu", "swish", "relu"];
    const kinds = names.map(
      (activation_function) => planOf({ ...GPT2, activation_function }).config.activation,
    );
    expect(kinds).toEqual(["gelu", "gelu-tanh", "gelu-tanh", "gelu-tanh", "silu", "silu", "relu"]);
  });
});

describe("GPT-NeoX", () => {
  test("fields that are left out have the values of transformers", () => {
    const { rotary, ...config } = planOf(NEOX).config;
    expect(config).toEqual({
      family: "gpt_neox",
      layers: 2,
      width: 64,
      heads: 4,
      kvHeads: 4,
      headWidth: 16,
      mlpWidth: 24,
      vocabulary: 50,
      maxPositions: 2048,
      maxPositionsReason: "max_position_embeddings 2048 of config.json",
      norm: "layer",
      normEps: 1e-5,
      activation: "gelu",
      gated: false,
      parallelResidual: true,
      qkNorm: false,
    });
    // A quarter of 16 dimensions turns: 2 pairs, of which the second has 10000^(-2/4) = 1/100.
    expect(rotary?.dims).toBe(4);
    expect(rotary?.inverseFrequencies).toEqual([1, expect.closeTo(0.01, 14)]);
  });

  test("older and newer spellings of the rotary fields say the same", () => {
    const older = planOf({ ...NEOX, rotary_pct: 0.5, rotary_emb_base: 500 });
    const rope_parameters = { rope_type: "default", rope_theta: 500, partial_rotary_factor: 0.5 };
    expect(planOf({ ...NEOX, rope_parameters }).config).toEqual(older.config);
    expect(older.config.rotary?.dims).toBe(8);
    expect(older.config.rotary?.inverseFrequencies[3]).toBeCloseTo(1 / 500 ** 0.75, 14);
  });

  test("a share of the head that gives an odd number of dimensions is refused where it stands", () => {
    expect(refusal({ ...NEOX, rotary_pct: 0.2 })).toBe(
      "loadModel: expected rotary_pct of config.json to be a share of the head width 16 that gives an even number of " +
        "dimensions, got 0.2",
    );
    expect(refusal({ ...NEOX, rope_parameters: { partial_rotary_factor: 2 } })).toContain(
      "expected rope_parameters.partial_rotary_factor of config.json to be a share of the head width 16",
    );
  });

  test("attention has biases unless attention_bias is false; the MLP always has them", () => {
    const withBias = planOf(NEOX).layer(0);
    const without = planOf({ ...NEOX, attention_bias: false }).layer(0);
    expect([withBias.q.bias?.name, withBias.o.bias?.name]).toEqual([
      "gpt_neox.layers.0.attention.query_key_value.bias",
      "gpt_neox.layers.0.attention.dense.bias",
    ]);
    expect([without.q.bias, without.k.bias, without.v.bias, without.o.bias]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect(without.mlpIn.bias?.name).toBe("gpt_neox.layers.0.mlp.dense_h_to_4h.bias");
  });
});

describe("the Llama-like families", () => {
  test("fields that are left out have the values of transformers", () => {
    const shared = {
      layers: 2,
      width: 64,
      mlpWidth: 24,
      vocabulary: 50,
      norm: "rms",
      normEps: 1e-6,
      activation: "silu",
      gated: true,
      parallelResidual: false,
    };
    const left = [LLAMA, MISTRAL, QWEN2, QWEN3].map((fields) => planOf(fields).config);
    for (const config of left) expect(config).toMatchObject(shared);
    const own = left.map(({ family, heads, kvHeads, headWidth, maxPositions, qkNorm }) => {
      return { family, heads, kvHeads, headWidth, maxPositions, qkNorm };
    });
    expect(own).toEqual([
      { family: "llama", heads: 4, kvHeads: 4, headWidth: 16, maxPositions: 2048, qkNorm: false },
      { family: "mistral", heads: 16, kvHeads: 8, headWidth: 4, maxPositions: 4096, qkNorm: false },
      { family: "qwen2", heads: 32, kvHeads: 32, headWidth: 2, maxPositions: 32_768, qkNorm: false },
      { family: "qwen3", heads: 32, kvHeads: 32, headWidth: 128, maxPositions: 32_768, qkNorm: true },
    ]);
    // num_key_value_heads: null is what configs older than grouped heads become.
    expect(planOf({ ...MISTRAL, num_key_value_heads: null }).config.kvHeads).toBe(16);
    expect(planOf({ ...LLAMA, head_dim: 6 }).config.headWidth).toBe(6);
  });

  test("biases are those of the family, or those that the config asks for", () => {
    const biased = (fields: Fields) => {
      const { q, k, v, o, mlpGate, mlpIn, mlpOut } = planOf(fields).layer(1);
      return Object.entries({ q, k, v, o, mlpGate, mlpIn, mlpOut })
        .filter(([, plan]) => plan?.bias !== undefined)
        .map(([slot]) => slot);
    };
    expect(biased(LLAMA)).toEqual([]);
    expect(biased({ ...LLAMA, attention_bias: true })).toEqual(["q", "k", "v", "o"]);
    expect(biased({ ...LLAMA, mlp_bias: true })).toEqual(["mlpGate", "mlpIn", "mlpOut"]);
    expect(biased(MISTRAL)).toEqual([]);
    expect(biased(QWEN2)).toEqual(["q", "k", "v"]);
    expect(biased({ ...QWEN3, attention_bias: true })).toEqual(["q", "k", "v", "o"]);
  });

  test("prompts stop at the sliding window, and the config says why", () => {
    const limit = (fields: Fields) => {
      const { maxPositions, maxPositionsReason } = planOf(fields).config;
      return [maxPositions, maxPositionsReason];
    };
    const reason = (window: number) =>
      `sliding_window ${window} of config.json: attention beyond the window is not supported`;
    const max_position_embeddings = 9000;
    const trained = [9000, "max_position_embeddings 9000 of config.json"];
    expect(limit({ ...MISTRAL, max_position_embeddings })).toEqual([4096, reason(4096)]);
    expect(limit({ ...MISTRAL, max_position_embeddings, sliding_window: 100 })).toEqual([100, reason(100)]);
    expect(limit({ ...MISTRAL, max_position_embeddings, sliding_window: 9001 })).toEqual(trained);
    expect(limit({ ...MISTRAL, max_position_embeddings, sliding_window: null })).toEqual(trained);
    const window = { max_position_embeddings, sliding_window: 100 };
    for (const qwen of [QWEN2, QWEN3]) {
      expect(limit({ ...qwen, ...window })).toEqual(trained);
      expect(limit({ ...qwen, ...window, use_sliding_window: true })).toEqual([100, reason(100)]);
      expect(limit({ ...qwen, ...window, use_sliding_window: true, sliding_window: null })).toEqual(trained);
    }
  });
});

describe("rotary scaling", () => {
  const plain = (dims: number, theta: number) =>
    Array.from({ length: dims / 2 }, (_, i) => 1 / theta ** ((2 * i) / dims));

  test("default and linear, in either spelling", () => {
    const rotary = (fields: Fields) =>
      planOf({ ...LLAMA, ...fields }).config.rotary?.inverseFrequencies ?? [];
    const expectClose = (got: readonly number[], expected: readonly number[]) => {
      expect(got.length).toBe(expected.length);
      for (const [i, value] of expected.entries()) expect(got[i] / value).toBeCloseTo(1, 12);
    };
    expectClose(rotary({}), plain(16, 10_000));
    expectClose(rotary({ rope_theta: 77 }), plain(16, 77));
    expectClose(rotary({ rope_parameters: { rope_theta: 77, rope_type: "default" } }), plain(16, 77));
    const stretched = plain(16, 77).map((frequency) => frequency / 4);
    expectClose(rotary({ rope_theta: 77, rope_scaling: { type: "linear", factor: 4 } }), stretched);
    expectClose(rotary({ rope_parameters: { rope_theta: 77, rope_type: "linear", factor: 4 } }), stretched);
  });

  test("nothing about it is passed over", () => {
    const rope_parameters = { rope_type: "linear", factor: 4, rope_theta: 77 };
    expect(refusal({ ...LLAMA, rope_parameters, rope_scaling: { type: "linear", factor: 2 } })).toBe(
      "loadModel: expected rope_scaling of config.json to be absent, or the same as rope_parameters beside it, " +
        'got {"type":"linear","factor":2}',
    );
    const turned = { rope_theta: 77, factor: 4, rope_type: "linear" };
    expect(planOf({ ...LLAMA, rope_parameters, rope_scaling: turned }).config).toEqual(
      planOf({ ...LLAMA, rope_parameters }).config,
    );
    expect(refusal({ ...LLAMA, rope_scaling: { factor: 2 } })).toBe(
      "loadModel: expected rope_scaling.type of config.json to be text, got no such field",
    );
    const byKind = { sliding_attention: { rope_theta: 10 }, full_attention: { rope_theta: 77 } };
    expect(refusal({ ...LLAMA, rope_parameters: byKind })).toContain(
      "expected rope_parameters.full_attention of config.json to be absent (rotary embeddings that differ by layer",
    );
  });

  test("llama3 is what transformers computes", () => {
    // The statements of transformers' _compute_llama3_parameters, in its words, for Llama 3.1's own numbers.
    const [base, dim, factor, lowFreqFactor, highFreqFactor, oldContextLen] = [500_000, 128, 8, 1, 4, 8192];
    const expected = plain(dim, base).map((invFreq) => {
      const wavelen = (2 * Math.PI) / invFreq;
      if (wavelen < oldContextLen / highFreqFactor) return invFreq;
      if (wavelen > oldContextLen / lowFreqFactor) return invFreq / factor;
      const smooth = (oldContextLen / wavelen - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
      return ((1 - smooth) * invFreq) / factor + smooth * invFreq;
    });
    const scaling = {
      factor,
      low_freq_factor: lowFreqFactor,
      high_freq_factor: highFreqFactor,
      original_max_position_embeddings: oldContextLen,
      rope_type: "llama3",
    };
    const older = planOf({ ...LLAMA, head_dim: dim, rope_theta: base, rope_scaling: scaling }).config.rotary;
    const newer = planOf({ ...LLAMA, head_dim: dim, rope_parameters: { ...scaling, rope_theta: base } })
      .config.rotary;
    expect(newer).toEqual(older);
    const got = older?.inverseFrequencies ?? [];
    expect(got.length).toBe(64);
    for (const [i, value] of expected.entries()) expect(got[i] / value).toBeCloseTo(1, 12);
    // All three cases occur.
    const stretch = got.map((frequency, i) => plain(dim, base)[i] / frequency);
    expect(stretch.filter((ratio) => ratio < 1.000001).length).toBeGreaterThan(10);
    expect(stretch.filter((ratio) => ratio > 7.999999).length).toBeGreaterThan(10);
    expect(stretch.filter((ratio) => ratio > 1.01 && ratio < 7.9).length).toBeGreaterThan(3);
  });

  test("llama3 by hand: 16 trained positions, theta 10^4, 4 dimensions", () => {
    // Frequencies 1 and 1/100. 16 positions are 16/2π = 2.546 turns of the first: between the factors 1 and 4, so
    // (2.546479 − 1)/3 = 0.515493 of it stays and the rest is divided by 8. The second, 0.025 turns, is divided by 8.
    const rope_scaling = {
      type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 16,
    };
    const rotary = planOf({ ...LLAMA, head_dim: 4, rope_scaling }).config.rotary?.inverseFrequencies ?? [];
    expect(rotary[0]).toBeCloseTo(0.515493 + (1 - 0.515493) / 8, 6);
    expect(rotary[1]).toBeCloseTo(0.00125, 12);
    expect(refusal({ ...LLAMA, rope_scaling: { ...rope_scaling, high_freq_factor: 1 } })).toBe(
      "loadModel: expected rope_scaling.high_freq_factor of config.json to be more than low_freq_factor 1, got 1",
    );
  });
});

describe("the unembedding", () => {
  test("is tied where the config says so, and by the family's default where it does not", () => {
    const tied = (fields: Fields) => {
      const plan = planOf(fields);
      return plan.unembedding.rows === plan.embedding.tokens;
    };
    expect([GPT2, NEOX, LLAMA, MISTRAL, QWEN2, QWEN3].map(tied)).toEqual([
      true,
      false,
      false,
      false,
      false,
      false,
    ]);
    expect([NEOX, LLAMA].map((fields) => tied({ ...fields, tie_word_embeddings: true }))).toEqual([
      true,
      true,
    ]);
    expect(planOf({ ...GPT2, tie_word_embeddings: false }).unembedding.rows.name).toBe("lm_head.weight");
  });

  test("of GPT-NeoX is embed_out, or lm_head in newer files", () => {
    expect(planOf(NEOX, ["embed_out.weight"]).unembedding.rows.name).toBe("embed_out.weight");
    expect(planOf(NEOX, ["lm_head.weight"]).unembedding.rows.name).toBe("lm_head.weight");
  });

  test("of a model that is not tied must be there", () => {
    expect(refusal({ ...LLAMA, tie_word_embeddings: false }, [])).toBe(
      "loadModel: expected tensor lm_head.weight in model.safetensors, as tie_word_embeddings of config.json is false, " +
        "got a checkpoint without it",
    );
    expect(refusal(NEOX, [])).toBe(
      "loadModel: expected tensor embed_out.weight or lm_head.weight in model.safetensors, as tie_word_embeddings of " +
        "config.json is by default false, got a checkpoint without it",
    );
    expect(refusal({ ...GPT2, tie_word_embeddings: false }, [])).toContain("expected tensor lm_head.weight");
  });
});

describe("names", () => {
  test("of checkpoints saved without their head have no prefix", () => {
    const first = (fields: Fields, present: string[]) => {
      const plan = planOf({ ...fields, tie_word_embeddings: true }, present);
      return [plan.embedding.tokens.name, plan.layer(1).attnNorm.scale.name];
    };
    expect(first(GPT2, ["wte.weight"])).toEqual(["wte.weight", "h.1.ln_1.weight"]);
    expect(first(GPT2, ["transformer.wte.weight"])).toEqual([
      "transformer.wte.weight",
      "transformer.h.1.ln_1.weight",
    ]);
    expect(first(NEOX, ["embed_in.weight"])).toEqual(["embed_in.weight", "layers.1.input_layernorm.weight"]);
    expect(first(LLAMA, ["embed_tokens.weight"])).toEqual([
      "embed_tokens.weight",
      "layers.1.input_layernorm.weight",
    ]);
    expect(first(LLAMA, [])).toEqual(["model.embed_tokens.weight", "model.layers.1.input_layernorm.weight"]);
  });
});

/** @file What a checkpoint holds beside the weights of its config: refused by name, told, or passed over as known to be harmless. */

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { InputError } from "../../src/errors.js";
import { runHere } from "../cli/run-cli.js";
import { float32Tensor, folderWithConfig, folderWithTensors } from "../support/checkpoint-folders.js";
import { GOLDEN_VARIANTS, goldenFolder } from "../support/goldens.js";

const ONE = float32Tensor([1], [1]);

async function opened(folder: string): Promise<Pick<Checkpoint, "unused" | "notices">> {
  const { unused, notices, close } = await openCheckpoint(folder);
  await close();
  return { unused, notices };
}

async function refusal(folder: string): Promise<string> {
  const error = await opened(folder).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(InputError);
  return error instanceof Error ? error.message.replaceAll(folder, "FOLDER") : "";
}

const withTensors = (variant: string, ...names: readonly string[]) =>
  folderWithTensors(goldenFolder(variant), Object.fromEntries(names.map((name) => [name, ONE])));

describe("layers", () => {
  test.each([
    ["gpt_neox", "num_hidden_layers", "gpt_neox.layers.2."],
    ["gpt2", "n_layer", "transformer.h.2."],
    ["llama_sharded", "num_hidden_layers", "model.layers.2."],
  ])("%s: fewer or more than the files hold", async (variant, field, last) => {
    for (const layers of [1, 2, 4, 1_000_000_000]) {
      const text = await refusal(folderWithConfig(goldenFolder(variant), { [field]: layers }));
      expect(text).toContain(`expected ${field} of FOLDER/config.json to be 3, as the last layer in FOLDER/`);
      expect(text).toContain(last);
      expect(text).toContain(`got ${layers}`);
    }
  });
});

describe("tensors of the computation that the config has no use for", () => {
  test.each([
    ["llama", "model.layers.1.self_attn.q_proj.bias", ", a bias that its config does not ask for"],
    ["llama", "model.layers.1.self_attn.q_norm.weight", ""],
    ["llama", "model.layers.0.post_feedforward_layernorm.weight", ""],
    ["llama", "model.norm.bias", ", a bias that its config does not ask for"],
    ["llama", "lm_head.bias", ", a bias that its config does not ask for"],
    ["llama", "layers.0.input_layernorm.weight", ""],
    ["llama", "model.embed_positions.weight", ""],
    ["gpt2", "transformer.h.0.crossattention.c_attn.weight", ""],
    ["gpt2", "transformer.emb_norm.weight", ""],
    ["gpt_neox", "gpt_neox.emb_layer_norm.weight", ""],
  ])("%s with %s", async (variant, name, reason) => {
    expect(await refusal(withTensors(variant, name))).toBe(
      `loadModel: expected only tensors of FOLDER/model.safetensors that ${variant} has, got ${name}${reason}`,
    );
  });

  test("are counted", async () => {
    const folder = withTensors("llama", "model.norm.bias", "lm_head.bias", "extra");
    expect(await refusal(folder)).toContain(
      "got model.norm.bias, a bias that its config does not ask for and 1 more",
    );
  });
});

describe("what is no language model of plain weights", () => {
  const plain = "a GGUF file of it";
  test.each([
    [
      "score.weight",
      "expected a language model in FOLDER/model.safetensors, got tensor score.weight, as of a classifier",
    ],
    ["classifier.dense.weight", "got tensor classifier.dense.weight, as of a classifier or a reward model"],
    [
      "model.layers.0.self_attn.q_proj.lora_A.weight",
      "as of a LoRA adapter: merge it into its model in Python first",
    ],
    ["base_model.model.model.layers.0.mlp.up_proj.lora_B.default.weight", "as of a LoRA adapter"],
    [
      "model.layers.0.self_attn.q_proj.qweight",
      "as of weights quantized by GPTQ or AWQ: take the checkpoint",
    ],
    ["model.layers.0.self_attn.q_proj.g_idx", plain],
    ["model.layers.0.self_attn.q_proj.weight.absmax", "as of weights quantized by bitsandbytes"],
    [
      "model.layers.0.self_attn.q_proj.weight.quant_state.bitsandbytes__nf4",
      "as of weights quantized by bitsandbytes",
    ],
    ["model.layers.0.self_attn.q_proj.scales", "as of weights quantized by MLX"],
    ["model.layers.0.self_attn.q_proj.biases", "as of weights quantized by MLX"],
    ["model.layers.0.self_attn.q_proj.weight_scale_inv", "as of quantized weights"],
  ])("%s", async (name, expected) => {
    const text = await refusal(withTensors("llama", name));
    expect(text).toContain(name);
    expect(text).toContain(expected);
  });

  test("an adapter, beside a config.json or in its place", async () => {
    const folder = folderWithConfig(goldenFolder("llama"), {});
    const adapter = { base_model_name_or_path: "meta-llama/Llama-3.2-1B", peft_type: "LORA" };
    writeFileSync(join(folder, "adapter_config.json"), JSON.stringify(adapter));
    const text =
      'loadModel: expected a whole model in FOLDER, got an adapter of "meta-llama/Llama-3.2-1B" (adapter_config.json): ' +
      "merge it into its model in Python first: PeftModel.from_pretrained(model, adapter).merge_and_unload(), then " +
      "save_pretrained";
    expect(await refusal(folder)).toBe(text);
    rmSync(join(folder, "config.json"));
    expect(await refusal(folder)).toBe(text);
  });
});

describe("what is told", () => {
  const parts = ["v_head.summary.weight", "vision_tower.patch.weight", "a", "b"];

  test("parts that are none of the language model's, the first of them by name", async () => {
    const folder = withTensors("llama", ...parts);
    const { unused, notices } = await opened(folder);
    expect(unused).toEqual(parts);
    expect(notices).toEqual([
      `warning: ${join(folder, "model.safetensors")} has tensors that llama has no place for, and that are not used: ` +
        "v_head.summary.weight, vision_tower.patch.weight, a and 1 more",
    ]);
  });

  test("code of the model's own", async () => {
    const auto_map = { AutoModelForCausalLM: "modeling.MyModel" };
    const folder = folderWithConfig(goldenFolder("llama"), { auto_map });
    expect((await opened(folder)).notices).toEqual([
      `warning: auto_map of ${join(folder, "config.json")} names code of the model's own, which is not run: it is computed as a plain llama`,
    ]);
  });

  test("an index beside a file of all weights, of which the file is read", async () => {
    const folder = folderWithConfig(goldenFolder("llama"), {});
    const index = "model.safetensors.index.json";
    writeFileSync(join(folder, index), JSON.stringify({ weight_map: { a: "no.safetensors" } }));
    expect((await opened(folder)).notices).toEqual([
      `warning: ${folder} has both model.safetensors and ${index}: model.safetensors is read, and no shard`,
    ]);
  });

  test("by the command line: a warning, and info lists all of them", async () => {
    const folder = withTensors("llama", ...parts);
    const text = await runHere(["info", folder]);
    expect(text.stderr).toContain("atp: warning: ");
    expect(text.stdout).toContain(
      "unused      4 tensors of the files: v_head.summary.weight, vision_tower.patch.weight, a and 1 more",
    );
    const json = await runHere(["info", folder, "--json"]);
    expect(JSON.parse(json.stdout).unusedTensors).toEqual(parts);
    const none = await runHere(["info", goldenFolder("llama"), "--json"]);
    expect([none.stderr, JSON.parse(none.stdout).unusedTensors]).toEqual(["", []]);
  });
});

describe("buffers that older files hold", () => {
  test.each(GOLDEN_VARIANTS)("%s is opened without a word", async (variant) => {
    expect((await opened(goldenFolder(variant))).notices).toEqual([]);
  });

  test.each([
    ["gpt2", "transformer.h.0.attn.bias", "transformer.h.2.attn.masked_bias"],
    [
      "gpt_neox",
      "gpt_neox.layers.0.attention.masked_bias",
      "gpt_neox.layers.1.attention.rotary_emb.inv_freq",
    ],
    ["llama", "model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"],
    ["qwen3", "model.rotary_emb.inv_freq", "rotary_emb.inv_freq"],
  ])("%s: info lists %s, and nobody is warned", async (variant, ...names) => {
    expect(await opened(withTensors(variant, ...names))).toEqual({ unused: names, notices: [] });
  });
});

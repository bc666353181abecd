/**
 * @file An open checkpoint, a folder or a GGUF file: its config, checked against the headers of its weight files, and its weights
 * on demand, one layer at a time. Providers differ in what they keep and when they read; all of them read through this.
 */

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { InputError } from "../errors.js";
import type { ModelConfig } from "../model/config.js";
import type { Tokenizer } from "../model/model.js";
import type { BlockWeights, EmbeddingWeights, NormWeights, UnembeddingWeights } from "../model/weights.js";
import { makeBlock, makeNorm, type Values } from "./canonical-weights.js";
import { ConfigFields, readConfigFile } from "./config-fields.js";
import { withStoredHead } from "./families/head.js";
import { familyOf } from "./families/registry.js";
import { refuseAdapter, refuseForeignTensors } from "./foreign-weights.js";
import { LAYER_NAME } from "./gguf/architecture.js";
import { isGgufPath, openGguf } from "./gguf/gguf-file.js";
import { architectureOf } from "./gguf/registry.js";
import { tokenizerOfGguf } from "./gguf/tokenizer.js";
import { exists } from "./json-file.js";
import { openSafetensors } from "./safetensors.js";
import { INDEX_FILE, WEIGHTS_FILE } from "./safetensors-index.js";
import type { StoredSlice } from "./stored-slice.js";
import type { StoredTensors, TensorEntry } from "./stored-tensors.js";
import { loadTokenizer, tokenizerFromJson } from "./tokenizer/tokenizer.js";
import { checkLayerCount, judgeUnused, unusedError } from "./unused-tensors.js";
import { type ModelPlan, sourcesOf, type TensorSource } from "./weight-plan.js";

/** Some rows of a matrix, and what reading them took from disk. */
export interface StoredRows {
  /** [N, D] */
  readonly rows: tf.Tensor2D;
  readonly bytes: number;
}

/** The caller owns every tensor that a method resolves to, and frees it with `tf.dispose(weights)`. */
export interface Checkpoint {
  readonly config: ModelConfig;
  /** Where each weight comes from. */
  readonly plan: ModelPlan;
  /** The stored tensors that weights are read from, each once, as their headers describe them. */
  readonly stored: readonly TensorEntry[];
  /** Names of the stored tensors that nothing is read from: buffers that are computed here, parts of something else. */
  readonly unused: readonly string[];
  /** Whether the unembedding is the token embedding. */
  readonly tied: boolean;
  /** Sentences for the user: where the config was not followed, or something in the files is left aside. */
  readonly notices: readonly string[];
  readEmbedding(): Promise<EmbeddingWeights>;
  /** Layer `l`, 0-based. */
  readLayer(l: number): Promise<BlockWeights>;
  /** In a tied model, `rows` is the `tokens` tensor of the embedding given here, not a new one. */
  readUnembedding(embedding: EmbeddingWeights): Promise<UnembeddingWeights>;
  readFinalNorm(): Promise<NormWeights>;
  /** Undefined where the config has a rotary embedding. */
  readPositions(): Promise<tf.Tensor2D | undefined>;
  /** The embeddings of some tokens, in their order. */
  readTokenRows(ids: readonly number[]): Promise<StoredRows>;
  /** The unembedding's rows of some tokens, in their order. */
  readUnembeddingRows(ids: readonly number[]): Promise<StoredRows>;
  /** The tensor that a weight is stored in, for a thread that reads it while the files are open. */
  place(source: TensorSource): Omit<StoredSlice, "offset" | "runs">;
  /**
   * Undefined when the checkpoint has none.
   * @param onNotice takes a sentence for the user where the files of a tokenizer disagree, with what is done
   * @throws InputError when it is broken, needs something that is not supported, or belongs to another model
   */
  readTokenizer(onNotice?: (text: string) => void): Promise<Tokenizer | undefined>;
  /** Closes the files. */
  close(): Promise<void>;
}

/**
 * Opens a folder with config.json and safetensors, or a GGUF file, and checks the presence, shape and type of every weight from
 * the headers alone: no weight is read yet, but to compare an unembedding with the token embedding that it should be.
 * @throws InputError naming the file and the field, key or tensor, when anything is missing, broken or not supported
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  return isGgufPath(path) ? await openGgufFile(path) : await openFolder(path);
}

async function openFolder(folder: string): Promise<Checkpoint> {
  const config = join(folder, "config.json");
  if (!(await exists(config))) {
    const [gguf] = (await readdir(folder)).filter(isGgufPath);
    if (gguf !== undefined) {
      throw new InputError(
        `loadModel: expected a Hugging Face checkpoint with ${config}, got none beside a GGUF file: give the file itself, ` +
          join(folder, gguf),
      );
    }
  }
  await refuseAdapter(folder);
  const fields = await readConfigFile(config);
  const family = familyOf(fields);
  const tensors = await openSafetensors(folder);
  try {
    refuseForeignTensors(tensors);
    const planned = family.plan(fields, tensors);
    checkLayerCount(family.layers, fields, planned.config.layers, tensors);
    const { plan, notice } = await withStoredHead(planned, fields, family.head, tensors);
    const checkpoint = checkpointOf(plan, tensors, (onNotice) =>
      loadTokenizer(folder, plan.config.vocabulary, { modelType: family.modelType, onNotice }),
    );
    const notices = [await listingNotice(folder), codeNotice(fields), notice, judgeUnused(family, tensors)];
    return { ...checkpoint, notices: notices.filter((text) => text !== undefined) };
  } catch (error) {
    await tensors.close();
    throw error;
  }
}

/** As everyone, `openSafetensors` takes the one file where there is one. */
async function listingNotice(folder: string): Promise<string | undefined> {
  const there = await Promise.all([WEIGHTS_FILE, INDEX_FILE].map((name) => exists(join(folder, name))));
  if (!there.every(Boolean)) return undefined;
  return `warning: ${folder} has both ${WEIGHTS_FILE} and ${INDEX_FILE}: ${WEIGHTS_FILE} is read, and no shard`;
}

/** A model with code of its own computes something else in Python, if that code is let run. */
function codeNotice(fields: ConfigFields): string | undefined {
  if (!fields.has("auto_map")) return undefined;
  return (
    `warning: auto_map of ${fields.file} names code of the model's own, which is not run: ` +
    `it is computed as a plain ${fields.text("model_type")}`
  );
}

/** Every key and every tensor of the file is used: what is not understood may change what the model computes. */
async function openGgufFile(file: string): Promise<Checkpoint> {
  const { metadata, tensors, notice } = await openGguf(file);
  try {
    const architecture = architectureOf(metadata, file);
    const plan = await architecture.plan(metadata, file, tensors);
    const counted = { field: `${architecture.name}.block_count`, pattern: LAYER_NAME };
    checkLayerCount(
      counted,
      new ConfigFields(file, Object.fromEntries(metadata)),
      plan.config.layers,
      tensors,
    );
    const checkpoint = checkpointOf(plan, tensors, async () => {
      const tokenizer = tokenizerOfGguf(metadata, file);
      return tokenizer && tokenizerFromJson(tokenizer, file, plan.config.vocabulary);
    });
    const unused = tensors.unchecked();
    if (unused.length > 0) throw unusedError(plan.config.family, tensors, unused);
    return { ...checkpoint, notices: notice === undefined ? [] : [notice] };
  } catch (error) {
    await tensors.close();
    throw error;
  }
}

/** @throws InputError for a tensor that is missing, or not as the plan has it */
function checkpointOf(
  plan: ModelPlan,
  tensors: StoredTensors,
  readTokenizer: Checkpoint["readTokenizer"],
): Checkpoint {
  const entries = new Map<string, TensorEntry>();
  for (const { name, storedShape } of planSources(plan)) entries.set(name, tensors.check(name, storedShape));
  const stored = [...entries.values()];
  const tied = plan.unembedding.rows === plan.embedding.tokens;
  return {
    config: plan.config,
    plan,
    stored,
    unused: tensors.unchecked(),
    tied,
    notices: [],
    async readEmbedding() {
      const { tokens, positions } = plan.embedding;
      const values = await readSources(tensors, sourcesOf(plan.embedding));
      return { tokens: values.matrix(tokens), ...(positions && { positions: values.matrix(positions) }) };
    },
    async readLayer(l) {
      const block = plan.layer(l);
      return makeBlock(block, await readSources(tensors, sourcesOf(block)));
    },
    async readUnembedding(embedding) {
      const { norm, rows } = plan.unembedding;
      const values = await readSources(tensors, sourcesOf(tied ? { norm } : { norm, rows }));
      return { norm: makeNorm(norm, values), rows: tied ? embedding.tokens : values.matrix(rows) };
    },
    async readFinalNorm() {
      const { norm } = plan.unembedding;
      return makeNorm(norm, await readSources(tensors, sourcesOf(norm)));
    },
    async readPositions() {
      const { positions } = plan.embedding;
      return positions && (await readSources(tensors, [positions])).matrix(positions);
    },
    readTokenRows: (ids) => readRows(tensors, plan.embedding.tokens, ids),
    readUnembeddingRows: (ids) => readRows(tensors, plan.unembedding.rows, ids),
    place: (source) => tensors.place(source.name),
    readTokenizer,
    close: () => tensors.close(),
  };
}

function* planSources(plan: ModelPlan): Generator<TensorSource> {
  yield* sourcesOf(plan.embedding);
  for (let l = 0; l < plan.config.layers; l++) yield* sourcesOf(plan.layer(l));
  yield* sourcesOf(plan.unembedding);
}

/**
 * Reads the stored tensors behind some sources, each of them once however many sources are parts of it. Tensors are
 * made only when every read has succeeded, so that a failing one leaves none behind.
 */
async function readSources(tensors: StoredTensors, sources: readonly TensorSource[]): Promise<Values> {
  const names = [...new Set(sources.map((source) => source.name))];
  const stored = new Map<string, Float32Array>();
  await Promise.all(names.map(async (name) => stored.set(name, await tensors.read(name))));
  const take = (source: TensorSource): Float32Array => {
    const values = stored.get(source.name);
    if (values === undefined)
      throw new Error(`readSources: ${source.name} was not among the sources to read`);
    return source.take(values);
  };
  return {
    matrix(source) {
      const [rows, columns] = source.shape;
      return tf.tensor2d(take(source), [rows, columns]);
    },
    vector: (source) => tf.tensor1d(take(source)),
  };
}

async function readRows(
  tensors: StoredTensors,
  { name, shape }: TensorSource,
  ids: readonly number[],
): Promise<StoredRows> {
  const { values, bytes } = await tensors.readRows(name, ids);
  return { rows: tf.tensor2d(values, [ids.length, shape[1]]), bytes };
}

/** @file `atp info`: what a model is, from its config and the headers of its weight files. */

import type { OpenedModel } from "../checkpoint/load-model.js";
import { namesText } from "../checkpoint/unused-tensors.js";
import type { Tokenizer } from "../model/model.js";
import { siteIndex, siteSize, sitesOf } from "../model/sites.js";
import { type Alignment, plainTable } from "../report/plain-table.js";
import { visibleText } from "../shown-text.js";
import { type CliContext, printResult } from "./context.js";
import type { InfoCommandOptions } from "./options.js";
import { openForCommand } from "./prepare-run.js";
import { showProgress } from "./progress.js";

export async function infoCommand(
  name: string,
  options: InfoCommandOptions,
  context: CliContext,
): Promise<void> {
  const opened = await openForCommand(name, context, showProgress());
  try {
    const info = modelInfo(opened);
    printResult(options.json ? JSON.stringify(info, undefined, 2) : infoText(info));
  } finally {
    await opened.close();
  }
}

type ModelInfo = ReturnType<typeof modelInfo>;

function modelInfo({ name, folder, config, checkpoint, tokenizer }: OpenedModel) {
  const { stored, tied, unused } = checkpoint;
  const sites = sitesOf(config).map((site) => {
    const perLayer = siteSize(config, site);
    return { site, index: siteIndex(site), perLayer, perPosition: perLayer * config.layers };
  });
  return {
    model: name,
    folder,
    family: config.family,
    layers: config.layers,
    width: config.width,
    heads: config.heads,
    kvHeads: config.kvHeads,
    headWidth: config.headWidth,
    mlpWidth: config.mlpWidth,
    gatedMlp: config.gated,
    activation: config.activation,
    norm: config.norm,
    positions: config.rotary ? "rotary" : "learned",
    parallelResidual: config.parallelResidual,
    qkNorm: config.qkNorm,
    vocabulary: config.vocabulary,
    tiedEmbedding: tied,
    parameters: stored.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
    dtypes: [...new Set(stored.map(({ dtype }) => dtype))].sort(),
    bytes: stored.reduce((sum, { bytes }) => sum + bytes, 0),
    unusedTensors: unused,
    maxPromptTokens: config.maxPositions,
    maxPromptTokensReason: config.maxPositionsReason,
    tokenizer: tokenizer ? tokenizerInfo(tokenizer, config.vocabulary) : null,
    sites,
    nodesPerPosition: sites.reduce((sum, { perPosition }) => sum + perPosition, 0),
  };
}

function tokenizerInfo(tokenizer: Tokenizer, vocabulary: number) {
  const named = (ids: readonly number[]) => ids.map((id) => ({ id, text: tokenizer.tokenText(id) }));
  return {
    tokens: tokenizer.size,
    withoutEmbedding: Math.max(0, tokenizer.size - vocabulary),
    before: named(tokenizer.before),
    after: named(tokenizer.after),
  };
}

type TokenizerInfo = ReturnType<typeof tokenizerInfo>;

function tokensText({ tokens, withoutEmbedding }: TokenizerInfo): string {
  const all = `${tokens.toLocaleString("en-US")} tokens`;
  if (withoutEmbedding === 0) return all;
  const those = withoutEmbedding === 1 ? "one" : `${withoutEmbedding.toLocaleString("en-US")}`;
  return `${all}; the last ${those} of them, without a row in the embedding, cannot be used`;
}

/** `"<s>" (0) before a prompt, nothing behind it` */
function addedText({ before, after }: TokenizerInfo): string {
  const list = (tokens: TokenizerInfo["before"]) =>
    tokens.map(({ id, text }) => `${visibleText(text)} (${id})`).join(" ") || "nothing";
  return `${list(before)} before a prompt, ${list(after)} behind it`;
}

const SITE_COLUMNS: readonly { readonly heading: string; readonly align: Alignment }[] = [
  { heading: "site", align: "left" },
  { heading: "index", align: "left" },
  { heading: "nodes per layer", align: "right" },
  { heading: "per prompt position", align: "right" },
];

function infoText(info: ModelInfo): string {
  const number = (value: number) => value.toLocaleString("en-US");
  const kvHeads =
    info.kvHeads === info.heads ? "" : ` on ${info.kvHeads} kv-head${info.kvHeads > 1 ? "s" : ""}`;
  const lines: [string, string][] = [
    ["model", info.folder === info.model ? info.model : `${info.model} in ${info.folder}`],
    ["family", info.family],
    ["layers", `${info.layers}, ${info.parallelResidual ? "parallel" : "sequential"} residual`],
    ["width", number(info.width)],
    ["heads", `${info.heads} of width ${info.headWidth}${kvHeads}${info.qkNorm ? ", norm on q and k" : ""}`],
    ["MLP", `${number(info.mlpWidth)} neurons, ${info.activation}${info.gatedMlp ? ", gated" : ""}`],
    ["norm", info.norm === "rms" ? "RMS norm" : "layer norm"],
    ["positions", info.positions],
    ["vocabulary", `${number(info.vocabulary)}, ${info.tiedEmbedding ? "tied" : "not tied"}`],
    ["parameters", `${number(info.parameters)} (${info.dtypes.join(", ")}, ${number(info.bytes)} bytes)`],
    ...(info.unusedTensors.length > 0
      ? [["unused", unusedText(info.unusedTensors)] as [string, string]]
      : []),
    ["prompt", `at most ${number(info.maxPromptTokens)} tokens (${info.maxPromptTokensReason})`],
    ["tokenizer", info.tokenizer ? tokensText(info.tokenizer) : "none: prompts and answers are token ids"],
    ...(info.tokenizer ? [["adds", addedText(info.tokenizer)] satisfies [string, string]] : []),
  ];
  const rows = info.sites.map(({ site, index, perLayer, perPosition }) => [
    site,
    index === "none" ? "" : index,
    number(perLayer),
    number(perPosition),
  ]);
  const table = plainTable(SITE_COLUMNS, [...rows, ["all", "", "", number(info.nodesPerPosition)]]);
  return `${lines.map(([label, text]) => `${label.padEnd(10)}  ${text}`).join("\n")}\n\n${table}`;
}

function unusedText(names: readonly string[]): string {
  const tensors = names.length === 1 ? "1 tensor" : `${names.length} tensors`;
  return `${tensors} of the files: ${namesText(names)}`;
}

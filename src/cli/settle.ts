/** @file The command that settles a list whose estimates leave open what belongs at its top. */

import type { Agreement } from "../bounds/agreement.js";
import { DEFAULT_METRIC } from "../localize.js";
import type { AgreementSummary } from "../report/agreement-text.js";
import type { RunCommandOptions } from "./options.js";

/** What can be said of a list, with the command that verifies all that could belong to its first rows. */
export function withCommand(
  agreement: Agreement | undefined,
  options: RunCommandOptions,
  ranked: string,
): AgreementSummary | undefined {
  if (agreement?.lastRank === undefined) return agreement;
  const verify = [
    "atp",
    "verify",
    ...runWords(options),
    "--from",
    ranked,
    "--top-k",
    String(agreement.lastRank),
  ];
  return {
    ...agreement,
    settle: { verify: verify.map(quoted).join(" "), certify: "atp localize with --confidence 0.99" },
  };
}

/** The options that say what is run on what, where they are not the defaults. */
function runWords(options: RunCommandOptions): string[] {
  const { model, pairs, metric, direction, source = "prompt", maxPairs, seed, out, engine, memory } = options;
  const { noiseAt, noiseScale, noiseDraws, noiseSeed } = options;
  const given = (name: string, value: string | number | undefined) =>
    value === undefined ? [] : [name, String(value)];
  return [
    ...["--model", model, "--pairs", ...pairs],
    ...(metric === DEFAULT_METRIC ? [] : ["--metric", metric]),
    ...(direction === "noising" ? [] : ["--direction", direction]),
    ...(source === "prompt" ? [] : ["--source", source]),
    ...given("--noise-at", noiseAt?.join(",")),
    ...given("--noise-scale", noiseScale),
    ...given("--noise-draws", noiseDraws),
    ...given("--noise-seed", noiseSeed),
    ...(maxPairs === undefined ? [] : ["--max-pairs", String(maxPairs), "--seed", String(seed)]),
    ...(engine === "auto" ? [] : ["--engine", engine]),
    ...given("--memory", memory),
    ...["--out", out],
  ];
}

/** As a shell takes it. */
function quoted(word: string): string {
  return /^[\w./:@=,+-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

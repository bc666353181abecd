/**
 * @file Makes `bench/real/pairs`: prompt pairs of five behaviours that SmolLM2-135M-Instruct has.
 *
 *   npx tsx bench/real/make-pairs.ts
 *
 * Of each behaviour's candidates it drops those of which a word is not one token, measures the logit difference on both
 * prompts of the others, and writes the first that the model solves, in the order of a seeded shuffle. How many it solves is
 * printed. All of it hangs on unpatched runs alone: which components carry a behaviour has no say in which pairs are taken.
 */

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { mersenne } from "pure-rand/generator/mersenne";
import {
  InputError,
  loadModel,
  type Model,
  makePair,
  metricByName,
  type Pair,
  startEngine,
  verify,
} from "../../src/index.js";
import type { PairInput } from "../../src/prompts/pair-input.js";
import { BEHAVIOURS, type Behaviour, type Candidate, shuffled } from "./behaviours.js";

const MODEL = fileURLToPath(new URL("../../models/real/SmolLM2-135M-Instruct.Q4_1.gguf", import.meta.url));
const SEED = 1;
const PAIRS = 16;
/** The least logit difference by which either prompt's answer has to win: far above what rounding can turn around. */
const MARGIN = 0.5;

interface Measured {
  readonly input: PairInput;
  readonly clean: number;
  readonly corrupted: number;
  /** Whether the answer is the most likely of all tokens, on the clean prompt. */
  readonly first: boolean;
}

await startEngine();
const model = await loadModel(MODEL);
console.log("| behaviour | candidates | of one length | solved | written | first | clean | corrupted |");
console.log("| --- | --- | --- | --- | --- | --- | --- | --- |");
for (const behaviour of BEHAVIOURS) {
  const random = mersenne(SEED);
  const candidates = shuffled(behaviour.candidates(random), random);
  const inputs = candidates.map((candidate) => asWritten(behaviour, candidate));
  const measured = await measure(model, behaviour, inputs);
  const solved = measured.filter(({ clean, corrupted }) => Math.min(clean, -corrupted) >= MARGIN);
  const written = solved.slice(0, PAIRS);
  const lines = written.map(({ input }) => `${JSON.stringify(input)}\n`);
  writeFileSync(new URL(`pairs/${behaviour.name}.jsonl`, import.meta.url), lines.join(""));
  const cells = [
    `\`${behaviour.name}\``,
    candidates.length,
    measured.length,
    `${solved.length} (${((100 * solved.length) / measured.length).toFixed(0)} %)`,
    written.length,
    written.filter(({ first }) => first).length,
    mean(written.map(({ clean }) => clean)),
    mean(written.map(({ corrupted }) => corrupted)),
  ];
  console.log(`| ${cells.join(" | ")} |`);
}
model.dispose();

function asWritten({ roles }: Behaviour, { clean, corrupted, answer, wrong }: Candidate): PairInput {
  return { clean, corrupted, answers: [answer], wrong: [wrong], roles: { ...roles, end: -1 } };
}

/** The candidates with as many tokens as the behaviour says and answers of one token, with the metric of both prompts. */
async function measure(
  model: Model,
  behaviour: Behaviour,
  inputs: readonly PairInput[],
): Promise<Measured[]> {
  const kept: { readonly input: PairInput; readonly pair: Pair }[] = [];
  for (const input of inputs) {
    const pair = pairOfOneLength(model, behaviour, input);
    if (pair) kept.push({ input, pair });
  }
  // One patched node is the least that can be asked for; only the unpatched runs are looked at.
  const { metrics } = await verify(
    model,
    kept.map(({ pair }) => pair),
    [`L${model.config.layers - 1}.mlpOut@0`],
    { alsoMetrics: ["accuracy"] },
  );
  const [difference, accuracy] = metrics;
  return kept.map(({ input }, at) => ({
    input,
    clean: difference.base[at],
    corrupted: difference.source[at],
    first: accuracy.base[at] === 1,
  }));
}

/**
 * The pair, or nothing where it is not of the behaviour's length or an answer is not one token.
 * @throws Error where the prompts do not differ at the roles: the behaviour is not what it says
 */
function pairOfOneLength(
  model: Model,
  { name, tokens, roles }: Behaviour,
  input: PairInput,
): Pair | undefined {
  const pair = resolvedPair(model, name, input);
  if (pair?.clean.length !== tokens) return undefined;
  const same = Object.entries(roles).find(
    ([, position]) => pair.clean[position] === pair.corrupted[position],
  );
  if (same)
    throw new Error(`pairOfOneLength: expected other tokens at ${same[0]} in ${JSON.stringify(input)}`);
  return pair;
}

function resolvedPair(model: Model, name: string, input: PairInput): Pair | undefined {
  try {
    return makePair(input, model, metricByName("logit-diff").needs, name);
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

function mean(values: readonly number[]): string {
  return (values.reduce((sum, value) => sum + value, 0) / values.length).toFixed(2);
}

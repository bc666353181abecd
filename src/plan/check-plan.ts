/** @file Refusing a run whose budget cannot be met, before any work. */

import { formatBytes } from "../byte-size.js";
import { InputError } from "../errors.js";
import { planRun, type RunPlan, WASM_HEAP_BYTES } from "./plan-run.js";
import type { Budgets, PlanQuestion } from "./question.js";

/** How many of the largest parts an error names. */
const NAMED_PARTS = 4;

/**
 * Plans a run within budgets.
 * @param option how the error calls the budget
 * @throws InputError for a budget that cannot be met, or a run that does not fit the embedded engine's heap: with the smallest
 *   budget that can be, the largest parts, and a smaller batch size where that helps
 */
export function planWithin(question: PlanQuestion, budgets: Budgets, option = "memoryBytes"): RunPlan {
  const plan = planRun(question, budgets);
  if (!plan.fits) throw refusalOf(question, budgets, plan, option);
  return plan;
}

/** Why a plan does not fit, and what would. */
export function refusalOf(
  question: PlanQuestion,
  budgets: Budgets,
  plan: RunPlan,
  option: string,
): InputError {
  const { memory, memoryBytes, smallestBytes } = plan;
  const tooLarge = question.backend === "wasm" && memory.tensors > WASM_HEAP_BYTES;
  const largest = [...memory.parts].sort((a, b) => b.bytes - a.bytes).slice(0, NAMED_PARTS);
  const parts = largest.map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`).join(", ");
  const advice = [
    smallerBatches(question, budgets, plan),
    tooLarge ? "the native engine has no such heap" : "",
  ]
    .filter((text) => text !== "")
    .map((text) => `; ${text}`)
    .join("");
  if (memoryBytes === undefined || memoryBytes >= smallestBytes) {
    return new InputError(
      `${option}: expected tensors within the ${formatBytes(WASM_HEAP_BYTES)} heap of the wasm engine, got ${formatBytes(memory.tensors)} (${parts})${advice}`,
    );
  }
  return new InputError(
    `${option}: expected at least ${formatBytes(smallestBytes)} for this run, got ${formatBytes(memoryBytes)} (${parts})${advice}`,
  );
}

/** The largest batch size with which it fits, or what the smallest one needs; empty where it would not be less. */
function smallerBatches(question: PlanQuestion, budgets: Budgets, { smallestBytes }: RunPlan): string {
  let best: RunPlan | undefined;
  for (
    let batchSize = Math.floor(question.batchSize / 2);
    batchSize >= 1;
    batchSize = Math.floor(batchSize / 2)
  ) {
    best = planRun({ ...question, batchSize }, budgets);
    if (best.fits) return `with --batch-size ${batchSize} it fits`;
  }
  return best && best.smallestBytes < smallestBytes
    ? `--batch-size 1 needs ${formatBytes(best.smallestBytes)}`
    : "";
}

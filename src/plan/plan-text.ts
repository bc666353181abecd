/** @file A plan for people. */

import { formatBytes } from "../byte-size.js";
import { plainTable } from "../report/plain-table.js";
import type { RunPlan } from "./plan-run.js";
import type { PlannedSeconds } from "./time.js";

/** How a budget is divided, in one line. */
export function divisionText({
  memory,
  memoryBytes,
  residentLayers,
  inMemory,
  activationBudgetBytes,
  stages,
}: RunPlan): string {
  // That of the means reads next to nothing beside those that follow.
  const { stage, reads } = stages.find((candidate) => candidate.stage !== "mean") ?? stages[0];
  const layers = inMemory
    ? "all layers stay in memory"
    : `${residentLayers} layers stay in memory, ${reads.layers} reads of layers in ${stage}`;
  const of = memoryBytes === undefined ? "" : ` of ${formatBytes(memoryBytes)}`;
  return `memory: ${formatBytes(memory.total)}${of} planned: ${layers}, ${formatBytes(activationBudgetBytes)} for activations`;
}

/** Costs by stage, and memory by part. */
export function planTables(plan: RunPlan, { stages: seconds, load }: PlannedSeconds): string {
  const atOnce = plan.memoryBytes === undefined;
  const costs = plan.stages.map(({ stage, forwardEquivalents, flops, reads, atMost }, s) => [
    stage,
    forwardEquivalents === undefined ? "not known" : `${atMost ? "≤ " : ""}${short(forwardEquivalents)}`,
    flops === undefined ? "" : short(flops / 1e9),
    atOnce ? "" : short(reads.layers),
    atOnce ? "" : formatBytes(reads.bytes),
    durationText(seconds[s]),
  ]);
  const loading = [
    [
      "load",
      "",
      "",
      short(plan.reads.layers),
      formatBytes(plan.reads.bytes),
      load === undefined ? "" : duration(load),
    ],
  ];
  const columns = (headings: readonly string[]) =>
    headings.map((heading, c) => ({ heading, align: c === 0 ? ("left" as const) : ("right" as const) }));
  const parts = [
    ...plan.memory.parts.map(({ name, bytes }) => [name, formatBytes(bytes)]),
    ["together", formatBytes(plan.memory.total)],
  ];
  return [
    plainTable(columns(["stage", "forward equivalents", "GFLOP", "layers read", "bytes read", "time"]), [
      ...(atOnce ? loading : []),
      ...costs,
    ]),
    plainTable(columns([`memory, at the worst moment of ${plan.memory.stage}`, ""]), parts),
  ].join("\n\n");
}

function durationText({ seconds, boundBy }: PlannedSeconds["stages"][number]): string {
  if (seconds === undefined) return "";
  return `${duration(seconds)}${boundBy === "reading" ? " (reading)" : ""}`;
}

/** "0.8 s", "3.2 min", "5.1 h". */
export function duration(seconds: number): string {
  if (seconds < 100) return `${seconds < 10 ? seconds.toFixed(1) : seconds.toFixed(0)} s`;
  if (seconds < 6000) return `${(seconds / 60).toFixed(1)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function short(value: number): string {
  return value.toLocaleString("en-US", { maximumSignificantDigits: 4 });
}

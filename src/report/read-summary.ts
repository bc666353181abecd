/** @file What an older ranked list was computed from, as the summary beside it says. */

import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import type { RunSummary } from "./summary.js";

/** What must be the same for contributions of two lists to be comparable. */
const basisSchema = z.object({
  model: z.object({ name: z.string() }),
  metric: z.object({ name: z.string() }),
  direction: z.string(),
  source: z.string().default("prompt"),
});

const topKSchema = z.object({ agreement: z.object({ topK: z.int().positive() }) });

/** How many first rows an older list was meant to settle; undefined where no summary beside it says so. */
export async function topKFromSummary(rankedCsv: string): Promise<number | undefined> {
  return topKSchema.safeParse(await summaryBeside(rankedCsv)).data?.agreement.topK;
}

/**
 * In what a ranked list differs from a run that is to be merged into it, for people; undefined where it does not, or
 * where no summary.json lies beside it.
 */
export async function differenceFromSummary(
  rankedCsv: string,
  run: {
    readonly model: string;
    readonly metric: string;
    readonly direction: RunSummary["direction"];
    readonly source: string;
  },
): Promise<string | undefined> {
  const parsed = basisSchema.safeParse(await summaryBeside(rankedCsv));
  if (!parsed.success) return undefined;
  const { model, metric, direction, source } = parsed.data;
  const differences = (
    [
      ["model", model.name, run.model],
      ["metric", metric.name, run.metric],
      ["direction", direction, run.direction],
      ["source", source, run.source],
    ] as const
  ).filter(([, old, now]) => old !== now);
  if (differences.length === 0) return undefined;
  return differences.map(([what, old, now]) => `${what} ${old} (now ${now})`).join(", ");
}

/** Undefined where there is none, or it is not JSON. */
async function summaryBeside(rankedCsv: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(join(dirname(rankedCsv), "summary.json"), "utf8"));
  } catch {
    return undefined;
  }
}

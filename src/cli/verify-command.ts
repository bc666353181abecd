/** @file `atp verify`: exact effects of chosen nodes, alone or merged into the ranked list they were chosen from. */

import { join } from "node:path";
import { InputError } from "../errors.js";
import { DEFAULT_TOP_K, spaceOfNodes, verify } from "../localize.js";
import { formatNodeId, parseNodeId } from "../nodes/node-id.js";
import { indexOfNode } from "../nodes/node-space.js";
import { type RankedNode, rankedNodes } from "../nodes/ranking.js";
import { mergeVerified, withEstimateOf } from "../report/merge-verified.js";
import { nodeMetrics, writeMetricsCsv } from "../report/metrics-csv.js";
import { type ReadRankedNode, readRankedCsv } from "../report/read-ranked-csv.js";
import { differenceFromSummary, topKFromSummary } from "../report/read-summary.js";
import { type CliContext, printNote } from "./context.js";
import { sourceText } from "./noise.js";
import type { VerifyCommandOptions } from "./options.js";
import { checkInputFile, checkReplaceable } from "./output-folder.js";
import { type PreparedRun, withRun } from "./prepare-run.js";
import { printRun } from "./print-run.js";
import { reportOfRun } from "./report-command.js";
import { saveRun } from "./save-run.js";
import { withSource } from "./source.js";

/** The chosen nodes by id, each with its row of the list where it has one. */
type Chosen = ReadonlyMap<string, ReadRankedNode | undefined>;

export async function verifyCommand(options: VerifyCommandOptions, context: CliContext): Promise<void> {
  const { node = [], from, topK, alsoMetric, out } = options;
  if (node.length === 0 && from === undefined) {
    throw new InputError("verify: expected --node or --from, got neither");
  }
  if (topK !== undefined && from === undefined) {
    throw new InputError("--top-k: expected --from with it, got only --node");
  }
  const ids = node.map((id) => formatNodeId(parseNodeId(id)));
  if (from !== undefined) await checkInputFile("--from", from);
  const metrics = alsoMetric && join(out, "metrics.csv");
  await withRun(
    "verify",
    options,
    context,
    async (prepared) => {
      if (metrics) await checkReplaceable(metrics);
      const chosen =
        from === undefined ? new Map(ids.map((id) => [id, undefined])) : await choose(from, topK, ids);
      checkNodes(prepared, chosen, from);
      if (from !== undefined) await warnOfMixture(from, options);
      return chosen;
    },
    ({ opened, pairs }, chosen) => ({
      space: spaceOfNodes(opened.config, pairs, [...chosen.keys()].map(parseNodeId)),
      patches: { nodes: chosen.size },
    }),
    (run, chosen) => {
      const ids = [...chosen.keys()];
      const sites = [...new Set(ids.map((id) => parseNodeId(id).site))];
      return withSource(run, sites, async (runOptions) => {
        const ranking = await verify(run.model, run.pairs, ids, {
          ...runOptions,
          alsoMetrics: run.alsoMetrics,
        });
        run.clock.lap("verify");
        const { tokenizer } = run.opened;
        const verified = [...rankedNodes(ranking, { ...(tokenizer && { tokenizer }) })].map((row) => {
          const older = chosen.get(row.node)?.row;
          return older ? withEstimateOf(row, older) : row;
        });
        const merged = from === undefined ? verified : mergeVerified(rowsOf(from), verified);
        if (metrics) await writeMetricsCsv(metrics, nodeMetrics(ranking), context);
        const earlierTopK = from === undefined ? undefined : await topKFromSummary(from);
        const saved = await saveRun(run, ranking, {
          signal: context.signal,
          merged,
          ...(earlierTopK !== undefined && { topK: earlierTopK }),
        });
        const files = { ...run.files, ...(metrics && { metrics }), ...(await reportOfRun(options)) };
        printRun(saved, files, options.json === true);
      });
    },
  );
}

/**
 * The first nodes of a ranked list, and those of `ids` wherever they stand in it. All of the list is read, so that an
 * error in it is found now.
 */
async function choose(file: string, topK = DEFAULT_TOP_K, ids: readonly string[]): Promise<Chosen> {
  const chosen = new Map<string, ReadRankedNode | undefined>(ids.map((id) => [id, undefined]));
  let place = 0;
  for await (const entry of readRankedCsv(file)) {
    const { node } = entry.row;
    const earlier = chosen.get(node);
    if (earlier) {
      throw new InputError(
        `${file}:${entry.line}: column "node": expected each node once, got ${node}, as in line ${earlier.line}`,
      );
    }
    if (place++ < topK || chosen.has(node)) chosen.set(node, entry);
  }
  return chosen;
}

/** @throws InputError for a node that the model or the pairs do not have, with its line where it came from a list */
function checkNodes({ opened, pairs }: PreparedRun, chosen: Chosen, file: string | undefined): void {
  for (const [id, entry] of chosen) {
    try {
      const node = parseNodeId(id);
      indexOfNode(spaceOfNodes(opened.config, pairs, [node]), node);
    } catch (error) {
      if (!(error instanceof InputError) || !entry) throw error;
      throw new InputError(`${file}:${entry.line}: column "node": ${error.message}`);
    }
  }
}

/** A list may be verified with a metric that has no gradient; but then its rows should not be compared. */
async function warnOfMixture(file: string, options: VerifyCommandOptions): Promise<void> {
  const { model, metric, direction } = options;
  const run = { model, metric, direction, source: sourceText(options) };
  const difference = await differenceFromSummary(file, run);
  if (difference === undefined) return;
  printNote(
    `warning: ${file} was computed with ${difference}: its contributions and the new ones do not compare`,
  );
}

async function* rowsOf(file: string): AsyncGenerator<RankedNode> {
  for await (const { row } of readRankedCsv(file)) yield row;
}

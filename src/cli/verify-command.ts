/** @file `atp verify`: exact effects of chosen nodes, alone or merged into the ranked list they were chosen from. */

import { InputError } from "../errors.js";
import { DEFAULT_TOP_K, spaceOfNodes, type VerifiedRanking, verify } from "../localize.js";
import { formatNodeId, parseNodeId } from "../nodes/node-id.js";
import { indexOfNode } from "../nodes/node-space.js";
import { type RankedNode, rankedNodes } from "../nodes/ranking.js";
import { mergeVerified, withEstimateOf } from "../report/merge-verified.js";
import { nodeMetrics } from "../report/metrics-csv.js";
import { type ReadRankedNode, readRankedCsv } from "../report/read-ranked-csv.js";
import { estimatesOfList } from "../results/list-origin.js";
import { checkInputFile } from "../results/make-folder.js";
import type { CliContext } from "./context.js";
import { type GivenList, givenList } from "./given-list.js";
import type { VerifyCommandOptions } from "./options.js";
import { type PreparedRun, withRun } from "./prepare-run.js";
import { listFiles, printRun } from "./print-run.js";
import { reportOfRun } from "./report-command.js";
import { saveInterrupted, saveRun } from "./save-run.js";
import { withSource } from "./source.js";

interface Chosen {
  /** By id, each with its row of the list where it has one. */
  readonly nodes: ReadonlyMap<string, ReadRankedNode | undefined>;
  /** The list that they come from. */
  readonly list?: GivenList;
}

export async function verifyCommand(options: VerifyCommandOptions, context: CliContext): Promise<void> {
  const { node = [], from, topK, alsoMetric } = options;
  if (node.length === 0 && from === undefined) {
    throw new InputError("verify: expected --node or --from, got neither");
  }
  if (topK !== undefined && from === undefined) {
    throw new InputError("--top-k: expected --from with it, got only --node");
  }
  const ids = node.map((id) => formatNodeId(parseNodeId(id)));
  if (from !== undefined) await checkInputFile("--from", from);
  await withRun(
    "verify",
    options,
    context,
    async (asked): Promise<Chosen> => {
      if (from === undefined) {
        const nodes = new Map(ids.map((id) => [id, undefined]));
        checkNodes(asked, nodes, from);
        return { nodes };
      }
      const { nodes, run } = await choose(from, topK, ids);
      checkNodes(asked, nodes, from);
      return { nodes, list: await givenList(asked, from, run, "only its choice of nodes is used") };
    },
    ({ opened, pairs }, { nodes }) => ({
      space: spaceOfNodes(opened.config, pairs, [...nodes.keys()].map(parseNodeId)),
      patches: { nodes: nodes.size },
    }),
    (run, { nodes, list }) => {
      const ids = [...nodes.keys()];
      const sites = [...new Set(ids.map((id) => parseNodeId(id).site))];
      return withSource(run, sites, async (runOptions) => {
        const { tokenizer } = run.opened;
        // Numbers are taken over from a list that answers the same question, and from no other.
        const own = list?.reference.differs === undefined ? list : undefined;
        const listOf = (ranking: VerifiedRanking) => {
          const verified = [...rankedNodes(ranking, { ...(tokenizer && { tokenizer }) })].map((row) => {
            const older = own && nodes.get(row.node)?.row;
            return older ? withEstimateOf(row, older) : row;
          });
          return {
            merged: own ? mergeVerified(rowsOf(own.reference.file), verified) : verified,
            ...(list && { list: list.reference }),
            ...(own && estimatesOfList(own.origin)),
            ...(alsoMetric && { metrics: nodeMetrics(ranking) }),
          };
        };
        const ranking = await verify(run.model, run.pairs, ids, {
          ...runOptions,
          alsoMetrics: run.alsoMetrics,
          onInterrupted: (soFar) => saveInterrupted(run, soFar, ids.length, context, listOf(soFar)),
        });
        run.clock.lap("verify");
        const saved = await saveRun(run, ranking, { state: "done", ...listOf(ranking) });
        const files = { ...listFiles(run, alsoMetric ? ["metrics"] : []), ...(await reportOfRun(options)) };
        printRun(saved, files, options.json === true);
      });
    },
  );
}

/**
 * The first nodes of a ranked list, and those of `ids` wherever they stand in it. All of the list is read, so that an
 * error in it is found now.
 */
async function choose(
  file: string,
  topK = DEFAULT_TOP_K,
  ids: readonly string[],
): Promise<Pick<Chosen, "nodes"> & { readonly run: string | undefined }> {
  let run: string | undefined;
  const chosen = new Map<string, ReadRankedNode | undefined>(ids.map((id) => [id, undefined]));
  let place = 0;
  for await (const entry of readRankedCsv(file)) {
    run = entry.run;
    const { node } = entry.row;
    const earlier = chosen.get(node);
    if (earlier) {
      throw new InputError(
        `${file}:${entry.line}: column "node": expected each node once, got ${node}, as in line ${earlier.line}`,
      );
    }
    if (place++ < topK || chosen.has(node)) chosen.set(node, entry);
  }
  return { nodes: chosen, run };
}

/** @throws InputError for a node that the model or the pairs do not have, with its line where it came from a list */
function checkNodes({ opened, pairs }: PreparedRun, chosen: Chosen["nodes"], file: string | undefined): void {
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

async function* rowsOf(file: string): AsyncGenerator<RankedNode> {
  for await (const { row } of readRankedCsv(file)) yield row;
}

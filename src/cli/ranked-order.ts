/** @file A ranked list read back as an order of nodes, in numbers: it may have millions of them. */

import { InputError } from "../errors.js";
import type { OrderedNodes } from "../exact/faithfulness.js";
import { spaceOfNodes } from "../localize.js";
import type { ModelConfig } from "../model/config.js";
import { type Node, parseNodeId } from "../nodes/node-id.js";
import { indexOfNode, type NodeSpace } from "../nodes/node-space.js";
import { addScore, makeScoreTable } from "../nodes/score-table.js";
import type { Pair } from "../prompts/pair.js";
import { type ReadRankedNode, readRankedCsv } from "../report/read-ranked-csv.js";

/**
 * The order of a list, in the space of its sites at its positions in every layer, with the effects of its verified rows; and the run
 * that it is of.
 * @throws InputError with `file:line` for what `readRankedCsv` finds wrong, a node that is there twice, or one that the
 *   model or the pairs do not have
 */
export async function readRankedOrder(
  file: string,
  config: ModelConfig,
  pairs: readonly Pair[],
): Promise<OrderedNodes & { readonly run: string | undefined }> {
  const { space, rows } = await spaceOfList(file, config, pairs);
  let run: string | undefined;
  const order = new Uint32Array(rows);
  const lines = new Uint32Array(space.size);
  const verified: { node: number; effect: number }[] = [];
  let place = 0;
  for await (const entry of readRankedCsv(file)) {
    run = entry.run;
    const node = atLine(file, entry, () => indexOfNode(space, parseNodeId(entry.row.node)));
    if (lines[node] > 0) {
      throw lineError(
        file,
        entry,
        `expected each node once, got ${entry.row.node}, as in line ${lines[node]}`,
      );
    }
    lines[node] = entry.line;
    order[place++] = node;
    const { effectMean } = entry.row;
    if (entry.row.verified && effectMean !== undefined) verified.push({ node, effect: effectMean });
  }
  // The list has means over pairs: here each is the one value of its node.
  const scores = makeScoreTable(verified.length);
  verified.forEach(({ effect }, row) => {
    addScore(scores, row, effect);
  });
  return { run, space, order, verified: { nodes: Uint32Array.from(verified, ({ node }) => node), scores } };
}

async function spaceOfList(
  file: string,
  config: ModelConfig,
  pairs: readonly Pair[],
): Promise<{ space: NodeSpace; rows: number }> {
  const [sites, positions] = [new Set<Node["site"]>(), new Set<Node["position"]>()];
  const nodes: Node[] = [];
  let rows = 0;
  for await (const entry of readRankedCsv(file)) {
    rows++;
    const node = parseNodeId(entry.row.node);
    if (sites.has(node.site) && positions.has(node.position)) continue;
    atLine(file, entry, () => spaceOfNodes(config, pairs, [node]));
    sites.add(node.site);
    positions.add(node.position);
    nodes.push(node);
  }
  return { space: spaceOfNodes(config, pairs, nodes), rows };
}

/** What `find` finds, or its error with the place in the list. */
function atLine<Found>(file: string, entry: ReadRankedNode, find: () => Found): Found {
  try {
    return find();
  } catch (error) {
    if (error instanceof InputError) throw lineError(file, entry, error.message);
    throw error;
  }
}

function lineError(file: string, { line }: ReadRankedNode, message: string): InputError {
  return new InputError(`${file}:${line}: column "node": ${message}`);
}

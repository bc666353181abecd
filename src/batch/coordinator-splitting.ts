/**
 * @file How a stage is cut into shards. All boundaries are multiples of a size that the job's spec fixes, so the same question is
 * always cut the same way. Samples are counted from the design's first one: a look at more samples takes up the whole shards of
 * those before it. A look that ends within a shard's range cuts it there; where looks end follows from the spec alone, so this cut
 * is the same whenever the job is run again, and where the looks change (another budget), the shards that are whole stay.
 */

import type { SubsetDesign } from "../bounds/design.js";
import type { EstimateTask, Range, SampleTask, VerifyTask } from "./shard-task.js";

/** How much a shard does. */
export interface ShardSizes {
  readonly pairs: number;
  readonly nodes: number;
  readonly samples: number;
}

/** A range cut at the multiples of a size. */
export function cutRange({ first, end }: Range, size: number): Range[] {
  const ranges: Range[] = [];
  for (let from = first; from < end; ) {
    const to = Math.min(end, (Math.floor(from / size) + 1) * size);
    ranges.push({ first: from, end: to });
    from = to;
  }
  return ranges;
}

export function estimateTasks(
  pairs: number,
  sizes: ShardSizes,
  how: Pick<EstimateTask, "method" | "byPair">,
): EstimateTask[] {
  return cutRange({ first: 0, end: pairs }, sizes.pairs).map((range) => ({
    kind: "estimate",
    pairs: range,
    ...how,
  }));
}

/**
 * Nodes in chunks, and each chunk on the pairs in ranges, which are in order: the sums of a node then are those of all its pairs
 * one after another. Within a chunk nodes ascend: neighbours share work, and the same nodes are the same shard.
 */
export function verifyTasks(nodes: Uint32Array, pairs: number, sizes: ShardSizes): VerifyTask[] {
  return cutRange({ first: 0, end: nodes.length }, sizes.nodes).flatMap(({ first, end }) => {
    const chunk = [...nodes.slice(first, end).sort()];
    return cutRange({ first: 0, end: pairs }, sizes.pairs).map(
      (range): VerifyTask => ({
        kind: "verify",
        pairs: range,
        nodes: chunk,
      }),
    );
  });
}

/** @param space number of nodes, of which the design has all but the excluded ones */
export function sampleTasks(
  design: SubsetDesign,
  space: number,
  samples: Range,
  sizes: ShardSizes,
): SampleTask[] {
  const { probability, seed } = design;
  const excluded: number[] = [];
  let row = 0;
  for (let node = 0; node < space; node++) {
    if (design.nodes[row] === node) row++;
    else excluded.push(node);
  }
  return cutRange(samples, sizes.samples).map((range) => ({
    kind: "sample",
    excluded,
    probability,
    seed,
    samples: range,
  }));
}

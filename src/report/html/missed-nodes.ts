/**
 * @file Nodes that the estimates put too far down. Places are compared, not sizes: an estimate with GradDrop is a ranking
 * key and not meant to have the effect's size.
 */

/** A verified node that was estimated, too. */
export interface ComparedNode {
  readonly node: string;
  /** Mean over pairs of the absolute effect, exact and estimated. */
  readonly effectContribution: number;
  readonly estimateContribution: number;
  /** Its sign is that of the exact effect. */
  readonly effectMean: number;
}

const FACTOR = 2;
const SLACK = 5;

/** The definition, for the page. */
export const MISSED_TEXT = `place by estimate > ${FACTOR} × place by exact effect + ${SLACK}, both among the verified nodes`;

/**
 * The nodes, as places in `compared`, that are missed: their place by estimate is more than 2 × their place by exact effect
 * + 5, both counted from 1 among these nodes. Whoever verified nodes in the order of the estimates would come to them late.
 */
export function missedNodes(compared: readonly ComparedNode[]): number[] {
  const byEffect = placesBy(compared, ({ effectContribution }) => effectContribution);
  const byEstimate = placesBy(compared, ({ estimateContribution }) => estimateContribution);
  return [...compared.keys()].filter((node) => byEstimate[node] > FACTOR * byEffect[node] + SLACK);
}

/** From 1, by decreasing key; not-a-number last. */
function placesBy(compared: readonly ComparedNode[], key: (node: ComparedNode) => number): Uint32Array {
  const keys = compared.map((node) => {
    const value = key(node);
    return Number.isNaN(value) ? Number.NEGATIVE_INFINITY : value;
  });
  const order = [...keys.keys()].sort((a, b) => keys[b] - keys[a] || a - b);
  const places = new Uint32Array(compared.length);
  order.forEach((node, place) => {
    places[node] = place + 1;
  });
  return places;
}

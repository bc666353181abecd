/**
 * @file Receivers: the places where a path enters a component, and which senders they hear directly.
 *
 * Ids are like those of nodes, but for what is read instead of what is written:
 *
 *   L3.q[1]@end   what query head 1 of layer 3 reads, at the position of role "end"
 *   L3.k[0]@*     what kv-head 0 of layer 3 reads for its key, at all positions
 *   L3.v[0]@7     the same for its value, at position 7
 *   L2.mlp@*      what the MLP of layer 2 reads, at all positions
 *   final         the final residual stream where the metric is read
 */

import { InputError } from "../../errors.js";
import type { ModelConfig } from "../../model/config.js";
import type { Site } from "../../model/sites.js";
import { formatNodeId, type Node, type NodePosition, parseNodeId } from "../../nodes/node-id.js";
import { type Span, spanInPair } from "../../nodes/positions.js";
import type { Pair } from "../../prompts/pair.js";
import { shown } from "../../shown-text.js";

/** A receiver in a block. `site` is where what it computes shows: `mlpOut` for the MLP. */
export interface BlockReceiver {
  readonly layer: number;
  readonly site: "q" | "k" | "v" | "mlpOut";
  /** Query head or kv-head; absent for the MLP. */
  readonly index?: number;
  readonly position: NodePosition;
}

export type Receiver = BlockReceiver | "final";

export const RECEIVER_SITES = ["q", "k", "v", "mlpOut"] as const satisfies readonly BlockReceiver["site"][];

const FINAL = "final";

/** The id of a receiver. */
export function formatReceiver(receiver: Receiver): string {
  if (receiver === FINAL) return FINAL;
  return receiver.site === "mlpOut" ? `L${receiver.layer}.mlp@${receiver.position}` : formatNodeId(receiver);
}

/**
 * The receiver that an id names. Whether the model has it is for `checkEnds` to say.
 * @throws InputError if the text is not the id of a receiver
 */
export function parseReceiver(id: string): Receiver {
  if (id === FINAL) return FINAL;
  const mlp = /^(L\d+\.)mlp(@.+)$/.exec(id);
  const node = tryParse(mlp ? `${mlp[1]}mlpOut${mlp[2]}` : id);
  const site = node && RECEIVER_SITES.find((known) => known === node.site);
  if (!node || !site || (site === "mlpOut" && !mlp)) {
    throw new InputError(
      `parseReceiver: expected a receiver such as "L3.q[1]@end", "L2.k[0]@*", "L2.v[0]@7", "L4.mlp@7" or "final", got ${shown(id)}`,
    );
  }
  return { ...node, site };
}

function tryParse(id: string): Node | undefined {
  try {
    return parseNodeId(id);
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

/** The positions at which a receiver of this pair reads; undefined where the pair has no such position or role. */
export function receiverSpan(receiver: Receiver, pair: Pair): Span | undefined {
  if (receiver !== FINAL) return spanInPair(receiver.position, pair);
  return { first: pair.metricPosition, end: pair.metricPosition + 1 };
}

/**
 * Whether the receiver reads the residual stream after the sender has written to it, whatever the positions. In a parallel
 * block the MLP does not hear the attention of its own layer.
 */
export function readsBehind(config: ModelConfig, receiver: Receiver, sender: Node): boolean {
  return readTime(config, receiver) >= writeTime(sender);
}

/** Where in a run the stream shows that the receiver reads. */
export function streamOf(config: ModelConfig, receiver: Receiver): { layer: number; site: Site } {
  if (receiver === FINAL) return { layer: config.layers - 1, site: "residPost" };
  const readsMid = receiver.site === "mlpOut" && !config.parallelResidual;
  return { layer: receiver.layer, site: readsMid ? "residMid" : "residPre" };
}

/** A layer reads twice: attention at 2·layer, and the MLP one later unless it reads the same stream. */
function readTime({ layers, parallelResidual }: ModelConfig, receiver: Receiver): number {
  if (receiver === FINAL) return 2 * layers;
  return 2 * receiver.layer + (receiver.site === "mlpOut" && !parallelResidual ? 1 : 0);
}

/** The first time of reading that sees what the sender has written. */
function writeTime({ layer, site }: Node): number {
  switch (site) {
    case "residPre":
      return 2 * layer;
    case "z":
    case "attnOut":
    case "residMid":
      return 2 * layer + 1;
    default:
      return 2 * layer + 2;
  }
}

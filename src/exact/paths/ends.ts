/** @file The two ends of paths, as a caller names them: senders are nodes, receivers have ids of their own. */

import { InputError } from "../../errors.js";
import type { ModelConfig } from "../../model/config.js";
import { type Site, siteIndex, siteSize, sitesOf } from "../../model/sites.js";
import {
  ALL_POSITIONS,
  formatNodeId,
  type Node,
  type NodePosition,
  parseNodeId,
} from "../../nodes/node-id.js";
import { type NodeSpace, nodeAt } from "../../nodes/node-space.js";
import { spanInPair } from "../../nodes/positions.js";
import type { Pair } from "../../prompts/pair.js";
import { formatReceiver, parseReceiver, type Receiver } from "./receivers.js";

/** Node ids, or nodes of a space. */
export type Senders = readonly string[] | { readonly space: NodeSpace; readonly nodes: ArrayLike<number> };

export interface PathEnds {
  /** Nodes of the sites `residPre`, `z`, `attnOut`, `residMid`, `neuron`, `mlpOut`, `residPost`. */
  readonly senders: Senders;
  /**
   * `L3.q[1]@end` (query head 1 of layer 3, what it reads at the role "end"), `L2.k[0]@*`, `L2.v[0]@7` (kv-heads),
   * `L4.mlp@7` (what the MLP reads), `final` (the final residual stream where the metric is read).
   */
  readonly receivers: readonly string[];
}

/** Sites whose nodes write to the residual stream, or are the stream itself. */
export const SENDER_SITES: readonly Site[] = [
  "residPre",
  "z",
  "attnOut",
  "residMid",
  "neuron",
  "mlpOut",
  "residPost",
];

/**
 * The ends that a caller names.
 * @throws InputError for no sender or receiver; one that is malformed, or that model or pairs do not have; a sender that
 *   does not write to the residual stream
 */
export function checkEnds(
  config: ModelConfig,
  pairs: readonly Pair[],
  ends: PathEnds,
): { readonly senders: Node[]; readonly receivers: Receiver[] } {
  const senders = nodesOf(ends.senders);
  const receivers = ends.receivers.map(parseReceiver);
  if (senders.length === 0) throw new InputError("checkEnds: expected at least one sender, got none");
  if (receivers.length === 0) throw new InputError("checkEnds: expected at least one receiver, got none");
  for (const sender of senders) checkSender(config, pairs, sender);
  for (const receiver of receivers) {
    if (receiver !== "final") checkPlace("receiver", config, pairs, receiver, formatReceiver(receiver));
  }
  return { senders, receivers };
}

/** @throws InputError for receivers that cannot be patched together */
export function checkTogether(receivers: readonly Receiver[]): void {
  if (receivers.length === 1 || !receivers.includes("final")) return;
  throw new InputError(
    `checkTogether: expected the receiver final alone, because it would undo what others do, got ${receivers.map(formatReceiver).join(", ")}`,
  );
}

/**
 * All ends of the layers `first` … `last`: every head (`z`) and MLP (`mlpOut`) sends, every query, key, value and MLP
 * receives, and so does `final`.
 * @param positions labels of senders and receivers; default all positions at once
 * @throws InputError for layers that the model does not have
 */
export function endsOfLayers(
  config: ModelConfig,
  { first, last }: { readonly first: number; readonly last: number },
  positions: readonly NodePosition[] = [ALL_POSITIONS],
): { senders: string[]; receivers: string[] } {
  const whole = Number.isInteger(first) && Number.isInteger(last);
  if (!whole || first < 0 || first > last || last >= config.layers) {
    throw new InputError(
      `endsOfLayers: expected layers first-last from 0 to ${config.layers - 1}, got ${first}-${last}`,
    );
  }
  const places = Array.from({ length: last - first + 1 }, (_, l) => first + l).flatMap((layer) =>
    positions.map((position) => ({ layer, position })),
  );
  const indexed = <Kind extends Site>(site: Kind, place: (typeof places)[number]) =>
    Array.from({ length: siteSize(config, site) }, (_, index) => ({
      ...place,
      site,
      ...(siteIndex(site) !== "none" && { index }),
    }));
  return {
    senders: places.flatMap((place) =>
      [...indexed("z", place), ...indexed("mlpOut", place)].map(formatNodeId),
    ),
    receivers: [
      ...places.flatMap((place) =>
        (["q", "k", "v", "mlpOut"] as const).flatMap((site) => indexed(site, place)).map(formatReceiver),
      ),
      "final",
    ],
  };
}

function nodesOf(senders: Senders): Node[] {
  if (!("space" in senders)) return senders.map(parseNodeId);
  return Array.from(senders.nodes, (node) => nodeAt(senders.space, node));
}

function checkSender(config: ModelConfig, pairs: readonly Pair[], node: Node): void {
  const id = formatNodeId(node);
  const sites = sitesOf(config).filter((site) => SENDER_SITES.includes(site));
  if (!sites.includes(node.site)) {
    throw new InputError(
      `checkEnds: expected a sender that writes to the residual stream of this model (${sites.join(", ")}), got ${id}`,
    );
  }
  checkPlace("sender", config, pairs, node, id);
}

function checkPlace(
  what: "sender" | "receiver",
  config: ModelConfig,
  pairs: readonly Pair[],
  { layer, site, index = 0, position }: Node,
  id: string,
): void {
  if (layer >= config.layers) {
    throw new InputError(`checkEnds: expected a ${what} in layers 0 to ${config.layers - 1}, got ${id}`);
  }
  const size = siteSize(config, site);
  if (index >= size) {
    throw new InputError(`checkEnds: expected a ${siteIndex(site)} from 0 to ${size - 1}, got ${id}`);
  }
  if (!pairs.some((pair) => spanInPair(position, pair))) {
    throw new InputError(
      `checkEnds: expected a position or role that some pair has, got ${position} in ${id}`,
    );
  }
}

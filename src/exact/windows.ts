/**
 * @file Windows: neighbouring nodes patched together. A site may pass its information on layer by layer (or position by
 * position) so that no single node carries it; patching a stretch of w of them shows what single nodes hide.
 *
 *   over layers      the same site, index and position in layers l … l + w − 1        L3-5.mlpOut@7
 *   over positions   the same layer, site and index at positions p … p + w − 1         L3.z[2]@7-9
 *
 * All windows that fit are slid over the nodes of a space, one step at a time. A window is known by its first node, so that
 * a hundred thousand of them are one typed array; the sets are made when their turn comes.
 */

import { InputError } from "../errors.js";
import { checkLimit, LIMITS } from "../limits.js";
import { formatNodeId, type Node, parseNodeId } from "../nodes/node-id.js";
import { groupOf, type NodeSet, type NodeSpace, nodeAt } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import type { Pair } from "../prompts/pair.js";
import { shown } from "../shown-text.js";
import type { NodeSets } from "./node-sets.js";

export const WINDOW_AXES = ["layers", "positions"] as const;

/** How windows lie. */
export interface WindowShape {
  readonly over: (typeof WINDOW_AXES)[number];
  /** w, how many layers or positions a window has; at least 2. */
  readonly width: number;
}

/** Nodes that are patched together. */
export interface Window extends WindowShape {
  /** In the lowest layer, or at the first position. */
  readonly first: Node;
}

/** @throws InputError for anything else than "layers:3" or "positions:3" with a width of 2 or more */
export function parseWindowShape(text: string): WindowShape {
  const [name, width] = text.split(":");
  const over = WINDOW_AXES.find((axis) => axis === name);
  if (!over || !/^\d+$/.test(width ?? "") || Number(width) < 2 || text !== `${name}:${width}`) {
    throw new InputError(
      `parseWindowShape: expected layers or positions, a colon and a width of 2 or more, such as layers:3, got ${shown(text)}`,
    );
  }
  checkLimit("parseWindowShape", "the width", Number(width), LIMITS.window);
  return { over, width: Number(width) };
}

/** The id of a window, such as `L3-5.mlpOut@7` or `L3.z[2]@7-9`. */
export function formatWindow({ over, width, first }: Window): string {
  const id = formatNodeId(first);
  if (over === "positions") return `${id}-${Number(first.position) + width - 1}`;
  return id.replace(/^L\d+/, `$&-${first.layer + width - 1}`);
}

/**
 * The window that an id names.
 * @throws InputError if the text is not the id of a window
 */
export function parseWindow(id: string): Window {
  const match = /^L(?<layer>\d+)-(?<lastLayer>\d+)(?<rest>\..+)$/.exec(id)?.groups;
  const atPositions = /^(?<node>.+@(?<position>\d+))-(?<lastPosition>\d+)$/.exec(id)?.groups;
  const [from, to] = match
    ? [match.layer, match.lastLayer]
    : [atPositions?.position, atPositions?.lastPosition];
  const width = Number(to) - Number(from) + 1;
  if (!(width >= 2)) {
    throw new InputError(
      `parseWindow: expected the id of a window such as "L3-5.mlpOut@7" or "L3.z[2]@7-9", got ${shown(id)}`,
    );
  }
  const node = match ? `L${match.layer}${match.rest}` : (atPositions?.node ?? "");
  try {
    return { over: match ? "layers" : "positions", width, first: parseNodeId(node) };
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`parseWindow: "${id}": ${error.message}`);
    throw error;
  }
}

/**
 * The first nodes of all windows of a shape, in the order of the space.
 * @throws InputError for a width below 2 or beyond the layers or positions of the space, or for windows over positions in a
 *   space of roles or of all positions together
 */
export function windowStarts(space: NodeSpace, { over, width }: WindowShape): NodeSet {
  const { groups, labels } = space;
  const layers = new Set(groups.map(({ layer }) => layer)).size;
  const consecutive = labels.every(
    (label, p) => typeof label === "number" && label === Number(labels[0]) + p,
  );
  if (over === "positions" && !consecutive) {
    throw new InputError(
      `windowStarts: expected positions "each" for windows over positions, got ${labels.slice(0, 3).join(", ")}`,
    );
  }
  const most = over === "layers" ? layers : labels.length;
  if (!Number.isInteger(width) || width < 2 || width > most) {
    throw new InputError(
      `windowStarts: expected windows of 2 to ${most} ${over}, as many as there are, got ${width}`,
    );
  }
  const starts = new Uint32Array(space.size);
  let count = 0;
  const last = groups[groups.length - 1].layer;
  for (const { layer, offset, indices } of groups) {
    if (over === "layers" && layer + width - 1 > last) continue;
    const places = over === "layers" ? labels.length : labels.length - width + 1;
    for (let node = offset; node < offset + places * indices; node++) starts[count++] = node;
  }
  return starts.slice(0, count);
}

/** The nodes of the window that begins at a node. */
export function nodesOfWindow(space: NodeSpace, { over, width }: WindowShape, first: number): NodeSet {
  const group = groupOf(space, first);
  if (over === "positions") return Uint32Array.from({ length: width }, (_, j) => first + j * group.indices);
  const within = first - group.offset;
  const higher = space.groups.filter(
    ({ site, layer }) => site === group.site && layer >= group.layer && layer < group.layer + width,
  );
  return Uint32Array.from(higher, ({ offset }) => offset + within);
}

/** The window that begins at a node of a space. */
export function windowAt(space: NodeSpace, shape: WindowShape, first: number): Window {
  return { ...shape, first: nodeAt(space, first) };
}

/** Whether a pair has every position of the window whose first node is at place p of the position axis. */
export function hasWindow(space: NodeSpace, { over, width }: WindowShape, p: number, pair: Pair): boolean {
  const lastPlace = over === "positions" ? p + width - 1 : p;
  return spanInPair(space.labels[lastPlace], pair) !== undefined;
}

/**
 * The nodes of every window, each made when it is asked for.
 * @param starts first nodes of the windows
 */
export function setsOfWindows(space: NodeSpace, shape: WindowShape, starts: NodeSet): NodeSets {
  return { length: starts.length, at: (window) => nodesOfWindow(space, shape, starts[window]) };
}

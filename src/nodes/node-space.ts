/**
 * @file The nodes under study as one flat range of numbers, so that ten million of them are a few typed arrays and
 * never objects.
 *
 * A *group* is one site in one layer. Its nodes are the block [P, I] of positions × indices that starts at `offset`:
 * node = offset + p·I + i. Groups are ordered by layer, then in the order of computation within a layer.
 */

import { InputError } from "../errors.js";
import type { ModelConfig } from "../model/config.js";
import { isSite, SITES, type Site, siteIndex, siteSize, sitesOf } from "../model/sites.js";
import { shown } from "../shown-text.js";
import { formatNodeId, type Node, type NodePosition } from "./node-id.js";

/** Nodes that are patched together: flat numbers of a node space. */
export type NodeSet = Uint32Array;

export interface NodeGroup {
  readonly site: Site;
  readonly layer: number;
  /** I: heads, kv-heads, neurons, or 1. */
  readonly indices: number;
  /** The group's first node. */
  readonly offset: number;
}

export interface NodeSpace {
  readonly groups: readonly NodeGroup[];
  /** The P labels of the position axis: what stands after the `@` of a node id. */
  readonly labels: readonly NodePosition[];
  /** Number of nodes. */
  readonly size: number;
}

/**
 * The space of the given sites, in every layer, at every position label.
 * @throws InputError for a site that the model does not have
 */
export function makeNodeSpace(
  config: ModelConfig,
  sites: readonly Site[],
  labels: readonly NodePosition[],
): NodeSpace {
  const available = sitesOf(config);
  const missing = sites.find((site) => !available.includes(site));
  if (missing !== undefined) {
    throw new InputError(
      `makeNodeSpace: expected sites of a ${config.family} model with parallel residual (${available.join(", ")}), got ${missing}`,
    );
  }
  const groups: NodeGroup[] = [];
  let size = 0;
  for (let layer = 0; layer < config.layers; layer++) {
    for (const site of available) {
      if (!sites.includes(site)) continue;
      const indices = siteSize(config, site);
      groups.push({ site, layer, indices, offset: size });
      size += indices * labels.length;
    }
  }
  return { groups, labels, size };
}

/**
 * The sites that a selection names: a comma-separated list such as "z,mlpOut", or "all" for every site of the model.
 * @throws InputError for an unknown name or an empty selection
 */
export function parseSites(selection: string, config: ModelConfig): Site[] {
  const names = selection.split(",").map((name) => name.trim());
  if (names.includes("all")) return sitesOf(config);
  return names.map((name) => {
    if (isSite(name)) return name;
    throw new InputError(`parseSites: expected "all" or sites among ${SITES.join(", ")}, got ${shown(name)}`);
  });
}

/** The groups of one layer, by site. */
export function groupsOfLayer({ groups }: NodeSpace, layer: number): Map<Site, NodeGroup> {
  return new Map(groups.filter((group) => group.layer === layer).map((group) => [group.site, group]));
}

/** The group that a node lies in, by binary search. */
export function groupOf({ groups, size }: NodeSpace, node: number): NodeGroup {
  if (!(node >= 0 && node < size)) {
    throw new Error(`groupOf: expected a node between 0 and ${size - 1}, got ${node}`);
  }
  let low = 0;
  let high = groups.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (groups[middle].offset <= node) low = middle;
    else high = middle - 1;
  }
  return groups[low];
}

/** The parts of a flat node: its group, its place p on the position axis, and its index i. */
export function locate(space: NodeSpace, node: number): { group: NodeGroup; p: number; i: number } {
  const group = groupOf(space, node);
  const within = node - group.offset;
  return { group, p: Math.floor(within / group.indices), i: within % group.indices };
}

/**
 * Visits the nodes of a set, in its order. Makes no object per node, and looks a group up only where the next node lies in
 * another one than the last.
 * @param visit its group, its place p on the position axis, and its index i
 */
export function visitNodes(
  space: NodeSpace,
  nodes: NodeSet,
  visit: (group: NodeGroup, p: number, i: number) => void,
): void {
  let group = space.groups[0];
  let end = 0;
  for (const node of nodes) {
    if (!(node >= group.offset && node < end)) {
      group = groupOf(space, node);
      end = group.offset + group.indices * space.labels.length;
    }
    const within = node - group.offset;
    const p = Math.floor(within / group.indices);
    visit(group, p, within - p * group.indices);
  }
}

/** The node behind a flat number. */
export function nodeAt(space: NodeSpace, node: number): Node {
  const { group, p, i } = locate(space, node);
  const indexed = siteIndex(group.site) !== "none";
  return {
    layer: group.layer,
    site: group.site,
    ...(indexed && { index: i }),
    position: space.labels[p],
  };
}

/**
 * The flat number of a node.
 * @throws InputError if the space does not have it: no such layer, site, index or position
 */
export function indexOfNode(space: NodeSpace, node: Node): number {
  const group = space.groups.find(({ site, layer }) => site === node.site && layer === node.layer);
  const p = space.labels.indexOf(node.position);
  const i = node.index ?? 0;
  if (!group || p < 0 || i >= group.indices) {
    const wrong = !group
      ? `layer ${node.layer} with site ${node.site}`
      : p < 0
        ? `position ${node.position}`
        : `index ${i}`;
    throw new InputError(
      `indexOfNode: expected a node of this model, these sites and these pairs, got ${formatNodeId(node)} (no ${wrong})`,
    );
  }
  return group.offset + p * group.indices + i;
}

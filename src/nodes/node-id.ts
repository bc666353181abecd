/**
 * @file Node ids: `L{layer}.{site}[{index}]@{position}`, such as `L3.z[5]@12`, `L2.k[1]@s2`, `L4.mlpOut@*`, `L4.mlpOut@-1`.
 * Printing and parsing round-trip.
 */

import { InputError } from "../errors.js";
import { isSite, SITES, type Site, siteIndex } from "../model/sites.js";
import { shown } from "../shown-text.js";

/** A position in the prompt, from each pair's end where negative (−1 is the last), the name of a role, or "*" for all at once. */
export type NodePosition = number | string;

export const ALL_POSITIONS = "*";

/** A component of the model at one position, at one role, or at all positions. Everything counts from 0, or positions from the end. */
export interface Node {
  readonly layer: number;
  readonly site: Site;
  /** Query head, kv-head (`k`, `v`) or neuron; absent for sites without one. */
  readonly index?: number;
  readonly position: NodePosition;
}

const ID = /^L(\d+)\.([A-Za-z]+)(?:\[(\d+)\])?@(.+)$/;
const POSITION = /^(?:\*|\d+|-[1-9]\d*|[A-Za-z_][A-Za-z0-9_-]*)$/;

/** The id of a node. */
export function formatNodeId({ layer, site, index, position }: Node): string {
  return `L${layer}.${site}${index === undefined ? "" : `[${index}]`}@${position}`;
}

/**
 * The node that an id names. Whether the model has it is for `NodeSpace.indexOf` to say.
 * @throws InputError if the text is not a node id, names no site, or has an index where the site has none (or lacks one)
 */
export function parseNodeId(id: string): Node {
  const match = ID.exec(id);
  const position = match ? parsePosition(match[4]) : undefined;
  if (!match || position === undefined) {
    throw new InputError(
      `parseNodeId: expected a node id such as "L3.z[5]@12", "L4.mlpOut@7", "L2.k[1]@end" or "L0.q[2]@*", got ${shown(id)}`,
    );
  }
  const [, layer, site, index] = match;
  if (!isSite(site)) {
    throw new InputError(
      `parseNodeId: expected one of the sites ${SITES.join(", ")}, got ${shown(site)} in ${shown(id)}`,
    );
  }
  if ((siteIndex(site) === "none") !== (index === undefined)) {
    const expected = siteIndex(site) === "none" ? "no index" : `a ${siteIndex(site)} index in brackets`;
    throw new InputError(`parseNodeId: expected ${expected} after ${shown(site)}, got ${shown(id)}`);
  }
  return {
    layer: Number(layer),
    site,
    ...(index !== undefined && { index: Number(index) }),
    position,
  };
}

/** What stands after the "@" of a node id: a position, the name of a role, or "*"; undefined for any other text. */
export function parsePosition(text: string): NodePosition | undefined {
  if (!POSITION.test(text)) return undefined;
  return /^-?\d+$/.test(text) ? Number(text) : text;
}

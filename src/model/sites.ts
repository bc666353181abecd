/**
 * @file The sites of a layer: every place where an activation can be read, patched, or given an estimate.
 */

import type { ModelConfig } from "./config.js";

/** Shapes are those an edit or visit sees; axis letters in `config.ts`. */
export const SITES = [
  "residPre", // [B, T, D] what the block reads
  "q", // [B, H, T, h] after rotary embedding and q/k norm, as it enters the dot product
  "k", // [B, K, T, h] likewise
  "v", // [B, K, T, h]
  "z", // [B, H, T, h] head output before W_O
  "attnOut", // [B, T, D] what attention adds to the residual stream, bias included
  "residMid", // [B, T, D] between attention and MLP; absent in a parallel block
  "neuron", // [B, T, F] input of the MLP's last matrix
  "mlpOut", // [B, T, D] what the MLP adds to the residual stream, bias included
  "residPost", // [B, T, D] what the block hands on
] as const;

export type Site = (typeof SITES)[number];

/** What edits and visits see: every site, and the attention pattern [B, H, T, T], which has no nodes of its own. */
export type HookPoint = Site | "pattern";

/** Which index a node of this site carries: none, a query head, a kv-head, or a neuron. */
export type SiteIndex = "none" | "head" | "kvHead" | "neuron";

const SITE_INDEX: Readonly<Record<Site, SiteIndex>> = {
  residPre: "none",
  q: "head",
  k: "kvHead",
  v: "kvHead",
  z: "head",
  attnOut: "none",
  residMid: "none",
  neuron: "neuron",
  mlpOut: "none",
  residPost: "none",
};

/** What the bracketed index of a node of this site counts; "none" where there is no bracket. */
export function siteIndex(site: Site): SiteIndex {
  return SITE_INDEX[site];
}

/** Whether values of the site have a head axis before the position axis, [B, n, T, h]; the others are [B, T, n]. */
export function isPerHead(site: Site): boolean {
  const kind = siteIndex(site);
  return kind === "head" || kind === "kvHead";
}

export function isSite(name: string): name is Site {
  return (SITES as readonly string[]).includes(name);
}

/** The sites that a model has: a parallel block has no residMid. */
export function sitesOf({ parallelResidual }: Pick<ModelConfig, "parallelResidual">): Site[] {
  return SITES.filter((site) => !(parallelResidual && site === "residMid"));
}

/** How many indices a site has in each layer (1 where nodes carry no index). */
export function siteSize(config: ModelConfig, site: Site): number {
  const sizes = { none: 1, head: config.heads, kvHead: config.kvHeads, neuron: config.mlpWidth };
  return sizes[siteIndex(site)];
}

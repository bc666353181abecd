/** @file A mask over a site's values from a list of what is marked in each row. */

import type { ModelConfig } from "../../model/config.js";
import { type Site, siteSize } from "../../model/sites.js";
import type { Span } from "../../nodes/positions.js";
import { type Covered, makeSiteMask, type SiteMask } from "../site-mask.js";

/** What is marked in one row. */
export interface MaskCell {
  readonly row: number;
  /** Head, kv-head or neuron; 0 for sites without one. */
  readonly index: number;
  readonly span: Span;
}

/** The mask of R rows with marks at the cells. */
export function cellMask(
  config: ModelConfig,
  site: Site,
  R: number,
  covered: Covered,
  cells: readonly MaskCell[],
): SiteMask {
  const mask = makeSiteMask(site, siteSize(config, site), R, covered);
  for (const { row, index, span } of cells) mask.mark(row, index, span);
  return mask;
}

/** @file A mask over a site's values from a list of what is 1 in each row. */

import type * as tf from "@tensorflow/tfjs-core";
import type { ModelConfig } from "../../model/config.js";
import { type Site, siteSize } from "../../model/sites.js";
import type { Span } from "../../nodes/positions.js";
import { type Covered, makeSiteMask } from "../site-mask.js";

/** What is 1 in one row. */
export interface MaskCell {
  readonly row: number;
  /** Head, kv-head or neuron; 0 for sites without one. */
  readonly index: number;
  readonly span: Span;
}

/** The mask of R rows that is 1 at the cells (see `SiteMask.tensor`). The caller owns it. */
export function cellMask(
  config: ModelConfig,
  site: Site,
  R: number,
  covered: Covered,
  cells: readonly MaskCell[],
): tf.Tensor {
  const mask = makeSiteMask(site, siteSize(config, site), R, covered);
  for (const { row, index, span } of cells) mask.mark(row, index, span);
  return mask.tensor();
}

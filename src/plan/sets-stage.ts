/**
 * @file What patching sets of nodes takes: samples of a certificate, windows, circuits, paths. The rules are those of
 * `exact/patch-sets.ts`.
 */

import { bytesOfContext, bytesOfStream, restingBudget, tokensWithin } from "../activation-budget.js";
import type { ModelConfig } from "../model/config.js";
import type { Site } from "../model/sites.js";
import type { NodeSpace } from "../nodes/node-space.js";
import { FLOAT_BYTES, floatsForward, floatsOfSite, floatsOfStream, type Rows } from "./activations.js";
import type { PatchedMemory } from "./verify-stage.js";

export interface SetsBatch {
  /** Runs that go up side by side, at least. */
  readonly runsPerWave: number;
  readonly memory: PatchedMemory;
}

/** @param rows prompts of the unpatched runs */
export function planSetsBatch(
  config: ModelConfig,
  space: NodeSpace,
  rows: Rows,
  activationBudgetBytes: number,
): SetsBatch {
  const { T } = rows;
  const runsInBlock = Math.max(1, Math.floor(tokensWithin(activationBudgetBytes, config, T) / T));
  const rest = bytesOfStream(config, T) + bytesOfContext(config, T, T);
  const resting = Math.max(rest, restingBudget(activationBudgetBytes));
  const bytesOf = (site: Site, of = rows) => FLOAT_BYTES * floatsOfSite(config, of, site);
  // A patched site is there as it was, with its mask, and patched.
  const sites = new Set(space.groups.map(({ site }) => site));
  const patched = Math.max(...[...sites].map((site) => 3 * bytesOf(site, { B: runsInBlock, T })));
  return {
    runsPerWave: Math.max(runsInBlock, Math.floor(restingBudget(activationBudgetBytes) / rest)),
    memory: {
      recorded:
        config.layers * (bytesOf("residPre") + bytesOf("k") + bytesOf("v")) +
        space.groups.reduce((bytes, { site }) => bytes + bytesOf(site), 0),
      runs: FLOAT_BYTES * floatsForward(config, { B: runsInBlock, T }) + patched + resting,
      resting,
      arriving: runsInBlock,
      layer: FLOAT_BYTES * (floatsForward(config, rows) + 2 * floatsOfStream(config, rows)),
    },
  };
}

/** @file What within a block depends on what: which hook points hear of a change at a site. */

import type { ModelConfig } from "./config.js";
import type { HookPoint, Site } from "./sites.js";

type Block = Pick<ModelConfig, "parallelResidual">;

/** The hook points that are computed directly from one. */
function readersOf({ parallelResidual }: Block, point: HookPoint): readonly HookPoint[] {
  switch (point) {
    case "residPre":
      return parallelResidual ? ["q", "k", "v", "neuron", "residPost"] : ["q", "k", "v", "residMid"];
    case "q":
    case "k":
      return ["pattern"];
    case "pattern":
    case "v":
      return ["z"];
    case "z":
      return ["attnOut"];
    case "attnOut":
      return parallelResidual ? ["residPost"] : ["residMid"];
    case "residMid":
      return ["neuron", "residPost"];
    case "neuron":
      return ["mlpOut"];
    case "mlpOut":
      return ["residPost"];
    case "residPost":
      return [];
  }
}

/** Whether a change at `site` can change the value at `point` of the same layer; at the site itself it does. */
export function reaches(block: Block, site: Site, point: HookPoint): boolean {
  const hears = (from: HookPoint): boolean => from === point || readersOf(block, from).some(hears);
  return hears(site);
}

/** @file The unpatched runs of a batch of pairs, and what a sweep takes from them. */

import * as tf from "@tensorflow/tfjs-core";
import type { Model } from "../../model/model.js";
import type { HookPoint, Site } from "../../model/sites.js";
import type { NodeGroup } from "../../nodes/node-space.js";
import type { Direction } from "../../prompts/direction.js";
import type { ActivationSource } from "../../sources/source.js";
import { kept, patchedValue, runUnpatched, type UnpatchedFinals } from "../unpatched-run.js";
import type { SweepPlan } from "./plan.js";

/** What a patched run starts from, beside the values that are patched in: base values of its own layer. */
export const STARTS_FROM: Readonly<Record<Site, readonly Site[]>> = {
  residPre: [],
  q: ["q", "k", "v", "z", "residMid", "residPost"],
  k: ["q", "k", "v", "z", "residMid", "residPost"],
  v: ["q", "k", "v", "z", "residMid", "residPost"],
  z: ["z", "residMid", "residPost"],
  attnOut: ["attnOut", "residMid", "residPost"],
  residMid: [],
  neuron: ["neuron", "residPost"],
  mlpOut: ["mlpOut", "residPost"],
  residPost: [],
};

/** What a patched run takes over from the base run in every layer above its start. */
export const PASSED_BY: readonly Site[] = ["residPre", "q", "k", "v"];

/** Values of one run by site and layer, in the site's shape. */
class SiteValues {
  readonly #values = new Map<string, tf.Tensor>();

  set(site: Site, layer: number, value: tf.Tensor): void {
    this.#values.set(`${layer}.${site}`, value);
  }

  /** Stays the run's own. */
  at(site: Site, layer: number): tf.Tensor {
    const value = this.#values.get(`${layer}.${site}`);
    if (!value) throw new Error(`at: expected recorded values of ${site} in layer ${layer}, got none`);
    return value;
  }

  dispose(): void {
    tf.dispose([...this.#values.values()]);
  }
}

/** Owns tensors: `dispose` it when the batch is done. */
export interface RecordedPairs extends UnpatchedFinals {
  readonly base: SiteValues;
  /** Values that are patched in. */
  readonly source: SiteValues;
  dispose(): void;
}

/**
 * Runs both prompts of every pair of the batch.
 * @param replacement where patched values come from, if not from the source run
 */
export async function recordPairs(
  model: Model,
  { batch: { pairs }, groups }: Pick<SweepPlan, "batch" | "groups">,
  direction: Direction,
  replacement?: ActivationSource,
): Promise<RecordedPairs> {
  const [base, source] = [new SiteValues(), new SiteValues()];
  const wanted = wantedOfBase([...groups]);
  const release = () => {
    base.dispose();
    source.dispose();
  };
  const { baseFinal, sourceFinal } = await runUnpatched(model, pairs, direction, {
    base(point, layer, value) {
      if (point !== "pattern" && wanted(point, layer)) base.set(point, layer, kept(value));
    },
    source(point, layer, value) {
      if (!isPatched(groups, point, layer)) return;
      source.set(point, layer, patchedValue(replacement, point, layer, value));
    },
    release,
  });
  return {
    base,
    source,
    baseFinal,
    sourceFinal,
    dispose() {
      release();
      tf.dispose([baseFinal, sourceFinal]);
    },
  };
}

function isPatched(groups: ReadonlySet<NodeGroup>, point: HookPoint, layer: number): point is Site {
  return [...groups].some((group) => group.site === point && group.layer === layer);
}

function wantedOfBase(groups: readonly NodeGroup[]): (site: Site, layer: number) => boolean {
  const lowest = groups.reduce((low, { layer }) => Math.min(low, layer), Number.POSITIVE_INFINITY);
  const byStart = new Set(
    groups.flatMap(({ site, layer }) => STARTS_FROM[site].map((of) => `${layer}.${of}`)),
  );
  return (site, layer) => (layer >= lowest && PASSED_BY.includes(site)) || byStart.has(`${layer}.${site}`);
}

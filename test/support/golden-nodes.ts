/** @file The goldens' tables and node lists in terms of a node space. */

import type { Site } from "../../src/model/sites.js";
import { isSite } from "../../src/model/sites.js";
import { indexOfNode, type NodeSpace } from "../../src/nodes/node-space.js";
import type { Pair } from "../../src/prompts/pair.js";
import type { Golden, GoldenTable } from "./goldens.js";

const OTHER_SPELLINGS: Readonly<Record<string, Site>> = {
  resid_pre: "residPre",
  resid_mid: "residMid",
  attn_out: "attnOut",
  mlp_out: "mlpOut",
};

export function siteOfKind(kind: string): Site {
  const site = OTHER_SPELLINGS[kind] ?? kind;
  if (!isSite(site)) throw new Error(`siteOfKind: expected a kind of the goldens, got ${kind}`);
  return site;
}

/** [head, position], [position, neuron] or [position], as the goldens index their nodes. */
export function nodeOfGolden(kind: string, layer: number, index: readonly number[]) {
  const site = siteOfKind(kind);
  if (index.length === 1) return { layer, site, position: index[0] };
  return site === "neuron"
    ? { layer, site, index: index[1], position: index[0] }
    : { layer, site, index: index[0], position: index[1] };
}

/** For every number of a table: the flat node of the space that it belongs to, and the number. */
export function entriesOf(
  space: NodeSpace,
  table: GoldenTable,
  shapes: GoldenTable,
): { nodes: number[]; values: number[] } {
  const nodes: number[] = [];
  const values: number[] = [];
  for (const [key, flat] of Object.entries(table)) {
    const [kind, layer] = key.split(".");
    const shape = shapes[key];
    flat.forEach((value, at) => {
      const index = shape.length === 1 ? [at] : [Math.floor(at / shape[1]), at % shape[1]];
      nodes.push(indexOfNode(space, nodeOfGolden(kind, Number(layer), index)));
      values.push(value);
    });
  }
  return { nodes, values };
}

/** The goldens' one pair. */
export function pairOfGolden(golden: Golden, answers?: readonly number[], wrong?: readonly number[]): Pair {
  return {
    clean: golden.clean,
    corrupted: golden.corrupted,
    answers: answers ?? [golden.metric.answer],
    wrong: wrong ?? [golden.metric.wrong],
    roles: new Map(),
    metricPosition: golden.clean.length - 1,
    origin: "golden.json",
  };
}

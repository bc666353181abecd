/** @file The systems that coverage is measured on. */

import type { Model } from "../../src/model/model.js";
import { parseNodeId } from "../../src/nodes/node-id.js";
import { indexOfNode, makeNodeSpace } from "../../src/nodes/node-space.js";
import { orderByContribution } from "../../src/nodes/order.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import { andModel, EQUALS, FALSE, orModel, TRUE } from "../../test/support/logic-models.js";
import { TINY_CONFIGS } from "../../test/support/tiny-config.js";
import { contributionsOf } from "../baselines/study.js";
import { randomModel } from "../random-model.js";
import type { KnownSystem } from "./system.js";
import { tabledSystem } from "./tabled-system.js";
import { wideSystem } from "./wide-system.js";

const PAIRS = 4;

/** Of its weights: estimates are good, as in trained models, and half of most effects is gone among many other patched nodes. */
const GAIN = 0.7;

/** The nodes of a random model with the largest effects, all subsets of them patched on every prompt pair. */
export async function randomModelSystem(nodeCount: number): Promise<KnownSystem> {
  const model = randomModel(TINY_CONFIGS.plain, { seed: 3, gain: GAIN });
  try {
    const pairs = Array.from({ length: PAIRS }, (_, b) => randomPair(b, TINY_CONFIGS.plain.vocabulary));
    const space = makeNodeSpace(model.config, ["k", "v", "z", "neuron"], positionLabels("each", pairs));
    const control = { metric: metricByName("logit-diff"), direction: "noising" as const, batchSize: PAIRS };
    const all = Uint32Array.from({ length: space.size }, (_, node) => node);
    const contributions = await contributionsOf({ model, pairs, space, control }, all);
    const order = orderByContribution(space.size, (node) => contributions[node]);
    const nodes = Uint32Array.from(order).slice(0, nodeCount).sort();
    return await tabledSystem(`random model, ${nodeCount} nodes`, model, pairs, space, nodes);
  } finally {
    model.dispose();
  }
}

function randomPair(b: number, vocabulary: number): Pair {
  const token = (t: number) => (5 * b + 7 * t + 3 * b * t) % vocabulary;
  return {
    clean: [0, 1, 2, 3, 4].map(token),
    corrupted: [0, 1, 2, 3, 4].map((t) => (t % 2 === 1 ? (token(t) + 4) % vocabulary : token(t))),
    answers: [(b + 3) % vocabulary],
    wrong: [(b + 8) % vocabulary],
    roles: new Map(),
    metricPosition: 4,
    origin: `pair ${b}`,
  };
}

/**
 * Nodes of a gate C = A op B between "true true =" and "false false =": two in a row that carry A, two that carry B, and six that
 * carry nothing. Patching either of a row takes its input away, so that a second one adds nothing.
 */
const GATE_NODES = [
  "L0.v[0]@0",
  "L0.z[0]@2",
  "L0.v[1]@1",
  "L0.z[1]@2",
  "L0.v[0]@1",
  "L0.v[1]@0",
  "L0.q[0]@2",
  "L0.q[1]@2",
  "L0.k[0]@0",
  "L0.k[1]@1",
];

/** OR: no node has an effect alone, the inputs have one together. AND: every node of a row has the whole effect alone. */
export async function gateSystem(gate: "AND" | "OR"): Promise<KnownSystem> {
  const model: Model = gate === "AND" ? andModel() : orModel();
  try {
    const pair: Pair = {
      clean: [TRUE, TRUE, EQUALS],
      corrupted: [FALSE, FALSE, EQUALS],
      answers: [TRUE],
      wrong: [FALSE],
      roles: new Map(),
      metricPosition: 2,
      origin: gate,
    };
    const space = makeNodeSpace(model.config, ["q", "k", "v", "z"], positionLabels("each", [pair]));
    const nodes = Uint32Array.from(GATE_NODES, (id) => indexOfNode(space, parseNodeId(id))).sort();
    return await tabledSystem(`${gate} gate, 10 nodes`, model, [pair], space, nodes);
  } finally {
    model.dispose();
  }
}

/** As many nodes as make subsets of p = 0.02 larger than one node. */
export function madeUpSystem(): KnownSystem {
  return wideSystem(300, PAIRS, 7);
}

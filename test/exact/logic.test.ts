/**
 * Noising and denoising on circuits that are known, because every weight was written by hand: an AND gate, an OR gate, and
 * "Nobel Peace" -> "Prize". The circuits are those of Heimersheim & Nanda 2024, "How to use and interpret activation
 * patching" (arXiv 2404.15255); weights and corrupted prompts are our own. docs/noising-and-denoising.md explains them; its
 * tables are these numbers.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exactEffects } from "../../src/exact/patch-sets.js";
import { directPaths } from "../../src/exact/paths/path-effects.js";
import { estimate, spaceOfNodes, verify } from "../../src/localize.js";
import type { Model } from "../../src/model/model.js";
import { parseNodeId } from "../../src/nodes/node-id.js";
import { indexOfNode, makeNodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { rankedNodes } from "../../src/nodes/ranking.js";
import type { Direction } from "../../src/prompts/direction.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { makePair, type Pair } from "../../src/prompts/pair.js";
import { startTestEngine } from "../support/engine.js";
import {
  andModel,
  EQUALS,
  FALSE,
  ISLAND,
  NOBEL,
  nobelModel,
  OSLO,
  orModel,
  PEACE,
  PRIZE,
  TALKS,
  TRUE,
} from "../support/logic-models.js";
import { pageNumber, tableRows } from "../support/page-tables.js";

/** A few roundings of float32, of numbers up to 4. */
const TOLERANCE = 2e-6;

const PAGE = "noising-and-denoising.md";
const METRIC = metricByName("logit-diff");
const DIRECTIONS = ["noising", "denoising"] as const;

const relu = (x: number) => Math.max(0, x);
const and = (a: number, b: number) => relu(a + b - 1);
const or = (a: number, b: number) => 1 - relu(1 - a - b);
/** Neuron 42. */
const fires = (nobel: number, peace: number) => relu(2 * nobel + 2 * peace - 3);

function expectNear(got: number | undefined, wanted: number, what: string): void {
  expect(Math.abs((got ?? Number.NaN) - wanted), `${what}: ${got}, not ${wanted}`).toBeLessThan(TOLERANCE);
}

/** Exact effects of single nodes on one pair, by node id. */
async function verifyOn(model: Model, pair: Pair, direction: Direction, ids: readonly string[]) {
  const ranking = await verify(model, [pair], ids, { direction });
  return {
    ...ranking,
    rows: new Map([...rankedNodes(ranking)].map((row) => [row.node, row])),
  };
}

/** Signed AtP estimates by node id. */
async function atpOn(model: Model, pair: Pair, direction: Direction, nodes: string) {
  const ranking = await estimate(model, [pair], { direction, nodes, method: "atp" });
  return new Map([...rankedNodes(ranking)].map((row) => [row.node, row.estimateMean]));
}

/** Exact effects of nodes patched together on one pair. */
async function setEffects(
  model: Model,
  pair: Pair,
  direction: Direction,
  sets: readonly (readonly string[])[],
) {
  const space = spaceOfNodes(model.config, [pair], sets.flat().map(parseNodeId));
  const nodes = sets.map((ids) => Uint32Array.from(ids, (id) => indexOfNode(space, parseNodeId(id))));
  const options = { metric: METRIC, direction, batchSize: 8 };
  return Array.from((await exactEffects(model, [pair], space, nodes, options)).effects);
}

let AND: Model;
let OR: Model;
let NOBEL_PEACE: Model;

beforeAll(async () => {
  await startTestEngine();
  AND = andModel();
  OR = orModel();
  NOBEL_PEACE = nobelModel();
});
afterAll(() => {
  for (const model of [AND, OR, NOBEL_PEACE]) model.dispose();
});

/** "true true =" and what it is corrupted to. */
function gatePair(a: number, b: number): Pair {
  const input = { clean: [TRUE, TRUE, EQUALS], corrupted: [a, b, EQUALS], answers: [TRUE], wrong: [FALSE] };
  return makePair(input, AND, METRIC.needs, "gate");
}

/** The components of either gate. */
const [A, B, A_AND_B, C] = ["L0.z[0]@2", "L0.z[1]@2", "L0.attnOut@2", "L0.neuron[0]@2"];

interface Numbers {
  readonly effect: number;
  readonly recovered: number;
  readonly atp: number;
}

interface GateExample {
  readonly gate: "AND" | "OR";
  readonly direction: Direction;
  /** In the order A, B, A and B, C. */
  readonly expected: readonly [Numbers, Numbers, Numbers, Numbers];
}

/** From "true true =" to "false false =": a = b = 1, and 0 in the corrupted run. */
const GATES: readonly GateExample[] = [
  {
    // Metric from 1 to 0. The neuron is on at 1 + 1 − 1 = 1: slope 1 for a and for b.
    gate: "AND",
    direction: "noising",
    expected: [
      { effect: and(0, 1) - and(1, 1), recovered: -1 / (0 - 1), atp: (0 - 1) * 1 },
      { effect: and(1, 0) - and(1, 1), recovered: -1 / (0 - 1), atp: (0 - 1) * 1 },
      { effect: and(0, 0) - and(1, 1), recovered: -1 / (0 - 1), atp: (0 - 1) * 1 + (0 - 1) * 1 },
      { effect: 0 - 1, recovered: -1 / (0 - 1), atp: (0 - 1) * 1 },
    ],
  },
  {
    // Metric from 0 to 1. The neuron is off at 0 + 0 − 1 = −1: slope 0.
    gate: "AND",
    direction: "denoising",
    expected: [
      { effect: and(1, 0) - and(0, 0), recovered: 0 / (1 - 0), atp: (1 - 0) * 0 },
      { effect: and(0, 1) - and(0, 0), recovered: 0 / (1 - 0), atp: (1 - 0) * 0 },
      { effect: and(1, 1) - and(0, 0), recovered: 1 / (1 - 0), atp: (1 - 0) * 0 + (1 - 0) * 0 },
      { effect: 1 - 0, recovered: 1 / (1 - 0), atp: (1 - 0) * 1 },
    ],
  },
  {
    // Metric from 1 to 0. The neuron is off at 1 − 1 − 1 = −1: slope 0. It goes from 0 to 1 itself, and takes that away.
    gate: "OR",
    direction: "noising",
    expected: [
      { effect: or(0, 1) - or(1, 1), recovered: 0 / (0 - 1), atp: (0 - 1) * 0 },
      { effect: or(1, 0) - or(1, 1), recovered: 0 / (0 - 1), atp: (0 - 1) * 0 },
      { effect: or(0, 0) - or(1, 1), recovered: -1 / (0 - 1), atp: (0 - 1) * 0 + (0 - 1) * 0 },
      { effect: -(1 - 0), recovered: -1 / (0 - 1), atp: (1 - 0) * -1 },
    ],
  },
  {
    // Metric from 0 to 1. The neuron is on at 1 − 0 − 0 = 1, reads −a − b and writes −1: slope −1·−1.
    gate: "OR",
    direction: "denoising",
    expected: [
      { effect: or(1, 0) - or(0, 0), recovered: 1 / (1 - 0), atp: (1 - 0) * (-1 * -1) },
      { effect: or(0, 1) - or(0, 0), recovered: 1 / (1 - 0), atp: (1 - 0) * (-1 * -1) },
      { effect: or(1, 1) - or(0, 0), recovered: 1 / (1 - 0), atp: (1 - 0) * 1 + (1 - 0) * 1 },
      { effect: -(0 - 1), recovered: 1 / (1 - 0), atp: (0 - 1) * -1 },
    ],
  },
];

const gateModel = (gate: "AND" | "OR") => (gate === "AND" ? AND : OR);

describe("gates, both inputs corrupted", () => {
  it.each(GATES)("$gate, $direction", async ({ gate, direction, expected }) => {
    const pair = gatePair(FALSE, FALSE);
    const { rows } = await verifyOn(gateModel(gate), pair, direction, [A, B, A_AND_B, C]);
    const estimates = await atpOn(gateModel(gate), pair, direction, "z,attnOut,neuron");
    [A, B, A_AND_B, C].forEach((id, at) => {
      expectNear(rows.get(id)?.effectMean, expected[at].effect, `effect of ${id}`);
      expectNear(rows.get(id)?.recovered, expected[at].recovered, `recovered by ${id}`);
      expectNear(estimates.get(id), expected[at].atp, `estimate of ${id}`);
    });
  });

  it.each(GATES)("$gate, $direction: patching both heads is patching their sum", async (example) => {
    const { gate, direction, expected } = example;
    const sets = [[A], [B], [A, B]];
    const effects = await setEffects(gateModel(gate), gatePair(FALSE, FALSE), direction, sets);
    effects.forEach((effect, at) => {
      expectNear(effect, expected[at].effect, sets[at].join());
    });
  });

  it.each([
    ["AND", "noising", [A, B]],
    ["AND", "denoising", []],
    ["OR", "noising", []],
    ["OR", "denoising", [A, B]],
  ] as const)("%s, %s finds the inputs %j, and always C", async (gate, direction, found) => {
    const pair = gatePair(FALSE, FALSE);
    const { rows } = await verifyOn(gateModel(gate), pair, direction, [A, B, C]);
    const inEffect = [A, B, C].filter((id) => (rows.get(id)?.contribution ?? 0) > TOLERANCE);
    expect(inEffect).toEqual([...found, C]);
  });
});

describe("gates, one input corrupted", () => {
  it("AND: the input that differs is necessary and sufficient, the other one is not seen", async () => {
    const pair = gatePair(FALSE, TRUE);
    const noising = await verifyOn(AND, pair, "noising", [A, B]);
    expectNear(noising.rows.get(A)?.effectMean, and(0, 1) - and(1, 1), "A");
    expectNear(noising.rows.get(B)?.effectMean, and(1, 1) - and(1, 1), "B");
    const denoising = await verifyOn(AND, pair, "denoising", [A, B]);
    expectNear(denoising.rows.get(A)?.effectMean, and(1, 1) - and(0, 1), "A");
    expectNear(denoising.rows.get(B)?.effectMean, and(0, 1) - and(0, 1), "B");
  });

  it.each(DIRECTIONS)(
    "OR, %s: the behaviour stays whole, so there is nothing to recover",
    async (direction) => {
      const pair = gatePair(FALSE, TRUE);
      const { baseMetric, sourceMetric, rows } = await verifyOn(OR, pair, direction, [A, B, A_AND_B]);
      expectNear(baseMetric[0], 1, "base");
      expectNear(sourceMetric[0], 1, "source");
      for (const row of rows.values()) {
        expectNear(row.effectMean, 1 - 1, row.node);
        expect(row.recovered).toBeUndefined();
      }
    },
  );
});

const CORRUPTED = {
  "Oslo Peace": [OSLO, PEACE],
  "Nobel Island": [NOBEL, ISLAND],
  "Oslo Island": [OSLO, ISLAND],
} as const;
const CORRUPTED_PROMPTS = Object.keys(CORRUPTED) as (keyof typeof CORRUPTED)[];

function nobelPair(corrupted: keyof typeof CORRUPTED): Pair {
  const tokens = { clean: [NOBEL, PEACE], corrupted: [...CORRUPTED[corrupted]] };
  const input = { ...tokens, answers: [PRIZE], wrong: [TALKS] };
  return makePair(input, NOBEL_PEACE, METRIC.needs, corrupted);
}

const [NOBEL_EMBEDDING, PEACE_EMBEDDING] = ["L0.residPre@0", "L0.residPre@1"];
const [HEAD, HEAD_AT_NOBEL, NEURON] = ["L0.z[0]@1", "L0.z[0]@0", "L1.neuron[42]@1"];
const BEFORE_NEURON = "L1.residPre@1";

interface NobelExample {
  /** Patched together. */
  readonly nodes: readonly string[];
  /** In the order of CORRUPTED. */
  readonly noising: readonly [number, number, number];
  readonly denoising: readonly [number, number, number];
}

/** The metric is fires(nobel, peace): 1 for the clean prompt (1, 1), 0 for the others. */
const NOBEL_EXAMPLES: readonly NobelExample[] = [
  {
    nodes: [NOBEL_EMBEDDING],
    noising: [fires(0, 1) - fires(1, 1), fires(1, 1) - fires(1, 1), fires(0, 1) - fires(1, 1)],
    denoising: [fires(1, 1) - fires(0, 1), fires(1, 0) - fires(1, 0), fires(1, 0) - fires(0, 0)],
  },
  {
    nodes: [PEACE_EMBEDDING],
    noising: [fires(1, 1) - fires(1, 1), fires(1, 0) - fires(1, 1), fires(1, 0) - fires(1, 1)],
    denoising: [fires(0, 1) - fires(0, 1), fires(1, 1) - fires(1, 0), fires(0, 1) - fires(0, 0)],
  },
  {
    // Hands on what stands at the first position, and nothing else.
    nodes: [HEAD],
    noising: [fires(0, 1) - fires(1, 1), fires(1, 1) - fires(1, 1), fires(0, 1) - fires(1, 1)],
    denoising: [fires(1, 1) - fires(0, 1), fires(1, 0) - fires(1, 0), fires(1, 0) - fires(0, 0)],
  },
  {
    // Copies "Nobel" to the first position too, where nobody asks for it: not all that differs matters.
    nodes: [HEAD_AT_NOBEL],
    noising: [fires(1, 1) - fires(1, 1), fires(1, 1) - fires(1, 1), fires(1, 1) - fires(1, 1)],
    denoising: [fires(0, 1) - fires(0, 1), fires(1, 0) - fires(1, 0), fires(0, 0) - fires(0, 0)],
  },
  {
    nodes: [HEAD, PEACE_EMBEDDING],
    noising: [fires(0, 1) - fires(1, 1), fires(1, 0) - fires(1, 1), fires(0, 0) - fires(1, 1)],
    denoising: [fires(1, 1) - fires(0, 1), fires(1, 1) - fires(1, 0), fires(1, 1) - fires(0, 0)],
  },
  {
    nodes: [BEFORE_NEURON],
    noising: [fires(0, 1) - fires(1, 1), fires(1, 0) - fires(1, 1), fires(0, 0) - fires(1, 1)],
    denoising: [fires(1, 1) - fires(0, 1), fires(1, 1) - fires(1, 0), fires(1, 1) - fires(0, 0)],
  },
  {
    nodes: [NEURON],
    noising: [0 - 1, 0 - 1, 0 - 1],
    denoising: [1 - 0, 1 - 0, 1 - 0],
  },
];

interface NobelEstimate {
  readonly node: string;
  readonly noising: number;
  readonly denoising: number;
}

/**
 * AtP with the corrupted prompt "Oslo Island". On the clean prompt the neuron is at 2 + 2 − 3 = 1: on, slope 2 for either
 * input. On the corrupted one it is at −3: off, slope 0.
 */
const NOBEL_ESTIMATES: readonly NobelEstimate[] = [
  { node: NOBEL_EMBEDDING, noising: (0 - 1) * 2, denoising: (1 - 0) * 0 },
  { node: PEACE_EMBEDDING, noising: (0 - 1) * 2, denoising: (1 - 0) * 0 },
  { node: HEAD, noising: (0 - 1) * 2, denoising: (1 - 0) * 0 },
  {
    node: BEFORE_NEURON,
    noising: (0 - 1) * 2 + (0 - 1) * 2,
    denoising: (1 - 0) * 0 + (1 - 0) * 0,
  },
  { node: NEURON, noising: (0 - 1) * 1, denoising: (1 - 0) * 1 },
];

/** What `NOBEL_EXAMPLES` says of a single node with the corrupted prompt "Oslo Island". */
function exactOnOsloIsland(node: string, direction: Direction): number {
  const example = NOBEL_EXAMPLES.find(({ nodes }) => nodes.length === 1 && nodes[0] === node);
  if (!example) throw new Error(`no example of ${node}`);
  return example[direction][CORRUPTED_PROMPTS.indexOf("Oslo Island")];
}

describe("Nobel Peace Prize", () => {
  describe.each(DIRECTIONS)("%s", (direction) => {
    it.each(CORRUPTED_PROMPTS)("with %s", async (corrupted) => {
      const pair = nobelPair(corrupted);
      const at = CORRUPTED_PROMPTS.indexOf(corrupted);
      const sets = NOBEL_EXAMPLES.map(({ nodes }) => nodes);
      const effects = await setEffects(NOBEL_PEACE, pair, direction, sets);
      effects.forEach((effect, set) => {
        expectNear(effect, NOBEL_EXAMPLES[set][direction][at], sets[set].join());
      });
    });

    it("recovers all or nothing", async () => {
      const single = NOBEL_EXAMPLES.flatMap(({ nodes }) => (nodes.length === 1 ? [nodes[0]] : []));
      const pair = nobelPair("Oslo Island");
      const { rows, baseMetric, sourceMetric } = await verifyOn(NOBEL_PEACE, pair, direction, single);
      const gap = direction === "noising" ? 0 - 1 : 1 - 0;
      expectNear(sourceMetric[0] - baseMetric[0], gap, "source − base");
      for (const id of single) {
        expectNear(rows.get(id)?.recovered, exactOnOsloIsland(id, direction) / gap, id);
      }
    });

    it("AtP", async () => {
      const pair = nobelPair("Oslo Island");
      const estimates = await atpOn(NOBEL_PEACE, pair, direction, "residPre,z,neuron");
      for (const expected of NOBEL_ESTIMATES) {
        expectNear(estimates.get(expected.node), expected[direction], expected.node);
      }
    });
  });

  it("AtP* does not see past a neuron that is off either: no softmax is saturated, and no paths cancel", async () => {
    const pair = nobelPair("Oslo Island");
    const options = { direction: "denoising", nodes: "residPre,z", method: "atp*" } as const;
    const ranking = await estimate(NOBEL_PEACE, [pair], options);
    const rows = [...rankedNodes(ranking)];
    expect(rows.map(({ node }) => node)).toContain(BEFORE_NEURON);
    for (const { node, contribution } of rows) expectNear(contribution, 0, node);
  });

  describe("paths with Oslo Island", () => {
    const HEAD_VALUE = "L0.v[0]@0";
    const ends = {
      senders: [NOBEL_EMBEDDING, PEACE_EMBEDDING, HEAD],
      receivers: [HEAD_VALUE, "L0.q[0]@1", "L0.k[0]@1", "L0.v[0]@1", "L1.mlp@1", "final"],
    };
    /** The receiver does not read behind the sender, or at another position. */
    const NO_PATH = Number.NaN;

    it.each([
      [
        "noising",
        [
          [fires(0, 1) - fires(1, 1), NO_PATH, NO_PATH, NO_PATH, NO_PATH, NO_PATH],
          [NO_PATH, 0, 0, 0, fires(1, 0) - fires(1, 1), 0],
          [NO_PATH, NO_PATH, NO_PATH, NO_PATH, fires(0, 1) - fires(1, 1), 0],
        ],
      ],
      [
        "denoising",
        [
          [fires(1, 0) - fires(0, 0), NO_PATH, NO_PATH, NO_PATH, NO_PATH, NO_PATH],
          [NO_PATH, 0, 0, 0, fires(0, 1) - fires(0, 0), 0],
          [NO_PATH, NO_PATH, NO_PATH, NO_PATH, fires(1, 0) - fires(0, 0), 0],
        ],
      ],
    ] as const)("%s each path from embeddings and head", async (direction, expected) => {
      const options = { ...ends, metric: METRIC, direction, batchSize: 8 };
      const { effects } = await directPaths(NOBEL_PEACE, [nobelPair("Oslo Island")], options);
      expected.flat().forEach((value, at) => {
        const path = `path ${at}`;
        if (Number.isNaN(value)) expect(effects[at], path).toBeNaN();
        else expectNear(effects[at], value, path);
      });
    });

    it("denoising what enters on two paths is enough", async () => {
      const sets = [[HEAD_VALUE, PEACE_EMBEDDING], [HEAD_VALUE], [PEACE_EMBEDDING]];
      const effects = await setEffects(NOBEL_PEACE, nobelPair("Oslo Island"), "denoising", sets);
      const expected = [fires(1, 1) - fires(0, 0), fires(1, 0) - fires(0, 0), fires(0, 1) - fires(0, 0)];
      effects.forEach((effect, set) => {
        expectNear(effect, expected[set], sets[set].join());
      });
    });

    it("noising all but the circuit breaks nothing, noising one more of its nodes breaks all", async () => {
      const pair = nobelPair("Oslo Island");
      const labels = positionLabels("each", [pair]);
      const space = makeNodeSpace(NOBEL_PEACE.config, ["q", "k", "v", "z", "neuron"], labels);
      const circuit = [HEAD_VALUE, HEAD, NEURON].map((id) => indexOfNode(space, parseNodeId(id)));
      const allBut = (kept: readonly number[]) =>
        Uint32Array.from({ length: space.size }, (_, node) => node).filter((node) => !kept.includes(node));
      const sets = [circuit, ...circuit.map((left) => circuit.filter((node) => node !== left))].map(allBut);
      const options = { metric: METRIC, direction: "noising", batchSize: 8 } as const;
      const { effects } = await exactEffects(NOBEL_PEACE, [pair], space, sets, options);
      [1 - 1, fires(0, 1) - 1, fires(0, 1) - 1, 0 - 1].forEach((effect, set) => {
        expectNear(effects[set], effect, `set ${set}`);
      });
    });
  });
});

describe(`docs/${PAGE}`, () => {
  it("has exactly these rows in the table of the gates", () => {
    const components = [
      ["A", A],
      ["B", B],
      ["A and B", A_AND_B],
      ["C", C],
    ];
    const rows = GATES.flatMap(({ gate, direction, expected }) =>
      expected.map(({ effect, recovered, atp }, at) => {
        const [component, node] = components[at];
        const numbers = [effect, recovered, atp].map(pageNumber);
        return [gate, direction, component, `\`${node}\``, ...numbers].join(" | ");
      }),
    );
    expect(tableRows(PAGE, 7)).toEqual(rows);
  });

  it("has exactly these rows in the table of the Nobel circuit", () => {
    const rows = NOBEL_EXAMPLES.map(({ nodes, noising, denoising }) =>
      [nodes.map((node) => `\`${node}\``).join(", "), ...[...noising, ...denoising].map(pageNumber)].join(
        " | ",
      ),
    );
    // The first column of the page says in words what a node is.
    const found = tableRows(PAGE, 8).map((row) => row.replace(/^[^|]*\| /, ""));
    expect(found).toEqual(rows);
  });

  it("has exactly these rows in the table of the estimates", () => {
    const rows = NOBEL_ESTIMATES.map(({ node, noising, denoising }) => {
      const exact = DIRECTIONS.map((direction) => exactOnOsloIsland(node, direction));
      return [`\`${node}\``, ...[exact[0], noising, exact[1], denoising].map(pageNumber)].join(" | ");
    });
    expect(tableRows(PAGE, 5)).toEqual(rows);
  });
});

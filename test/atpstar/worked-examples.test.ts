/**
 * The failures that AtP* repairs, in models small enough to work them out on paper. docs/why-atp-star.md explains them;
 * its tables are these numbers, and the last test compares the two.
 */

import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { estimateBy } from "../../src/atpstar/estimate.js";
import { METHODS, type Method } from "../../src/atpstar/methods.js";
import { InputError } from "../../src/errors.js";
import { exactEffects } from "../../src/exact/patch-sets.js";
import { estimate, spaceOfNodes } from "../../src/localize.js";
import type { Model } from "../../src/model/model.js";
import { parseNodeId } from "../../src/nodes/node-id.js";
import { indexOfNode } from "../../src/nodes/node-space.js";
import { rankedNodes } from "../../src/nodes/ranking.js";
import { cancellationRatio, contribution, meanEffect, saturationGap } from "../../src/nodes/score-table.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { makePair, type Pair } from "../../src/prompts/pair.js";
import { float32Text } from "../../src/report/float32-text.js";
import { startTestEngine } from "../support/engine.js";
import { A, ASK_A, ASK_B, askingModel, B, twoPathModel } from "../support/hand-made.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";

/** A few roundings of float32, of numbers up to 6. */
const TOLERANCE = 2e-6;

/**
 * The native engine's reciprocal square root may be off in its last bit, and with it a score of 100 by 1.5e-5. Where two
 * scores tie, the row's value ±1 changes by half as much.
 */
const TIE_TOLERANCE = 2e-5;

/** What is known of a node: the columns of the page's tables. */
interface Numbers {
  readonly exact: number;
  /** Signed estimates. */
  readonly atp: number;
  readonly qkFix: number;
  /** Contributions. */
  readonly gradDrop: number;
  readonly atpStar: number;
  readonly gap: number;
  /** NaN for 0/0. */
  readonly ratio: number;
}

interface Example {
  /** First cell of the page's row. */
  readonly setting: string;
  readonly node: string;
  readonly expected: Numbers;
  readonly tolerance?: number;
}

const OPTIONS = { metric: metricByName("logit-diff"), direction: "noising", batchSize: 8 } as const;

function pairOf(model: Model, clean: number[], corrupted: number[]): Pair {
  const input = { clean, corrupted, answers: [A], wrong: [B] };
  return makePair(input, model, OPTIONS.metric.needs, "worked example");
}

/** Makes the model, measures one node, and frees it. */
async function measure(make: () => Model, clean: number[], corrupted: number[], id: string) {
  const model = make();
  const pair = pairOf(model, clean, corrupted);
  const node = parseNodeId(id);
  const space = spaceOfNodes(model.config, [pair], [node]);
  const flat = indexOfNode(space, node);
  const scoresOf = async (method: Method) =>
    (await estimateBy(method, model, [pair], { ...OPTIONS, space })).scores;
  const [atp, qkFix, gradDrop, atpStar] = [
    await scoresOf("atp"),
    await scoresOf("atp+qkfix"),
    await scoresOf("atp+graddrop"),
    await scoresOf("atp*"),
  ];
  const { effects } = await exactEffects(model, [pair], space, [Uint32Array.of(flat)], OPTIONS);
  model.dispose();
  const numbers: Numbers = {
    exact: effects[0],
    atp: meanEffect(atp, flat),
    qkFix: meanEffect(qkFix, flat),
    gradDrop: contribution(gradDrop, flat),
    atpStar: contribution(atpStar, flat),
    gap: saturationGap(atpStar, flat),
    ratio: cancellationRatio(atpStar, flat),
  };
  return { numbers, signedGradDrop: meanEffect(gradDrop, flat), signedAtpStar: meanEffect(atpStar, flat) };
}

function expectNumbers(got: Numbers, wanted: Partial<Numbers>, tolerance = TOLERANCE): void {
  for (const [column, value] of Object.entries(wanted)) {
    const measured = got[column as keyof Numbers];
    if (Number.isFinite(value)) expect(Math.abs(measured - value), column).toBeLessThan(tolerance);
    else expect(measured, column).toBe(value);
  }
}

beforeAll(async () => {
  await startTestEngine();
});

/** σ */
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** What the head adds to the output: the keys A, B and the query's own, with values 1, −1, 0. */
function headOutput(scores: readonly [number, number, number]): number {
  const [a, b, own] = scores.map(Math.exp);
  return (a - b) / (a + b + own);
}

const ASKED_FOR_A = [A, B, ASK_A];
const ASKED_FOR_B = [A, B, ASK_B];
const EXCHANGED = [B, A, ASK_A];

const QUERY_EXAMPLES: readonly Example[] = [
  {
    // Clean scores 100, −100, 0: all weight on A, output 1. With the corrupted query all weight on B, output −1.
    setting: "100",
    node: "L1.q[0]@2",
    expected: {
      exact: -1 - 1,
      atp: 0,
      qkFix: -1 - 1,
      gradDrop: 0,
      atpStar: 2,
      gap: Math.abs(-2 - 0),
      ratio: Number.NaN,
    },
  },
  {
    // What the head hands on is linear from here: the difference −1 − 1 times the gradient 1.
    setting: "100",
    node: "L1.z[0]@2",
    expected: { exact: -2, atp: -2 * 1, qkFix: -2, gradDrop: 2, atpStar: 2, gap: 0, ratio: 2 / 2 },
  },
];

const KEY_EXAMPLES: readonly Example[] = [
  {
    // Key A becomes key B: scores −100, −100, 0. All weight on the query's own key, output 0. For the QK fix
    // ℓ = 100 − log(e^−100 + 1) = 100, δ = −100 − 100, and the other keys' weight is all on the own one: ḡ = 0.
    setting: "100",
    node: "L1.k[0]@0",
    expected: {
      exact: 0 - 1,
      atp: 0,
      qkFix: (sigmoid(100 - 200) - sigmoid(100)) * (1 - 0),
      gradDrop: 0,
      atpStar: 1,
      gap: 1,
      ratio: Number.NaN,
    },
  },
  {
    // Key B becomes key A: scores 100, 100, 0. Half the weight each, output ½·1 + ½·(−1) = 0. For the QK fix
    // ℓ = −100 − log(e^100 + 1) = −200, δ = 100 + 100, and ḡ = 1.
    setting: "100",
    node: "L1.k[0]@1",
    expected: {
      exact: 0 - 1,
      atp: 0,
      qkFix: (sigmoid(-200 + 200) - sigmoid(-200)) * (-1 - 1),
      gradDrop: 0,
      atpStar: 1,
      gap: 1,
      ratio: Number.NaN,
    },
    tolerance: TIE_TOLERANCE,
  },
  {
    // Both keys: scores −100, 100, 0. All weight on the second token, output −1.
    setting: "100",
    node: "L1.k[0]@*",
    expected: { exact: -1 - 1, atp: 0, qkFix: -2, gradDrop: 0, atpStar: 2, gap: 2, ratio: Number.NaN },
  },
  {
    // The value at the key that has all the weight: 1 becomes −1.
    setting: "100",
    node: "L1.v[0]@0",
    expected: { exact: -1 - 1, atp: -2 * 1, qkFix: -2, gradDrop: 2, atpStar: 2, gap: 0, ratio: 2 / 2 },
  },
];

/** Scores 0.1, −0.1, 0: far from saturated. */
function gentleQuery(): Example {
  const before = headOutput([0.1, -0.1, 0]);
  const exact = headOutput([-0.1, 0.1, 0]) - before;
  // ∂output/∂q = Σ_j A_j·(v_j − output)·k_j, where the own key is 0; q goes from 0.1 to −0.1.
  const total = Math.exp(0.1) + Math.exp(-0.1) + 1;
  const slope = (Math.exp(0.1) / total) * (1 - before) * 1 + (Math.exp(-0.1) / total) * (-1 - before) * -1;
  const atp = (-0.1 - 0.1) * slope;
  return {
    setting: "0.1",
    node: "L1.q[0]@2",
    expected: {
      exact,
      atp,
      qkFix: exact,
      gradDrop: Math.abs(atp),
      atpStar: Math.abs(exact),
      gap: Math.abs(exact - atp),
      ratio: 1,
    },
  };
}

describe("a saturated head", () => {
  it.each(QUERY_EXAMPLES)("$node, the other token asked for", async ({ node, expected, tolerance }) => {
    expect(headOutput([-100, 100, 0]) - headOutput([100, -100, 0])).toBe(expected.exact);
    const { numbers } = await measure(() => askingModel(100), ASKED_FOR_A, ASKED_FOR_B, node);
    expectNumbers(numbers, expected, tolerance);
  });

  it.each(KEY_EXAMPLES)("$node, the two tokens exchanged", async ({ node, expected, tolerance }) => {
    const { numbers } = await measure(() => askingModel(100), ASKED_FOR_A, EXCHANGED, node);
    expectNumbers(numbers, expected, tolerance);
  });

  it("has no gradient at all in float32", async () => {
    const { numbers } = await measure(() => askingModel(100), ASKED_FOR_A, ASKED_FOR_B, "L1.q[0]@2");
    expect(Math.abs(numbers.atp)).toBe(0);
    expect(numbers.gradDrop).toBe(0);
  });

  it("a head that is not saturated has a small gap", async () => {
    const { node, expected } = gentleQuery();
    const { numbers } = await measure(() => askingModel(0.1), ASKED_FOR_A, ASKED_FOR_B, node);
    expectNumbers(numbers, expected, 1e-7);
    expect(numbers.gap / numbers.atpStar).toBeCloseTo(0.003, 3);
  });

  it("stays invisible upstream: what acts through the query has no fix and no flag", async () => {
    const { numbers } = await measure(() => askingModel(100), ASKED_FOR_A, ASKED_FOR_B, "L1.residPre@2");
    expectNumbers(numbers, { exact: -1 - 1, atp: 0, qkFix: 0, gradDrop: 0, atpStar: 0, gap: 0 });
    // 0/0, but for the norms' derivative, which is the identity up to a part in 2^80 only.
    expect(Number.isNaN(numbers.ratio) || numbers.ratio < 2).toBe(true);
  });
});

/** From x = 1 to x = −2. */
const CHANGE = -2 - 1;

/** x + w·relu(x) at −2, minus the same at 1. */
const twoPathEffect = (w: number) => -2 + w * 0 - (1 + w * 1);

/** The head's node. The gradient at x = 1 is 1 + w; with layer 1 dropped 1; with its own layer dropped 0. */
function twoPaths(setting: string, w: number, gradDrop: number, ratio: number): Example {
  const atp = CHANGE * (1 + w);
  return {
    setting,
    node: "L0.z[0]@0",
    expected: { exact: twoPathEffect(w), atp, qkFix: atp, gradDrop, atpStar: gradDrop, gap: 0, ratio },
  };
}

/** (|Î_0| + |Î_1|)/(L − 1) with the estimates of the two dropped passes. */
const BOTH_PASSES = (0 + Math.abs(CHANGE * 1)) / (2 - 1);

const TWO_PATHS: readonly (Example & { readonly w: number })[] = [
  { w: -1, ...twoPaths("−1", -1, BOTH_PASSES, Number.POSITIVE_INFINITY) },
  { w: -0.5, ...twoPaths("−0.5", -0.5, BOTH_PASSES, 3 / 1.5) },
  { w: 0, ...twoPaths("0", 0, BOTH_PASSES, 3 / 3) },
  { w: 1, ...twoPaths("1", 1, BOTH_PASSES, 3 / 6) },
];

/** The neuron of layer 1 falls from 1 to 0 and writes −1 per unit. Dropping layer 0 changes nothing for it. */
const NEURON: Example = {
  setting: "−1",
  node: "L1.neuron[0]@0",
  expected: {
    exact: (0 - 1) * -1,
    atp: (0 - 1) * -1,
    qkFix: 1,
    gradDrop: (1 + 0) / (2 - 1),
    atpStar: 1,
    gap: 0,
    ratio: 1 / 1,
  },
};

/** Dropping layer 2 or 3, which do nothing, leaves the gradient 1 − 1 = 0; the other two passes are as before. */
const FOUR_LAYERS = twoPaths("−1, four layers", -1, (0 + 3 + 0 + 0) / (4 - 1), Number.POSITIVE_INFINITY);

describe("two paths that cancel", () => {
  it.each(TWO_PATHS)("the head, w = $setting", async ({ w, node, expected }) => {
    const { numbers, signedGradDrop, signedAtpStar } = await measure(() => twoPathModel(w), [A], [B], node);
    expectNumbers(numbers, expected);
    // The signed mean beside the contribution stays that of the plain pass.
    expect(signedGradDrop).toBe(numbers.atp);
    expect(signedAtpStar).toBe(numbers.qkFix);
  });

  it("the neuron, which has one path only", async () => {
    const { numbers } = await measure(() => twoPathModel(-1), [A], [B], NEURON.node);
    expectNumbers(numbers, NEURON.expected);
  });

  it("is one dropped pass among L − 1", async () => {
    const { numbers } = await measure(() => twoPathModel(-1, 2), [A], [B], FOUR_LAYERS.node);
    expectNumbers(numbers, FOUR_LAYERS.expected);
  });

  it.each([
    // Pass 0 leaves the gradient above layer 0 as it is, 1 − 1 = 0; pass 1 has gradient 1.
    ["L0.residPost@0", (0 + 3) / 2],
    ["L1.residPre@0", (0 + 3) / 2],
    ["L1.residMid@0", (0 + 3) / 2],
    // Pass 0 has the gradient above layer 0 here, too: layer 0's MLP is constant in it.
    ["L0.residMid@0", (0 + 3) / 2],
    // Where the paths have joined: the difference −2 − 0 with gradient 1 in both passes.
    ["L1.residPost@0", (2 + 2) / 2],
  ])("%s of the residual stream: both dropped passes count", async (node, gradDrop) => {
    const { numbers } = await measure(() => twoPathModel(-1), [A], [B], node);
    expect(numbers.exact).toBeCloseTo(-2, 5);
    expect(numbers.gradDrop).toBeCloseTo(gradDrop, 5);
    expect(numbers.atpStar).toBeCloseTo(gradDrop, 5);
    // Infinity, but for the norms' derivative.
    if (node === "L1.residPost@0") expect(numbers.ratio).toBeCloseTo(1, 5);
    else expect(numbers.ratio).toBeGreaterThan(1e20);
  });
});

describe("what the ranked list shows", () => {
  const rowsOf = async (model: Model, clean: number[], corrupted: number[]) => {
    const rows = [...rankedNodes(await estimate(model, [pairOf(model, clean, corrupted)]))];
    model.dispose();
    return new Map(rows.map((row) => [row.node, row]));
  };

  it("an empty ratio for 0/0, and the gap", async () => {
    const row = (await rowsOf(askingModel(100), ASKED_FOR_A, ASKED_FOR_B)).get("L1.q[0]@2");
    expect(row).toMatchObject({ estimateContribution: 2, estimateMean: -2, saturationGap: 2 });
    expect(row).not.toHaveProperty("cancellationRatio");
  });

  it("Infinity where plain AtP is 0 and GradDrop is not, and a signed mean of 0", async () => {
    const row = (await rowsOf(twoPathModel(-1), [A], [B])).get("L0.z[0]@0");
    expect(row).toMatchObject({ estimateContribution: 3, estimateMean: 0, saturationGap: 0 });
    expect(float32Text(row?.cancellationRatio ?? Number.NaN)).toBe("Infinity");
  });
});

describe("cost", () => {
  it.each([
    // Two forward passes, and layer-backwards: L for one pass, L(L + 1)/2 for all of GradDrop's.
    [2, 2 + 2 / 2, 2 + (2 * 3) / 2 / 2],
    [12, 2 + 12 / 12, 2 + (12 * 13) / 2 / 12],
  ])("of a pair on %i layers: %f without and %f with GradDrop", async (layers, without, withGradDrop) => {
    const model = randomModel({ ...TINY_CONFIGS.plain, layers });
    const pair = pairOf(model, [2, 3], [4, 3]);
    const space = spaceOfNodes(model.config, [pair], [parseNodeId("L0.z[0]@0")]);
    const costs: number[] = [];
    for (const method of METHODS) {
      costs.push((await estimateBy(method, model, [pair], { ...OPTIONS, space })).forwardEquivalents);
    }
    model.dispose();
    expect(costs).toEqual([without, without, withGradDrop, withGradDrop]);
  });
});

describe("GradDrop on a model of one layer", () => {
  it.each(["atp+graddrop", "atp*"] as const)("%s has no other layer to drop", async (method) => {
    const model = randomModel({ ...TINY_CONFIGS.plain, layers: 1 });
    const pair = pairOf(model, [2, 3], [4, 3]);
    const space = spaceOfNodes(model.config, [pair], [parseNodeId("L0.z[0]@0")]);
    const run = async (by: Method) => estimateBy(by, model, [pair], { ...OPTIONS, space });
    await expect(run(method)).rejects.toThrow(
      new InputError(
        `estimateBy: expected a model of at least 2 layers for method ${method}, got 1: GradDrop averages over the ` +
          "other layers, and there are none; use atp or atp+qkfix",
      ),
    );
    await expect(run(method)).rejects.toBeInstanceOf(InputError);
    expect((await run("atp+qkfix")).scores.count[0]).toBe(1);
    model.dispose();
  });
});

describe("docs/why-atp-star.md", () => {
  const page = readFileSync(new URL("../../docs/why-atp-star.md", import.meta.url), "utf8");

  /** Four digits, a real minus sign, and an empty cell for 0/0. */
  const cell = (value: number) =>
    Number.isNaN(value) ? "" : String(Number(value.toPrecision(4))).replace("-", "−");

  it("has exactly these rows in its tables", () => {
    const examples = [
      ...QUERY_EXAMPLES,
      ...KEY_EXAMPLES,
      gentleQuery(),
      ...TWO_PATHS,
      FOUR_LAYERS,
      NEURON,
    ].map(({ setting, node, expected: { exact, atp, qkFix, gradDrop, atpStar, gap, ratio } }) =>
      [setting, `\`${node}\``, ...[exact, atp, qkFix, gradDrop, atpStar, gap, ratio].map(cell)].join(" | "),
    );
    const rows = page
      .split("\n")
      .filter((line) => /^\|[^|]*\| `L\d/.test(line))
      .map((line) =>
        line
          .split("|")
          .slice(1, -1)
          .map((text) => text.trim())
          .join(" | "),
      );
    expect(rows.sort()).toEqual(examples.sort());
  });
});

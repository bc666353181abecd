/** How often each layer's weights are asked for, and in which order; what is left in memory where they cannot be had. */

import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { estimateBy } from "../../src/atpstar/estimate.js";
import type { Method } from "../../src/atpstar/methods.js";
import { exactEffects } from "../../src/exact/patch-sets.js";
import { directPaths, pathEffects } from "../../src/exact/paths/path-effects.js";
import { planSweep } from "../../src/exact/sweep/plan.js";
import { recordPairs } from "../../src/exact/sweep/recorded.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import { SweepChunk } from "../../src/exact/sweep/sweep-chunk.js";
import { wavesOfSweep } from "../../src/exact/sweep/waves.js";
import { runUnpatched } from "../../src/exact/unpatched-run.js";
import { disposeBlockContext, makeBlockContext } from "../../src/model/block.js";
import type { ModelConfig } from "../../src/model/config.js";
import type { Model } from "../../src/model/model.js";
import { type HookPoint, sitesOf } from "../../src/model/sites.js";
import { indexOfNode, makeNodeSpace, type NodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { batchPairs } from "../../src/prompts/buckets.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { meanSource } from "../../src/sources/mean.js";
import { runWave } from "../../src/wave.js";
import { startTestEngine } from "../support/engine.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";
import { WatchedModel } from "../support/watched-weights.js";

const CONFIG: ModelConfig = { ...TINY_CONFIGS.plain, layers: 5 };
const PAIR = tokenPair([1, 2, 3, 4, 5, 6], [1, 7, 3, 4, 5, 9]);
/** Two lengths. */
const PAIRS = [PAIR, tokenPair([9, 8, 7, 6, 5, 4], [2, 8, 7, 6, 5, 4]), tokenPair([4, 4, 1], [4, 10, 1])];
const METRIC = metricByName("logit-diff");
const CONTROL = { direction: "noising" as const, batchSize: 8 };
const UP = [0, 1, 2, 3, 4];
const DOWN = [4, 3, 2, 1, 0];

let inner: Model;
let watched: WatchedModel;
let space: NodeSpace;

beforeAll(async () => {
  await startTestEngine();
  inner = randomModel(CONFIG);
  space = makeNodeSpace(CONFIG, sitesOf(CONFIG), positionLabels("each", PAIRS));
});
afterAll(() => inner.dispose());
beforeEach(() => {
  watched = new WatchedModel(inner);
});

const nodeAt = (layer: number, position: number) => indexOfNode(space, { site: "mlpOut", layer, position });
const setAt = (layer: number, position: number) => Uint32Array.of(nodeAt(layer, position));

describe("estimates", () => {
  const run = (method: Method, options: { batchSize?: number; streamBudgetBytes?: number } = {}) =>
    estimateBy(method, watched.model, PAIRS, { ...CONTROL, metric: METRIC, space, ...options });

  it.each(["atp", "atp*"] as const)("%s goes up and down once a batch", async (method) => {
    await run(method);
    expect(watched.unreleased).toBe(0);
    expect(watched.wrongHints()).toEqual([]);
    expect(watched.surprises()).toBe(1);
    expect(watched.takeLayers()).toEqual([...UP, ...DOWN, ...UP, ...DOWN]);
  });

  it("goes down once more for each sweep that the gradient streams are cut into, from where its first one forks", async () => {
    await run("atp*", { streamBudgetBytes: 1 });
    expect(watched.unreleased).toBe(0);
    // Streams of layers 4, 3, 2 and 1, one a sweep; the first shares the main one's.
    const batch = [...UP, ...DOWN, 2, 1, 0, 1, 0, 0];
    expect(watched.wrongHints()).toEqual([]);
    expect(watched.surprises()).toBe(1);
    expect(watched.takeLayers()).toEqual([...batch, ...batch]);
  });
});

describe("unpatched runs", () => {
  it("go through each layer together, and are watched as if each ran alone", async () => {
    const seen = { base: [] as string[], source: [] as string[] };
    const watch = (into: string[]) => (point: HookPoint, layer: number, value: tf.Tensor) => {
      into.push(`${layer}.${point} ${value.dataSync().join()}`);
    };
    const run = async (base: string[], source: string[], model: Model) => {
      const finals = await runUnpatched(model, [PAIR], "noising", {
        base: watch(base),
        source: watch(source),
        release: () => {},
      });
      const numbers = [finals.baseFinal, finals.sourceFinal].map((final) => [...final.dataSync()]);
      tf.dispose([finals.baseFinal, finals.sourceFinal]);
      return numbers;
    };
    const finals = await run(seen.base, seen.source, watched.model);
    expect(watched.takeLayers()).toEqual(UP);
    // The other direction: base and source change places.
    const other = { base: [] as string[], source: [] as string[] };
    const swapped = await runUnpatched(watched.model, [PAIR], "denoising", {
      base: watch(other.base),
      source: watch(other.source),
      release: () => {},
    });
    expect(other).toEqual({ base: seen.source, source: seen.base });
    expect([[...swapped.sourceFinal.dataSync()], [...swapped.baseFinal.dataSync()]]).toEqual(finals);
    tf.dispose([swapped.baseFinal, swapped.sourceFinal]);
    expect(seen.base.length).toBe(5 * (sitesOf(CONFIG).length + 1));
    expect(seen.base[0]).not.toBe(seen.source[0]);
  });

  it("free everything and release the layer where a watch throws, in whichever run and layer", async () => {
    const before = tf.memory().numTensors;
    for (const broken of ["base", "source"] as const) {
      const kept: tf.Tensor[] = [];
      const watch = (run: string) => (point: HookPoint, layer: number, value: tf.Tensor) => {
        if (point === "q") kept.push(tf.keep(tf.clone(value)));
        if (run === broken && layer === 2 && point === "z") throw new Error("seen enough");
      };
      const running = runUnpatched(watched.model, [PAIR], "noising", {
        base: watch("base"),
        source: watch("source"),
        release: () => tf.dispose(kept),
      });
      await expect(running).rejects.toThrow("seen enough");
      expect(kept.length).toBe(broken === "base" ? 5 : 6);
      expect(tf.memory().numTensors).toBe(before);
      expect(watched.unreleased).toBe(0);
    }
  });

  it("of a mean go up side by side, batch beside batch", async () => {
    const source = await meanSource(watched.model, PAIRS, {
      direction: "noising",
      sites: ["z"],
      batchSize: 1,
    });
    source.dispose();
    expect(watched.takeLayers()).toEqual(UP);
  });
});

describe("sets", () => {
  /** Eight starts: a chunk each on one pair. */
  const STARTS = [
    [0, 1],
    [0, 3],
    [1, 1],
    [1, 2],
    [3, 1],
    [3, 4],
    [3, 5],
    [4, 5],
  ] as const;
  const patch = (sets: Uint32Array[], pairs = [PAIR], activationBudgetBytes?: number) =>
    exactEffects(watched.model, pairs, space, sets, {
      ...CONTROL,
      metric: METRIC,
      ...(activationBudgetBytes && { activationBudgetBytes }),
    });

  it("read each layer once for the unpatched runs and once for all chunks, and give the bits of chunks that run alone", async () => {
    const sets = STARTS.map(([layer, position]) => setAt(layer, position));
    const { effects } = await patch(sets);
    expect(watched.wrongHints()).toEqual([]);
    expect(watched.takeLayers()).toEqual([...UP, ...UP]);
    const alone: number[] = [];
    for (const [s, set] of sets.entries()) {
      const own = await patch([set]);
      alone.push(own.effects[0]);
      const [layer] = STARTS[s];
      expect(watched.takeLayers()).toEqual([...UP, ...UP.slice(layer)]);
    }
    expect([...effects]).toEqual(alone);
    expect(new Set(alone).size).toBe(STARTS.length);
  });

  it("begin where the lowest of them starts", async () => {
    await patch([setAt(3, 2), setAt(2, 4), setAt(4, 5)]);
    expect(watched.takeLayers()).toEqual([...UP, 2, 3, 4]);
  });

  it("go up in as many waves as their resting streams take", async () => {
    const sets = [0, 1, 3, 4].map((layer) => setAt(layer, layer === 4 ? 5 : 1));
    // At rest 5 tokens take 5·12 floats of the stream and 5·(6 + 2·3) of mask and rotary tables, 480 bytes together; a run of
    // one token from position 5 takes 96. A quarter of the budget: three chunks of the four, then two and two.
    const waves = async (budget: number) => {
      await patch(sets, [PAIR], budget);
      return watched.takeLayers().slice(UP.length);
    };
    expect(await waves(4 * 3 * 480)).toEqual([...UP, 4]);
    expect(await waves(4 * 2 * 480)).toEqual([...UP, 3, 4]);
    expect(await waves(1)).toEqual([...UP, 1, 2, 3, 4, 3, 4, 4]);
  });

  it("report progress within a wave, ever more of it", async () => {
    const seen: number[] = [];
    const sets = STARTS.map(([layer, position]) => setAt(layer, position));
    await exactEffects(watched.model, [PAIR], space, sets, {
      ...CONTROL,
      metric: METRIC,
      onProgress: ({ done, total }) => {
        expect(total).toBe(8);
        seen.push(done);
      },
    });
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });
});

describe("sweeps", () => {
  const nodes = () => Uint32Array.from([0, 1, 2, 3], (layer) => nodeAt(layer, 1));
  const sweep = (activationBudgetBytes?: number) =>
    sweepNodes(watched.model, [PAIR], space, nodes(), {
      ...CONTROL,
      metrics: [METRIC],
      ...(activationBudgetBytes && { activationBudgetBytes }),
    });

  it("read each layer once a wave", async () => {
    await sweep();
    expect(watched.takeLayers()).toEqual([...UP, ...UP]);
    // At rest 5 tokens take 240 bytes and a run's objects 256; in a block the tokens take 4,560. So each run is a chunk, and a
    // quarter of the budget holds two of them.
    await sweep(5_000);
    expect(watched.wrongHints()).toEqual([]);
    expect(watched.takeLayers()).toEqual([...UP, ...UP, 2, 3, 4]);
    await sweep(1);
    expect(watched.takeLayers()).toEqual([...UP, ...UP, 1, 2, 3, 4, 2, 3, 4, 3, 4]);
  });

  it("give the same bits whether their chunks go up side by side or one after the other", async () => {
    const all = Uint32Array.from({ length: space.size }, (_, node) => node).filter((node) => node % 4 === 0);
    const [batch] = batchPairs(PAIRS, 8);
    const input = { config: CONFIG, space, batch, nodes: all, fromPrompt: true };
    const before = tf.memory().numTensors;
    const recorded = await recordPairs(inner, planSweep(input), "noising");
    const context = {
      block: makeBlockContext(CONFIG, batch.length),
      recorded,
      T: batch.length,
      B: batch.pairs.length,
      count: () => {},
    };
    // So small a budget that there are many chunks; waves are cut anew here.
    const chunks = [...wavesOfSweep(input, 60_000)].flat();
    expect(chunks.length).toBeGreaterThan(10);
    expect(new Set(chunks.map(([{ group }]) => group.layer)).size).toBeGreaterThan(2);
    const finalsOf = async (atOnce: number) => {
      const finals: number[][] = [];
      for (let first = 0; first < chunks.length; first += atOnce) {
        const wave = chunks.slice(first, first + atOnce).map((runs) => new SweepChunk(context, runs));
        await runWave(inner.weights, wave, {
          to: CONFIG.layers,
          async finish(chunk) {
            const { order, final } = await chunk.final(inner);
            finals.push([...order.map(({ patch }) => patch), ...final.dataSync()]);
            final.dispose();
          },
        });
      }
      return finals;
    };
    const alone = await finalsOf(1);
    expect(await finalsOf(chunks.length)).toEqual(alone);
    expect(await finalsOf(7)).toEqual(alone);
    disposeBlockContext(context.block);
    recorded.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe("paths", () => {
  it("go up in one wave, from the lowest sender that is written through a matrix", async () => {
    const options = { ...CONTROL, metric: METRIC };
    const ends = {
      senders: ["L1.z[0]@*", "L2.neuron[3]@1", "L0.mlpOut@1"],
      receivers: ["L3.q[1]@*", "L4.mlp@*"],
    };
    const all = await directPaths(watched.model, [PAIR], { ...options, ...ends });
    expect(watched.wrongHints()).toEqual([]);
    expect(watched.takeLayers()).toEqual([...UP, 1, 2, 3, 4]);
    // Each path alone: the same chunks but for the rows beside it.
    for (const [s, sender] of ends.senders.entries()) {
      for (const [r, receiver] of ends.receivers.entries()) {
        const own = await pathEffects(watched.model, [PAIR], {
          ...options,
          senders: [sender],
          receivers: [receiver],
        });
        expect(Math.abs(own.effects[0] - all.effects[s * 2 + r])).toBeLessThan(2e-6);
        const from = [1, 2, r + 3][s];
        expect(watched.takeLayers()).toEqual([...UP, ...UP.slice(from)]);
      }
    }
  });

  it("ask for no layer of direct effects on the logits, unless a matrix writes the sender", async () => {
    const options = { ...CONTROL, metric: METRIC, receivers: ["final"] };
    await pathEffects(watched.model, [PAIR], { ...options, senders: ["L2.mlpOut@5"] });
    expect(watched.takeLayers()).toEqual(UP);
    await pathEffects(watched.model, [PAIR], { ...options, senders: ["L3.z[1]@5"] });
    expect(watched.takeLayers()).toEqual([...UP, 3, 4]);
  });
});

describe("whatever breaks off", () => {
  const sets = () => [0, 1, 2, 3].map((layer) => setAt(layer, 1));
  const nodes = () =>
    Uint32Array.from({ length: space.size }, (_, node) => node).filter((node) => node % 4 === 0);
  const paths = { senders: ["L0.z[1]@*", "L1.neuron[2]@1"], receivers: ["L2.q[0]@*", "L3.mlp@1", "final"] };

  type Interruption = { readonly signal?: AbortSignal; readonly onProgress?: () => void };
  const calls: Record<string, (control?: Interruption) => Promise<unknown>> = {
    atp: (control) =>
      estimateBy("atp", watched.model, [PAIR], { ...CONTROL, metric: METRIC, space, ...control }),
    "atp*": (control) =>
      estimateBy("atp*", watched.model, [PAIR], {
        ...CONTROL,
        metric: METRIC,
        space,
        // Records that do not fit, and streams in several sweeps.
        activationBudgetBytes: 1,
        streamBudgetBytes: 1,
        ...control,
      }),
    patchSets: (control) =>
      exactEffects(watched.model, [PAIR], space, sets(), { ...CONTROL, metric: METRIC, ...control }),
    sweepNodes: (control) =>
      sweepNodes(watched.model, [PAIR], space, nodes(), { ...CONTROL, metrics: [METRIC], ...control }),
    directPaths: (control) =>
      directPaths(watched.model, [PAIR], { ...CONTROL, metric: METRIC, ...paths, ...control }),
    meanSource: async (control) => {
      const source = await meanSource(watched.model, PAIRS, {
        direction: "noising",
        sites: ["z"],
        batchSize: 1,
        ...control,
      });
      source.dispose();
    },
  };

  it.each(Object.entries(calls))(
    "%s frees everything whichever layer cannot be read",
    async (_name, call) => {
      const before = tf.memory().numTensors;
      await call();
      const requests = watched.takeLayers().length;
      expect(requests).toBeGreaterThanOrEqual(5);
      for (let failing = 0; failing < requests; failing++) {
        watched.failing = failing;
        await expect(call()).rejects.toThrow("layer: the disk is gone");
        expect(watched.takeLayers().length).toBe(failing + 1);
        expect(tf.memory().numTensors, `request ${failing}`).toBe(before);
        expect(watched.unreleased).toBe(0);
      }
    },
  );

  it.each(["patchSets", "sweepNodes", "directPaths", "meanSource"])(
    "%s frees everything when it is stopped in the middle of a wave",
    async (name) => {
      const before = tf.memory().numTensors;
      await calls[name]();
      const whole = watched.takeLayers().length;
      const stop = new AbortController();
      const onProgress = () => stop.abort(new Error("enough"));
      await expect(calls[name]({ signal: stop.signal, onProgress })).rejects.toThrow("enough");
      expect(watched.takeLayers().length).toBeLessThan(whole);
      expect(tf.memory().numTensors).toBe(before);
      expect(watched.unreleased).toBe(0);
    },
  );
});

import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { parseString } from "fast-csv";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RunError } from "../../src/errors.js";
import { sumMetric } from "../../src/exact/metric-sums.js";
import type { MetricOfRuns } from "../../src/exact/patched-runs.js";
import { windowStarts } from "../../src/exact/windows.js";
import { makeNodeSpace } from "../../src/nodes/node-space.js";
import { makeScoreTable } from "../../src/nodes/score-table.js";
import {
  type MetricsTable,
  metricsHeader,
  nodeMetrics,
  windowMetrics,
  writeMetricsCsv,
} from "../../src/report/metrics-csv.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "atpkit-metrics-"));
  file = join(folder, "metrics.csv");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function metric(name: string, patched: number[], base: number[], source: number[]): MetricOfRuns {
  return {
    name,
    patched: Float32Array.from(patched),
    base: Float64Array.from(base),
    source: Float64Array.from(source),
  };
}

function table(metrics: readonly MetricOfRuns[], order: number[], ids = ["a", "b", "c"]): MetricsTable {
  return {
    columns: ["node", "layer"],
    order: Uint32Array.from(order),
    cellsOf: (place) => [ids[place], String(place)],
    metrics: metrics.map(sumMetric),
  };
}

async function cellsOf(path: string): Promise<string[][]> {
  const rows: string[][] = [];
  for await (const row of parseString(await readFile(path, "utf8"))) rows.push(row);
  return rows;
}

const { NaN: missing } = Number;

describe("writeMetricsCsv", () => {
  it("has the unpatched runs first, then one row per patch: means over the pairs that have it", async () => {
    // Two pairs, three patches; the second pair lacks b, both lack c.
    const metrics = [
      metric("logit-diff", [1, 0.5, missing, 3, missing, missing], [4, 8], [-4, -2]),
      metric("prob", [0.25, 0, missing, 0.5, missing, missing], [1, 0.5], [0, 0.25]),
    ];
    await writeMetricsCsv(file, table(metrics, [1, 0, 2]));
    expect(await readFile(file, "utf8")).toBe(
      [
        "node,layer,pairs,logit-diff,prob,logit-diff_base,prob_base",
        "base,,2,6,0.75,6,0.75",
        "source,,2,-3,0.125,6,0.75",
        "b,1,1,0.5,0,4,1",
        "a,0,2,2,0.375,6,0.75",
        "c,2,0,,,,",
        "",
      ].join("\n"),
    );
  });

  it("quotes names with commas and quotes, and reads back to the same cells", async () => {
    const names = ["pattern(L2,3)@end,s2", 'say "a"'];
    const metrics = names.map((name) => metric(name, [1, 2, 3], [1], [2]));
    await writeMetricsCsv(file, table(metrics, [0, 1, 2], ["a,b", '"', "c"]));
    const text = await readFile(file, "utf8");
    expect(text.split("\n")[0]).toBe(
      'node,layer,pairs,"pattern(L2,3)@end,s2","say ""a""","pattern(L2,3)@end,s2_base","say ""a""_base"',
    );
    const rows = await cellsOf(file);
    expect(rows[0]).toEqual([
      ...["node", "layer", "pairs"],
      ...names,
      ...names.map((name) => `${name}_base`),
    ]);
    expect(rows.slice(3).map(([id]) => id)).toEqual(["a,b", '"', "c"]);
    expect(rows.every((row) => row.length === 7)).toBe(true);
  });

  it("keeps every number to the last bit of float32", async () => {
    const float = fc.float({ noNaN: true, min: -1000, max: 1000 });
    const values = (count: number) => fc.array(float, { minLength: count, maxLength: count });
    await fc.assert(
      fc.asyncProperty(values(3), values(1), values(1), async (patched, base, source) => {
        await writeMetricsCsv(file, table([metric("logit", patched, base, source)], [0, 1, 2]));
        const rows = (await cellsOf(file)).slice(1).map((cells) => cells.slice(3));
        const read = rows.map((cells) => cells.map((cell) => Math.fround(Number(cell))));
        // CSV has no −0.
        expect(read).toEqual([base[0], source[0], ...patched].map((value) => [value + 0, base[0] + 0]));
      }),
      { numRuns: 50 },
    );
  });

  it("writes a hundred thousand rows", async () => {
    const count = 100_000;
    const patched = Float32Array.from({ length: 2 * count }, (_, at) => at % count);
    const metrics = [sumMetric({ ...metric("logit", [], [1, 2], [3, 4]), patched })];
    await writeMetricsCsv(file, {
      columns: ["node"],
      order: Uint32Array.from({ length: count }, (_, place) => count - 1 - place),
      cellsOf: (place) => [`n${place}`],
      metrics,
    });
    const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
    expect(lines.length).toBe(count + 3);
    expect(lines[3]).toBe(`n${count - 1},2,${count - 1},1.5`);
    expect(lines[count + 2]).toBe("n0,2,0,1.5");
  });

  it("leaves an older file as it was, and no temporary one, when it breaks off", async () => {
    await writeFile(file, "older");
    const broken = {
      ...table([metric("logit", [1], [1], [1])], [0]),
      cellsOf(): string[] {
        throw new RunError("no more rows");
      },
    };
    await expect(writeMetricsCsv(file, broken)).rejects.toThrow("no more rows");
    const signal = AbortSignal.abort();
    const whole = table([metric("logit", [1, 2, 3], [1], [1])], [0, 1, 2]);
    await expect(writeMetricsCsv(file, whole, { signal })).rejects.toThrow(/abort/i);
    expect(await readdir(folder)).toEqual(["metrics.csv"]);
    expect(await readFile(file, "utf8")).toBe("older");
  });
});

describe("tables", () => {
  const space = makeNodeSpace(TINY_CONFIGS.plain, ["z", "mlpOut"], [0, 1, 2]);
  const metrics = [metric("logit", [1, 2], [0], [0])];

  it("of a ranking: verified nodes in its order, each with its own column of values", () => {
    // 3 positions of 4 heads, then 3 of the MLP, per layer.
    const nodes = Uint32Array.of(15 + 12 + 2, 2 * 4 - 1);
    const ranking = {
      space,
      pairs: [],
      baseMetric: new Float64Array(1),
      sourceMetric: new Float64Array(1),
      verified: { nodes, scores: makeScoreTable(2) },
      metrics,
      order: nodes.slice().reverse(),
      forwardEquivalents: { estimate: 0, verify: 0 },
    };
    const made = nodeMetrics(ranking);
    expect([...made.order]).toEqual([1, 0]);
    expect([0, 1].map(made.cellsOf)).toEqual([
      ["L1.mlpOut@2", "mlpOut", "1", "", "2"],
      ["L0.z[3]@1", "z", "0", "3", "1"],
    ]);
    expect(metricsHeader(made).join()).toBe("node,site,layer,index,position,pairs,logit,logit_base");
  });

  it("of windows", () => {
    const shape = { over: "positions", width: 2 } as const;
    const starts = windowStarts(space, shape);
    const made = windowMetrics({
      space,
      shape,
      starts,
      metrics,
      scores: makeScoreTable(starts.length),
      order: Uint32Array.of(1, 0),
      forwardEquivalents: 0,
    });
    expect([...made.order]).toEqual([1, 0]);
    expect(made.cellsOf(1)).toEqual(["L0.z[1]@0-1", "z", "0", "0", "1", "0", "1"]);
    expect(metricsHeader(made).join()).toBe(
      "window,site,first_layer,last_layer,index,first_position,last_position,pairs,logit,logit_base",
    );
  });
});

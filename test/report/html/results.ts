/** @file Folders of results for tests: small, with every file there can be, and tokens that want to be markup. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Site } from "../../../src/model/sites.js";
import { formatNodeId } from "../../../src/nodes/node-id.js";
import type { RankedNode } from "../../../src/nodes/ranking.js";
import { writeRankedCsv } from "../../../src/report/ranked-csv.js";

/** Tokens that end scripts, open others, hide, or turn text round. */
export const HOSTILE = [
  "</script><script>window.broken = 1</script>",
  "<|endoftext|>",
  '<img src=x onerror="window.broken = 2">',
  "'\"`&amp;",
  "שלום ‮abc",
  "\n\u2028\u2029\u0007\ufffd",
  "<!--<script>",
  " to",
] as const;

const SITES: readonly Site[] = ["residPre", "attnOut", "mlpOut", "q", "z", "neuron"];

/** What the figures of a report on such a folder are called. */
export const FIGURE_IDS: readonly string[] = [...SITES, "estimate-against-exact", "bound", "faithfulness"];
const LAYERS = 3;
const HEADS = 2;

/** A list over layers, sites and positions; the first `verified` of it verified. Values are all different. */
export function rankedList({ verified = 12 } = {}): RankedNode[] {
  const rows: RankedNode[] = [];
  for (const site of SITES) {
    const indices = site === "q" || site === "z" ? HEADS : site === "neuron" ? 12 : 1;
    for (let layer = 0; layer < LAYERS; layer++) {
      for (let index = 0; index < indices; index++) {
        HOSTILE.forEach((token, position) => {
          const place = rows.length;
          const node = { layer, site, position, ...(indices > 1 && { index }) };
          const estimate = Math.fround((place % 7 === 0 ? 1 : -1) * 3 * 0.98 ** ((place * 37) % 432));
          rows.push({
            rank: 1,
            node: formatNodeId(node),
            ...node,
            ...(position % 2 === 0 && { token }),
            contribution: Math.abs(estimate),
            estimateContribution: Math.abs(estimate),
            estimateMean: estimate,
            estimateSe: 0.125,
            recovered: Math.fround(estimate / -8),
            verified: false,
            pairs: 4,
            saturationGap: site === "q" ? Math.abs(estimate) : 0,
            cancellationRatio: place % 11 === 0 ? Number.POSITIVE_INFINITY : 1,
          });
        });
      }
    }
  }
  rows.sort((a, b) => b.contribution - a.contribution);
  const ranked = rows.map((row, place): RankedNode => {
    if (place >= verified) return row;
    const effect = Math.fround((row.estimateMean ?? 0) * 1.25);
    const contribution = Math.abs(effect);
    return {
      ...row,
      verified: true,
      contribution,
      effectContribution: contribution,
      effectMean: effect,
      effectSe: 0.25,
    };
  });
  return ranked.map((row, place) => ({ ...row, rank: place + 1 }));
}

export const ABOUT = {
  atpkit: "0.1.0",
  command: "sweep",
  date: "2026-01-02T03:04:05.000Z",
  options: { out: "</script><script>window.broken = 3</script>" },
  model: { name: "<b>model</b>", family: "gpt2", layers: LAYERS },
  pairs: { files: ["</title><script>window.broken = 4</script>"], available: 9, used: 4 },
  prompts: {
    length: HOSTILE.length,
    clean: HOSTILE,
    corrupted: HOSTILE.map((token, place) => (place === 2 ? `${token}{b}` : token)),
    differing: [2],
    roles: { end: HOSTILE.length - 1 },
    differingRoles: [],
  },
  metric: { name: "logit-diff", base: 3.5, source: -4.5 },
  direction: "noising",
  engine: { backend: "wasm", device: "test", reason: "asked for" },
};

export const SUMMARY = {
  ...ABOUT,
  method: "atp*",
  nodes: { ranked: 432, verified: 12 },
  forwardEquivalents: { estimate: 12, verify: 34.5 },
  seconds: { load: 1, estimate: 2, verify: 3 },
};

const look = (number: number, round: number, samples: number, bound: number) => ({
  look: number,
  round,
  nodes: 400,
  samples,
  together: 3,
  threshold: 1.5,
  plain: { bound: 2 * bound, node: "L0.z[0]@1" },
  controlled: { bound, node: "L0.z[0]@1", rSquared: 0.9 },
});

export const CERTIFICATE = {
  ...ABOUT,
  topK: 10,
  confidence: 0.99,
  certified: true,
  threshold: 1.5,
  bound: 1.25,
  claims: ["The <i>top</i> 10 are certain."],
  assumptions: ["Other prompts may differ."],
  nodes: { total: 432, verified: 12 },
  sampling: {
    probability: 0.05,
    seed: 0,
    looks: [look(1, 1, 100, 4), look(2, 1, 200, 3), look(3, 2, 100, 1.25)],
  },
  cost: { estimate: 12, verify: 30, sample: 4.5, budget: 1000 },
};

const value = (faithfulness: number) => ({
  metric: 8 * faithfulness - 4.5,
  se: 0.1,
  faithfulness,
  faithfulnessSe: 0.01,
});

export const FAITHFULNESS = {
  ...ABOUT,
  command: "faithfulness",
  points: [0, 1, 10, 432].map((k, place) => ({
    k,
    share: k / 432,
    keep: value([0, 0.5, 0.9, 1][place]),
    remove: value([1, 0.25, -0.05, 0][place]),
  })),
  allPatched: value(0),
  keepArea: { share: 0.95, logShare: 0.75 },
  removeArea: { share: 0.02, logShare: 0.125 },
  nodes: { ranked: 432, space: 432 },
  forwardEquivalents: 56,
  seconds: { load: 1, patch: 2 },
};

export const METRICS_CSV = `node,site,layer,index,position,pairs,logit-diff,<b>prob</b>,logit-diff_base,<b>prob</b>_base
base,,,,,4,3.5,0.99840796,3.5,0.99840796
source,,,,,4,-4.5,0.00011699452,3.5,0.99840796
L0.z[1]@7,z,0,1,7,4,-1.2375,0.00008058971,3.5,0.99840796
L2.mlpOut@end,mlpOut,2,,end,4,7.5259724,,3.5,
`;

/** Writes every file of a run. */
export async function writeResults(folder: string, rows = rankedList()): Promise<void> {
  await writeRankedCsv(join(folder, "ranked.csv"), rows);
  for (const [name, content] of Object.entries({
    summary: SUMMARY,
    certificate: CERTIFICATE,
    faithfulness: FAITHFULNESS,
  })) {
    await writeFile(join(folder, `${name}.json`), JSON.stringify(content));
  }
  await writeFile(join(folder, "metrics.csv"), METRICS_CSV);
}

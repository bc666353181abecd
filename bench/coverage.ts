/**
 * Validity of the bounds of subset sampling: how often are they violated, against their level, on systems whose truth is known?
 *
 *   npx tsx bench/coverage.ts [repetitions, default 1000]
 *   npx tsx bench/coverage.ts --short      half a minute, for continuous integration
 *
 * Systems: a model of random weights and the AND and OR gates of docs/noising-and-denoising.md, every subset of ten or twelve
 * nodes patched; and a made-up system of 300 nodes. All looks of a repetition are at the same samples.
 */

import { startEngine } from "../src/engine/start-engine.js";
import { gateSystem, madeUpSystem, randomModelSystem } from "./coverage/cases.js";
import { repeatDesign } from "./coverage/repeated-design.js";
import { type KnownSystem, largest } from "./coverage/system.js";
import { type CoverageRow, LEVELS, looksTable, violationTable } from "./coverage/tables.js";

const SIZES = [50, 100, 200, 400, 800, 1600, 3200];
const DESIGNS = [
  { probability: 0.02, complementary: false },
  { probability: 0.1, complementary: false },
  { probability: 0.5, complementary: false },
  { probability: 0.5, complementary: true },
];
/** Subsets of half of many nodes take long, and say no more than those of few. */
const MOST_NODES_OF_HALVES = 20;

const short = process.argv.includes("--short");
const asked = process.argv.slice(2).find((argument) => argument !== "--short");
const repetitions = asked === undefined ? (short ? 50 : 1000) : Number(asked);
if (!Number.isInteger(repetitions) || repetitions < 1) {
  throw new Error(`coverage: expected a positive integer of repetitions, got ${asked}`);
}

const engine = await startEngine({ prefer: "wasm" });
const systems = [
  await randomModelSystem(short ? 8 : 12),
  await gateSystem("AND"),
  await gateSystem("OR"),
  madeUpSystem(),
];
console.log(`${engine.backend}, ${repetitions} repetitions`);
console.log("Largest effect of a node alone, and largest average marginal effect:");
for (const system of systems) console.log(`  ${system.name}: ${describeEffects(system)}`);

const rows: CoverageRow[] = [];
for (const system of systems) {
  for (const design of DESIGNS) {
    if (design.probability === 0.5 && system.nodes > MOST_NODES_OF_HALVES) continue;
    const name = `p = ${design.probability}${design.complementary ? ", complementary" : ""}`;
    const [plain, controlled] = repeatDesign(system, { ...design, sizes: SIZES, repetitions });
    rows.push({ system: system.name, design: name, series: "plain", result: plain });
    rows.push({ system: system.name, design: name, series: "control variate", result: controlled });
  }
}
for (const level of LEVELS) {
  console.log(
    `Violated, % of repetitions; nominal ${100 * level}. Bound of the largest node: t alone -> rules`,
  );
  console.log(violationTable(rows, SIZES, level));
}
console.log(`Looks after ${SIZES.join(", ")} samples`);
console.log(looksTable(rows, SIZES));

function describeEffects(system: KnownSystem): string {
  const marginals = [0.02, 0.1, 0.5].map(
    (probability) => `${largest(system.averageMarginals(probability)).size.toFixed(3)} (p = ${probability})`,
  );
  return `${largest(system.singles).size.toFixed(3)} alone, ${marginals.join(", ")}`;
}

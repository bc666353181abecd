/** How far a stage is, as a caller is told. */

import { expect, it } from "vitest";
import { type Progress, StageProgress } from "../src/run-control.js";

it("counts units one lot behind the other, in whole units, and never tells the same twice or less than before", () => {
  const told: Progress[] = [];
  const progress = new StageProgress({ onProgress: (each) => told.push(each) }, "verify", 20);
  const first = progress.share(7);
  // 0.1 · 7 and 0.2 · 7 are 0 and 1 whole units, 0.25 · 7 is 1 again, 0.5 · 7 is 3.
  for (const share of [0.1, 0.2, 0.25, 0.5, 0.2, 1]) first(share);
  progress.add(0);
  progress.add(3);
  const second = progress.share(10);
  for (const share of [0.05, 0.1, 1]) second(share);
  expect(told.map(({ done }) => done)).toEqual([1, 3, 7, 10, 11, 20]);
  expect(told[0]).toEqual({ stage: "verify", done: 1, total: 20 });
});

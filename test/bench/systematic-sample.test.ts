/** Samples that are spread over a list. */

import { expect, it } from "vitest";
import { systematicSample } from "../../bench/systematic-sample.js";

it("takes the middle of each part", () => {
  const nodes = Uint32Array.of(10, 11, 12, 13, 14, 15, 16, 17, 18);
  // Three parts of three.
  expect(systematicSample(nodes, 3)).toEqual(Uint32Array.of(11, 14, 17));
  // Four parts of 2.25: their middles lie at 1.125, 3.375, 5.625 and 7.875.
  expect(systematicSample(nodes, 4)).toEqual(Uint32Array.of(11, 13, 15, 17));
});

it("takes everything where there is not more", () => {
  const nodes = Uint32Array.of(7, 8);
  expect(systematicSample(nodes, 2)).toEqual(nodes);
  expect(systematicSample(nodes, 3)).toEqual(nodes);
});

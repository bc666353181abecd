import { describe, expect, it } from "vitest";
import { wavesWithin } from "../src/wave.js";

describe("wavesWithin", () => {
  const waves = (sizes: readonly number[], budget: number) => [...wavesWithin(sizes, budget, (size) => size)];

  it("takes as many neighbours as fit, and a chunk that does not fit by itself", () => {
    expect(waves([3, 4, 3, 1, 12, 2, 5], 10)).toEqual([[3, 4, 3], [1], [12], [2, 5]]);
    expect(waves([3, 3, 3], 1)).toEqual([[3], [3], [3]]);
    expect(waves([], 10)).toEqual([]);
  });

  it("makes no more than one chunk ahead of the wave it gives", () => {
    let made = 0;
    const endless = function* () {
      for (;;) yield ++made;
    };
    const [first] = wavesWithin(endless(), 6, () => 2);
    expect(first).toEqual([1, 2, 3]);
    expect(made).toBe(4);
  });
});

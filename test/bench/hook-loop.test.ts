/** The PyTorch loop that the sweep is timed against computes the same effects. */

import { describe, expect, it } from "vitest";
import { PEERS, startHookLoop } from "../../bench/peers/hook-loop.js";
import { differenceOfEffects } from "../../bench/peers/same-effects.js";
import { startTestEngine } from "../support/engine.js";
import { EXACT_TOLERANCE } from "../support/tolerances.js";

describe("hook_loop.py", () => {
  it("says why it is skipped where there is no Python", async () => {
    const loop = await startHookLoop("transformers", "no-such-python");
    expect(loop).toEqual({
      skipped: "no-such-python: spawn no-such-python ENOENT; see bench/peers/README.md",
    });
  });

  it.for(PEERS)("has the sweep's effects with %s", async (peer, { skip }) => {
    await startTestEngine();
    const loop = await startHookLoop(peer);
    if ("skipped" in loop) return skip(loop.skipped);
    const difference = await differenceOfEffects(loop);
    loop.stop();
    expect(difference).toBeLessThan(EXACT_TOLERANCE);
  });
});

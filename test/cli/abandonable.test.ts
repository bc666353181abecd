/** Work that looks at no signal, and is left where it is when somebody interrupts it. */

import { describe, expect, it } from "vitest";
import { abandonable, Interrupted } from "../../src/cli/interrupts.js";
import { outcomeOf } from "../../src/cli/outcome.js";

function interruptible() {
  const controller = new AbortController();
  const context: Parameters<typeof abandonable>[0] = { signal: controller.signal };
  return { context, interrupt: () => controller.abort(new Interrupted("SIGINT")) };
}

describe("work that can be left", () => {
  it("gives what it gives where nobody interrupts it", async () => {
    const { context } = interruptible();
    expect(await abandonable(context, Promise.resolve(3))).toBe(3);
    await expect(abandonable(context, Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(context.abandoned).toBeUndefined();
  });

  it("is left a second after the signal where it goes on", async () => {
    const { context, interrupt } = interruptible();
    const left = abandonable(context, new Promise(() => {}));
    const began = performance.now();
    interrupt();
    await expect(left).rejects.toThrow("interrupted by SIGINT");
    expect(performance.now() - began).toBeGreaterThan(900);
    expect(context.abandoned).toBe(true);
  });

  it("may say something of its own within that second, and ends with 130 in either case", async () => {
    const { context, interrupt } = interruptible();
    const failing = abandonable(
      context,
      new Promise((_, reject) => setTimeout(() => reject(new Error("stopped")), 50)),
    );
    const ending = abandonable(context, new Promise((resolve) => setTimeout(() => resolve(1), 50)));
    interrupt();
    await expect(failing).rejects.toThrow("stopped");
    const error = await ending.catch((reason: unknown) => reason);
    expect(context.abandoned).toBeUndefined();
    expect(outcomeOf(error, { ...context, verbose: false })).toEqual({
      exitCode: 130,
      notes: ["interrupted by SIGINT; nothing was saved"],
    });
  });
});

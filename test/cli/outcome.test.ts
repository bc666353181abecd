import { CommanderError } from "commander";
import { describe, expect, it } from "vitest";
import { Interrupted } from "../../src/cli/interrupts.js";
import { outcomeOf } from "../../src/cli/outcome.js";
import { InputError, RunError } from "../../src/errors.js";

const context = { signal: new AbortController().signal, verbose: false };

describe("outcomeOf", () => {
  it("tells bad input from a failed run", () => {
    expect(outcomeOf(new InputError("f: expected a, got b"), context)).toEqual({
      exitCode: 2,
      notes: ["error: f: expected a, got b"],
    });
    expect(outcomeOf(new RunError("broke off"), context)).toEqual({
      exitCode: 1,
      notes: ["error: broke off"],
    });
    expect(outcomeOf(new CommanderError(1, "code", "text"), context).exitCode).toBe(2);
    expect(outcomeOf(new CommanderError(0, "commander.help", "text"), context).exitCode).toBe(0);
  });

  it("shows where an unexpected error came from only when asked to", () => {
    const error = new TypeError("x is not a function");
    expect(outcomeOf(error, context)).toEqual({
      exitCode: 1,
      notes: ["error: x is not a function (unexpected; --verbose shows where)"],
    });
    expect(outcomeOf(error, { ...context, verbose: true })).toEqual({
      exitCode: 1,
      notes: ["error: x is not a function", error.stack],
    });
  });

  it("takes every error of an interrupted run for the interrupt", () => {
    const signal = AbortSignal.abort(new Interrupted("SIGINT"));
    const abort = new DOMException("The operation was aborted", "AbortError");
    expect(outcomeOf(abort, { ...context, signal, saved: "half is in x" })).toEqual({
      exitCode: 130,
      notes: ["interrupted by SIGINT; half is in x"],
    });
    expect(
      outcomeOf(new RunError("run again"), {
        ...context,
        signal: AbortSignal.abort(new Interrupted("SIGTERM")),
      }),
    ).toEqual({ exitCode: 143, notes: ["interrupted by SIGTERM (run again); nothing was saved"] });
  });
});

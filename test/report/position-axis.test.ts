import { expect, it } from "vitest";
import { positionAxis } from "../../src/report/html/position-axis.js";

const PROMPTS = {
  length: 3,
  clean: ["a", "b", "c"],
  corrupted: ["a", "x", "c"],
  differing: [1],
  roles: { end: 2 },
  differingRoles: [],
};

it("puts positions that are counted from the end where they are, with their tokens", () => {
  const axis = positionAxis([-1, "*", 0, -2], PROMPTS);
  expect(axis.map(({ position }) => position)).toEqual([0, -2, -1, "*"]);
  expect(axis[1]).toMatchObject({ changed: true });
  expect(axis[1].lines[0]).toBe("▲ -2");
  expect(axis[2].lines[1]).toContain('"c"');
});

it("puts them behind all others where prompts have several lengths", () => {
  const axis = positionAxis([-1, "*", 4], undefined);
  expect(axis.map(({ position, lines }) => [position, lines])).toEqual([
    [4, ["4"]],
    [-1, ["-1"]],
    ["*", ["all positions"]],
  ]);
});

import { describe, expect, it } from "vitest";
import { checkEnds, checkTogether, endsOfLayers } from "../../../src/exact/paths/ends.js";
import { formatReceiver, parseReceiver } from "../../../src/exact/paths/receivers.js";
import { makeNodeSpace } from "../../../src/nodes/node-space.js";
import { TINY_CONFIGS } from "../../support/tiny-config.js";
import { tokenPair } from "../../support/token-pair.js";

const PAIRS = [tokenPair([1, 2, 3], [1, 4, 3], { end: 2 })];
const { plain, parallel, gated } = TINY_CONFIGS;

describe("receiver ids", () => {
  it.each([
    ["L3.q[1]@end", { layer: 3, site: "q", index: 1, position: "end" }],
    ["L2.k[0]@*", { layer: 2, site: "k", index: 0, position: "*" }],
    ["L0.v[11]@7", { layer: 0, site: "v", index: 11, position: 7 }],
    ["L4.mlp@7", { layer: 4, site: "mlpOut", position: 7 }],
    ["final", "final"],
  ])("%s, there and back", (id, receiver) => {
    expect(parseReceiver(id)).toEqual(receiver);
    expect(formatReceiver(parseReceiver(id))).toBe(id);
  });

  it.each([
    "L2.mlpOut@*",
    "L2.z[0]@1",
    "L2.q@1",
    "L2.mlp[0]@1",
    "L2.mlp",
    "final@3",
    "q[0]@1",
    "L2.attn@1",
    "",
  ])('is not "%s"', (id) => {
    expect(() => parseReceiver(id)).toThrow(
      `parseReceiver: expected a receiver such as "L3.q[1]@end", "L2.k[0]@*", "L2.v[0]@7", "L4.mlp@7" or "final", got "${id}"`,
    );
  });
});

describe("ends that cannot be", () => {
  it.each([
    [[], ["final"], "checkEnds: expected at least one sender, got none"],
    [["L0.z[0]@*"], [], "checkEnds: expected at least one receiver, got none"],
    [
      ["L0.q[0]@*"],
      ["final"],
      "checkEnds: expected a sender that writes to the residual stream of this model (residPre, z, attnOut, residMid, neuron, mlpOut, residPost), got L0.q[0]@*",
    ],
    [["L3.z[0]@*"], ["final"], "checkEnds: expected a sender in layers 0 to 2, got L3.z[0]@*"],
    [["L0.z[4]@*"], ["final"], "checkEnds: expected a head from 0 to 3, got L0.z[4]@*"],
    [["L0.neuron[10]@*"], ["final"], "checkEnds: expected a neuron from 0 to 9, got L0.neuron[10]@*"],
    [
      ["L0.z[0]@noun"],
      ["final"],
      "checkEnds: expected a position or role that some pair has, got noun in L0.z[0]@noun",
    ],
    [["L0.z[0]@*"], ["L7.mlp@*"], "checkEnds: expected a receiver in layers 0 to 2, got L7.mlp@*"],
    [["L0.z[0]@*"], ["L1.q[4]@*"], "checkEnds: expected a head from 0 to 3, got L1.q[4]@*"],
    [
      ["L0.z[0]@*"],
      ["L1.mlp@3"],
      "checkEnds: expected a position or role that some pair has, got 3 in L1.mlp@3",
    ],
  ])("%s -> %s", (senders, receivers, message) => {
    expect(() => checkEnds(plain, PAIRS, { senders, receivers })).toThrow(message);
  });

  it("kv-heads that a grouped model does not have, residMid in a parallel one", () => {
    expect(() => checkEnds(gated, PAIRS, { senders: ["L0.z[3]@*"], receivers: ["L1.k[2]@*"] })).toThrow(
      "checkEnds: expected a kvHead from 0 to 1, got L1.k[2]@*",
    );
    expect(() => checkEnds(parallel, PAIRS, { senders: ["L0.residMid@*"], receivers: ["final"] })).toThrow(
      "(residPre, z, attnOut, neuron, mlpOut, residPost), got L0.residMid@*",
    );
  });

  it("final together with others", () => {
    expect(() => checkTogether(["final", parseReceiver("L1.mlp@*")])).toThrow(
      "checkTogether: expected the receiver final alone, because it would undo what others do, got final, L1.mlp@*",
    );
    expect(() => checkTogether(["final"])).not.toThrow();
  });
});

describe("ends of a range of layers", () => {
  it("are every head and MLP as senders, every query, key, value and MLP and the final stream as receivers", () => {
    const { senders, receivers } = endsOfLayers(gated, { first: 1, last: 2 });
    expect(senders).toEqual(
      [1, 2].flatMap((l) => [...[0, 1, 2, 3].map((head) => `L${l}.z[${head}]@*`), `L${l}.mlpOut@*`]),
    );
    expect(receivers).toEqual([
      ...[1, 2].flatMap((l) => [
        ...[0, 1, 2, 3].map((head) => `L${l}.q[${head}]@*`),
        ...["k", "v"].flatMap((site) => [0, 1].map((head) => `L${l}.${site}[${head}]@*`)),
        `L${l}.mlp@*`,
      ]),
      "final",
    ]);
    expect(() => checkEnds(gated, PAIRS, { senders, receivers })).not.toThrow();
  });

  it("are at the given positions", () => {
    const { senders, receivers } = endsOfLayers(plain, { first: 0, last: 0 }, ["end", 1]);
    expect(senders.filter((id) => id.includes("mlp"))).toEqual(["L0.mlpOut@end", "L0.mlpOut@1"]);
    expect(receivers.filter((id) => id.includes("mlp"))).toEqual(["L0.mlp@end", "L0.mlp@1"]);
  });

  it.each([
    [2, 1],
    [-1, 0],
    [0, 3],
    [0.5, 1],
  ])("%f to %f is none", (first, last) => {
    expect(() => endsOfLayers(plain, { first, last })).toThrow(
      `endsOfLayers: expected layers first-last from 0 to 2, got ${first}-${last}`,
    );
  });
});

it("senders may be nodes of a space", () => {
  const space = makeNodeSpace(plain, ["z"], ["*"]);
  const { senders } = checkEnds(plain, PAIRS, { senders: { space, nodes: [5] }, receivers: ["final"] });
  expect(senders).toEqual([{ layer: 1, site: "z", index: 1, position: "*" }]);
});

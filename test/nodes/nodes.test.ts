import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SITES, siteIndex, sitesOf } from "../../src/model/sites.js";
import { formatNodeId, parseNodeId } from "../../src/nodes/node-id.js";
import { groupOf, indexOfNode, makeNodeSpace, nodeAt, parseSites } from "../../src/nodes/node-space.js";
import { parsePositionMode, positionLabels, spanInPair } from "../../src/nodes/positions.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";

describe("node ids", () => {
  it.each([
    ["L3.z[5]@12", { layer: 3, site: "z", index: 5, position: 12 }],
    ["L2.k[1]@s2", { layer: 2, site: "k", index: 1, position: "s2" }],
    ["L4.neuron[1023]@7", { layer: 4, site: "neuron", index: 1023, position: 7 }],
    ["L4.mlpOut@*", { layer: 4, site: "mlpOut", position: "*" }],
    ["L0.residPre@-1", { layer: 0, site: "residPre", position: -1 }],
  ])("%s", (id, node) => {
    expect(parseNodeId(id)).toEqual(node);
    expect(formatNodeId(parseNodeId(id))).toBe(id);
  });

  it("round-trip for every node", () => {
    const positions = fc.oneof(
      fc.integer({ min: -100_000, max: 100_000 }),
      fc.constant("*"),
      fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_-]{0,9}$/),
    );
    const nodes = fc
      .tuple(fc.constantFrom(...SITES), fc.nat(500), fc.nat(20_000), positions)
      .map(([site, layer, index, position]) => ({
        site,
        layer,
        ...(siteIndex(site) !== "none" && { index }),
        position,
      }));
    fc.assert(
      fc.property(nodes, (node) => {
        expect(parseNodeId(formatNodeId(node))).toEqual(node);
      }),
    );
  });

  it.each([
    ["L3.z[5]", 'parseNodeId: expected a node id such as "L3.z[5]@12"'],
    ["3.z[5]@1", "parseNodeId: expected a node id"],
    ["L3.z[5]@1.5", "parseNodeId: expected a node id"],
    ["L3.z[5]@-0", "parseNodeId: expected a node id"],
    ["L3.z[5]@-", "parseNodeId: expected a node id"],
    ["L3.heads[5]@1", "parseNodeId: expected one of the sites residPre, q, k, v, z,"],
    ["L3.z@1", 'parseNodeId: expected a head index in brackets after "z", got "L3.z@1"'],
    ["L3.v@1", 'parseNodeId: expected a kvHead index in brackets after "v", got "L3.v@1"'],
    ["L3.mlpOut[2]@1", 'parseNodeId: expected no index after "mlpOut", got "L3.mlpOut[2]@1"'],
  ])("%s is refused", (id, message) => {
    expect(() => parseNodeId(id)).toThrow(message);
  });
});

describe("positions", () => {
  const pairs = [
    { clean: [1, 2, 3], roles: new Map([["subject", 1]]) },
    {
      clean: [1, 2, 3, 4, 5],
      roles: new Map([
        ["end", 4],
        ["subject", 2],
      ]),
    },
  ];

  it("count from each pair's end where they are negative", () => {
    expect(pairs.map((pair) => spanInPair(-1, pair))).toEqual([
      { first: 2, end: 3 },
      { first: 4, end: 5 },
    ]);
    expect(pairs.map((pair) => spanInPair(-4, pair))).toEqual([undefined, { first: 1, end: 2 }]);
  });

  it("each: up to the longest prompt; roles: by first appearance; all: one", () => {
    expect(positionLabels("each", pairs)).toEqual([0, 1, 2, 3, 4]);
    expect(positionLabels("roles", pairs)).toEqual(["subject", "end"]);
    expect(positionLabels("all", pairs)).toEqual(["*"]);
    expect(() => positionLabels("roles", [{ clean: [1], roles: new Map() }])).toThrow(
      'positionLabels: expected pairs with "roles" for positions "roles", got none',
    );
    expect(() => parsePositionMode("some")).toThrow(
      'parsePositionMode: expected one of each, roles, all, got "some"',
    );
  });

  it("a label covers a span of a pair, or none", () => {
    expect(spanInPair(2, pairs[0])).toEqual({ first: 2, end: 3 });
    expect(spanInPair(3, pairs[0])).toBeUndefined();
    expect(spanInPair("subject", pairs[1])).toEqual({ first: 2, end: 3 });
    expect(spanInPair("end", pairs[0])).toBeUndefined();
    expect(spanInPair("*", pairs[1])).toEqual({ first: 0, end: 5 });
  });
});

describe("node space", () => {
  it("lays out groups by layer and order of computation, positions outside indices", () => {
    // plain: 4 heads; at 3 positions z has 12 nodes and mlpOut 3 in each layer.
    const space = makeNodeSpace(TINY_CONFIGS.plain, ["mlpOut", "z"], [0, 1, 2]);
    expect(space.size).toBe(3 * (12 + 3));
    expect(space.groups.slice(0, 3)).toEqual([
      { site: "z", layer: 0, indices: 4, offset: 0 },
      { site: "mlpOut", layer: 0, indices: 1, offset: 12 },
      { site: "z", layer: 1, indices: 4, offset: 15 },
    ]);
    expect(nodeAt(space, 15 + 2 * 4 + 3)).toEqual({ layer: 1, site: "z", index: 3, position: 2 });
  });

  it.each(["plain", "parallel", "gated"] as const)("%s: every number is one node and back", (kind) => {
    const config = TINY_CONFIGS[kind];
    const space = makeNodeSpace(config, sitesOf(config), [0, "end", "*"]);
    const ids = new Set<string>();
    for (let node = 0; node < space.size; node++) {
      const parts = nodeAt(space, node);
      ids.add(formatNodeId(parts));
      expect(indexOfNode(space, parts)).toBe(node);
    }
    expect(ids.size).toBe(space.size);
  });

  it("refuses nodes and sites that are not there", () => {
    const space = makeNodeSpace(TINY_CONFIGS.gated, ["k"], [0, 1]);
    const refuse = (id: string, what: string) =>
      expect(() => indexOfNode(space, parseNodeId(id))).toThrow(
        `indexOfNode: expected a node of this model, these sites and these pairs, got ${id} (no ${what})`,
      );
    refuse("L3.k[0]@0", "layer 3 with site k");
    refuse("L0.z[0]@0", "layer 0 with site z");
    refuse("L0.k[2]@0", "index 2");
    refuse("L0.k[0]@2", "position 2");
    expect(() => groupOf(space, space.size)).toThrow("groupOf: expected a node between 0 and 11, got 12");
    expect(() => makeNodeSpace(TINY_CONFIGS.parallel, ["residMid"], [0])).toThrow(
      "makeNodeSpace: expected sites of a test model with parallel residual",
    );
  });

  it("parses selections", () => {
    expect(parseSites("z, mlpOut", TINY_CONFIGS.plain)).toEqual(["z", "mlpOut"]);
    expect(parseSites("all", TINY_CONFIGS.parallel)).not.toContain("residMid");
    expect(() => parseSites("z,heads", TINY_CONFIGS.plain)).toThrow(
      'parseSites: expected "all" or sites among residPre, q, k, v, z, attnOut, residMid, neuron, mlpOut, residPost, got "heads"',
    );
  });
});

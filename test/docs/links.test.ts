/** Links between the pages lead somewhere. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { projectRoot } from "../support/child-process.js";

const docs = readdirSync(join(projectRoot, "docs")).filter((name) => name.endsWith(".md"));
const pages = ["README.md", ...docs.map((name) => join("docs", name))];

/** As GitHub makes it: lower case, spaces to dashes, no other signs. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}

function anchorsOf(page: string): Set<string> {
  const text = readFileSync(join(projectRoot, page), "utf8").replaceAll(/^```[\s\S]*?^```/gm, "");
  return new Set([...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => anchorOf(heading)));
}

describe("links", () => {
  it.each(pages)("of %s", (page) => {
    const text = readFileSync(join(projectRoot, page), "utf8");
    const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
    const broken = targets.filter((target) => {
      if (/^https?:/.test(target)) return false;
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? page : join(dirname(page), path);
      if (!existsSync(join(projectRoot, file))) return true;
      return anchor !== undefined && !anchorsOf(file).has(anchor);
    });
    expect(broken).toEqual([]);
  });

  it("the index of errors lists its headings in order", () => {
    const text = readFileSync(join(projectRoot, "docs/errors.md"), "utf8");
    const headings = [...text.matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);
    const [listed = ""] = /^\[Model\][\s\S]*?\n\n/m.exec(text) ?? [];
    expect([...listed.matchAll(/\[([^\]]+)\]/g)].map(([, heading]) => heading)).toEqual(headings);
  });
});

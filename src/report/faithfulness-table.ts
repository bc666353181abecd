/** @file A faithfulness curve as a table for a terminal. */

import type { FaithfulnessPoint } from "../exact/faithfulness.js";
import { type Column, tableOf } from "./plain-table.js";
import { decimalsFor, fixed, withSign } from "./ranked-table.js";

const FAITHFULNESS_DECIMALS = 3;
const SHARE_DECIMALS = 2;

/** One line per k: both curves, each with its metric and f. A column without any value is left out. */
export function faithfulnessTable(points: readonly FaithfulnessPoint[]): string {
  const decimals = decimalsFor(points.flatMap(({ keep, remove }) => [keep.metric, remove.metric]));
  const plain = (value: number | undefined, digits: number) =>
    value === undefined ? undefined : fixed(value, digits);
  const curve = (name: "keep" | "remove") => [
    column(name, (point) => withSign(point[name].metric, decimals)),
    column("± se", (point) => plain(point[name].se, decimals)),
    column("f", (point) => plain(point[name].faithfulness, FAITHFULNESS_DECIMALS)),
    column("± se", (point) => plain(point[name].faithfulnessSe, FAITHFULNESS_DECIMALS)),
  ];
  const columns = [
    column("k", ({ k }) => String(k)),
    column("share", ({ share }) => `${fixed(share * 100, SHARE_DECIMALS)} %`),
    ...curve("keep"),
    ...curve("remove"),
    column("negative", ({ negative }) => negative?.toString()),
  ];
  return tableOf(columns, points);
}

function column(heading: string, cell: Column<FaithfulnessPoint>["cell"]): Column<FaithfulnessPoint> {
  return { heading, align: "right", cell };
}

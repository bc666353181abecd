/** @file `atp faithfulness`: how much of the behaviour the first k nodes of a ranked list carry. */

import { writeJson } from "../atomic-file.js";
import { checkGrid, type Faithfulness, faithfulness, type OrderedNodes } from "../exact/faithfulness.js";
import { writeFaithfulnessCsv } from "../report/faithfulness-csv.js";
import { faithfulnessTable } from "../report/faithfulness-table.js";
import { checkInputFile } from "../results/make-folder.js";
import { questionId } from "../results/question.js";
import { type CliContext, printResult } from "./context.js";
import { type GivenList, givenList } from "./given-list.js";
import type { FaithfulnessCommandOptions } from "./options.js";
import { withRun } from "./prepare-run.js";
import { heading, labelled, type RunHeading } from "./print-run.js";
import { readRankedOrder } from "./ranked-order.js";
import { reportOfRun } from "./report-command.js";
import { describeRun } from "./save-run.js";
import { withSource } from "./source.js";

const AREA_DECIMALS = 3;

/** Negative nodes that are named on the terminal; the JSON document has all. */
const SHOWN_NEGATIVE = 8;

export async function faithfulnessCommand(
  options: FaithfulnessCommandOptions,
  context: CliContext,
): Promise<void> {
  const { from, grid, direction, batchSize } = options;
  await checkInputFile("--from", from);
  await withRun(
    "faithfulness",
    options,
    context,
    async (asked): Promise<{ readonly list: OrderedNodes; readonly given: GivenList }> => {
      const { run, ...list } = await readRankedOrder(from, asked.opened.config, asked.pairs);
      if (grid) checkGrid(grid, list.order.length);
      const given = await givenList(asked, from, run, "its negative nodes are not marked");
      await asked.results.checkBeside(questionId(asked.question), run);
      // The signs of its effects are told where they are of the same metric on the same pairs.
      const { differs } = given.reference;
      return { list: differs === undefined ? list : { space: list.space, order: list.order }, given };
    },
    (_prepared, { list: { space } }) => ({ space, patches: { sets: {} } }),
    (run, { list, given }) => {
      const { results } = run;
      const sites = [...new Set(list.space.groups.map(({ site }) => site))];
      return withSource(run, sites, async ({ activationBudgetBytes, source, onProgress, signal }) => {
        const { baseMetric, sourceMetric, ...curve } = await faithfulness(run.model, run.pairs, list, {
          metric: run.metric,
          direction,
          batchSize,
          ...(grid && { grid }),
          ...(activationBudgetBytes && { activationBudgetBytes }),
          ...(source && { source }),
          ...(onProgress && { onProgress }),
          ...(signal && { signal }),
        });
        run.clock.lap("verify");
        run.progress.finish();
        const { load, verify: patch } = run.clock.seconds;
        const document = {
          ...describeRun(run, { base: baseMetric, source: sourceMetric }),
          list: given.reference,
          ...curve,
          seconds: { load, patch },
        };
        const files = { csv: results.path("curvePoints"), json: results.path("curve") };
        await results.beginBeside("curve");
        await writeFaithfulnessCsv(files.csv, curve.points, { run: run.run });
        await writeJson(files.json, document);
        const written = { ...files, ...(await reportOfRun(options)) };
        printResult(
          options.json
            ? JSON.stringify({ ...document, files: written }, undefined, 2)
            : [
                heading(document),
                "",
                faithfulnessTable(curve.points),
                "",
                footing(document, Object.values(written)),
              ].join("\n"),
        );
      });
    },
  );
}

type CurveDocument = RunHeading &
  Omit<Faithfulness, "baseMetric" | "sourceMetric"> & {
    readonly seconds: { readonly load: number; readonly patch: number };
  };

function footing(
  { keepArea, removeArea, allPatched, nodes, verified, forwardEquivalents, seconds }: CurveDocument,
  files: readonly string[],
): string {
  const areas =
    keepArea && removeArea
      ? [
          `over k/n: keep ${keepArea.share.toFixed(AREA_DECIMALS)}, remove ${removeArea.share.toFixed(AREA_DECIMALS)}`,
          `over ln(1 + k)/ln(1 + n): keep ${keepArea.logShare.toFixed(AREA_DECIMALS)}, remove ${removeArea.logShare.toFixed(AREA_DECIMALS)}`,
        ].join("; ")
      : "none: base and source runs have the same mean metric";
  const f = allPatched.faithfulness;
  return labelled([
    ["area", areas],
    [
      "nodes",
      `${nodes.ranked} ranked of ${nodes.space}${f === undefined ? "" : `; all ${nodes.space} patched: f ${f.toFixed(AREA_DECIMALS)}`}`,
    ],
    ...(verified ? [["negative", negativeText(verified)] as const] : []),
    [
      "cost",
      `load ${seconds.load.toFixed(2)} s, ${forwardEquivalents.toFixed(1)} forward equivalents in ${seconds.patch.toFixed(2)} s`,
    ],
    ["files", files.join(", ")],
  ]);
}

function negativeText(verified: NonNullable<Faithfulness["verified"]>): string {
  const ids = verified.filter(({ negative }) => negative).map(({ node }) => node);
  const more = ids.length > SHOWN_NEGATIVE ? `, … (${ids.length})` : "";
  const shown = ids.length === 0 ? "none" : ids.slice(0, SHOWN_NEGATIVE).join(", ") + more;
  return `${shown}, of ${verified.length} verified`;
}

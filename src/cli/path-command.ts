/** @file `atp path`: effects of senders through chosen receivers, together or one by one. */

import { writeJson } from "../atomic-file.js";
import { InputError } from "../errors.js";
import { meanOf } from "../exact/pair-statistics.js";
import { checkEnds, checkTogether, endsOfLayers } from "../exact/paths/ends.js";
import { checkPathMetric, directPaths, type PathEffects, pathEffects } from "../exact/paths/path-effects.js";
import { pathExists } from "../exact/paths/plan.js";
import { formatReceiver } from "../exact/paths/receivers.js";
import { sitesOf } from "../model/sites.js";
import { formatNodeId, type Node, parseNodeId } from "../nodes/node-id.js";
import { makeNodeSpace } from "../nodes/node-space.js";
import { positionLabels } from "../nodes/positions.js";
import { type PathRow, pathRows } from "../report/path-rows.js";
import { writePathsCsv } from "../report/paths-csv.js";
import { pathsTable } from "../report/paths-table.js";
import { questionId } from "../results/question.js";
import { type CliContext, printResult } from "./context.js";
import type { PathCommandOptions } from "./options.js";
import { type PreparedRun, type StartedRun, withRun } from "./prepare-run.js";
import { heading, labelled } from "./print-run.js";
import { describeRun, overPairs, SHOWN_ROWS } from "./save-run.js";
import { withSource } from "./source.js";

/** The ids of a run's ends, each once. */
interface Ends {
  readonly senders: readonly string[];
  readonly receivers: readonly string[];
}

export async function pathCommand(options: PathCommandOptions, context: CliContext): Promise<void> {
  checkOptions(options);
  const { direct = false, freezeNorm = false, direction, batchSize } = options;
  await withRun(
    "path",
    options,
    context,
    async (asked) => {
      const ends = endsOf(asked, options);
      await asked.results.checkBeside(questionId(asked.question));
      return ends;
    },
    ({ opened, pairs }) => ({
      space: makeNodeSpace(opened.config, sitesOf(opened.config), positionLabels("all", pairs)),
      patches: { sets: {} },
    }),
    (run, { senders, receivers }) => {
      const sites = [...new Set(senders.map((id) => parseNodeId(id).site))];
      return withSource(run, sites, async ({ activationBudgetBytes, source, onProgress, signal }) => {
        const heard = direct ? receivers : [receivers.join(" ")];
        const ends = senders.flatMap((sender) => heard.map((receiver) => ({ sender, receiver })));
        const runPaths = direct ? directPaths : pathEffects;
        const result = await runPaths(run.model, run.pairs, {
          senders,
          receivers,
          metric: run.metric,
          direction,
          batchSize,
          freezeNorm,
          ...(activationBudgetBytes && { activationBudgetBytes }),
          ...(source && { source }),
          ...(onProgress && { onProgress }),
          ...(signal && { signal }),
          async onInterrupted(soFar, pairs) {
            const over = overPairs(run, pairs.length);
            const rows = pathRows(soFar, ends);
            const interrupted = `effects of ${rows.length} of ${ends.length} paths${over}`;
            const { files } = await savePaths({ ...run, pairs }, soFar, rows, interrupted);
            context.saved = `${interrupted}, are in ${files.csv}`;
          },
        });
        run.clock.lap("verify");
        run.progress.finish();
        const { document, files } = await savePaths(run, result, pathRows(result, ends));
        const { paths, forwardEquivalents, seconds } = document;
        if (options.json) {
          printResult(JSON.stringify({ ...document, files }, undefined, 2));
          return;
        }
        const footing = labelled([
          [
            "paths",
            `${paths.length}${freezeNorm ? ", the receivers' norms with the scale of the base run" : ""}`,
          ],
          [
            "cost",
            `load ${seconds.load.toFixed(2)} s, ${forwardEquivalents.toFixed(1)} forward equivalents in ${seconds.patch.toFixed(2)} s`,
          ],
          ["files", `${files.csv}, ${files.json}`],
        ]);
        const table = pathsTable(paths.slice(0, SHOWN_ROWS), run.pairs.length);
        printResult([heading(document), "", table, "", footing].join("\n"));
      });
    },
  );
}

/** Writes paths.csv, then paths.json, which says of which run they are. */
async function savePaths(
  run: StartedRun,
  effects: PathEffects,
  paths: readonly PathRow[],
  interrupted?: string,
) {
  const { load, verify: patch } = run.clock.seconds;
  const document = {
    ...describeRun(run, { base: meanOf(effects.baseMetric), source: meanOf(effects.sourceMetric) }),
    ...(interrupted !== undefined && { interrupted: { text: interrupted } }),
    forwardEquivalents: effects.forwardEquivalents,
    seconds: { load, patch },
    paths,
  };
  const files = { csv: run.results.path("pathRows"), json: run.results.path("paths") };
  await run.results.beginBeside("paths");
  await writePathsCsv(files.csv, paths, { run: run.run });
  await writeJson(files.json, document);
  return { document, files };
}

/** What is wrong whatever the model and the pairs are. */
function checkOptions({ sender, receiver, direct, layers }: PathCommandOptions): void {
  if (layers && !direct) throw new InputError("--layers: expected --direct with it, got --layers alone");
  if (layers && sender && receiver) {
    throw new InputError("--layers: expected --sender or --receiver to be left out, got both");
  }
  if (direct || (sender && receiver)) return;
  const missing = [...(sender ? [] : ["--sender"]), ...(receiver ? [] : ["--receiver"])];
  throw new InputError(
    `path: expected --sender and --receiver, or --direct, got no ${missing.join(" and no ")}`,
  );
}

/** @throws InputError for an internal metric, and for ends that model or pairs do not have, or between which there is no path */
function endsOf({ opened: { config }, pairs, metric }: PreparedRun, options: PathCommandOptions): Ends {
  checkPathMetric(metric);
  const { sender, receiver, direct, layers = { first: 0, last: config.layers - 1 } } = options;
  const all = direct ? endsOfLayers(config, layers) : { senders: [], receivers: [] };
  const { senders, receivers } = checkEnds(config, pairs, {
    senders: [...new Set(sender ?? all.senders)],
    receivers: [...new Set(receiver ?? all.receivers)],
  });
  if (!direct) checkTogether(receivers);
  const ids = { senders: senders.map(formatNodeId), receivers: receivers.map(formatReceiver) };
  const isHeard = (node: Node) =>
    direct
      ? receivers.some((receiver) => pathExists(config, pairs, { sender: node, receivers: [receiver] }))
      : pathExists(config, pairs, { sender: node, receivers });
  const unheard = senders.filter((node) => !isHeard(node));
  const wrong = direct ? unheard.length === senders.length : unheard.length > 0;
  if (wrong) {
    throw new InputError(
      `path: expected receivers that read behind every sender, at a position of the sender's, got none for ${formatNodeId(unheard[0])} among ${ids.receivers.join(", ")}`,
    );
  }
  return ids;
}

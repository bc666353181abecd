/** @file `atp plan`: what a run will cost, and how its memory would be divided. No weight is kept. */

import { formatBytes } from "../byte-size.js";
import { refusalOf } from "../plan/check-plan.js";
import { measureMachine } from "../plan/measure-machine.js";
import { planRun } from "../plan/plan-run.js";
import { divisionText, planTables } from "../plan/plan-text.js";
import { secondsOf } from "../plan/time.js";
import { type CliContext, printResult } from "./context.js";
import { checkSelection } from "./estimate-command.js";
import { checkCertificate, localizeWork } from "./localize-command.js";
import { budgetsOf, type PlannedWork, questionOf } from "./memory-plan.js";
import type { PlanCommandOptions } from "./options.js";
import { engineOf, type PreparedRun, prepareRun } from "./prepare-run.js";
import { labelled } from "./print-run.js";
import { sweepWork } from "./sweep-command.js";

export async function planCommand(options: PlanCommandOptions, context: CliContext): Promise<void> {
  const prepared = await prepareRun("plan", options, context);
  try {
    const work = workOf(prepared, options);
    const engine = await engineOf(options);
    const { opened, pairs } = prepared;
    const question = questionOf(prepared, work, engine.backend);
    const longest = pairs.reduce((most, { clean }) => Math.max(most, clean.length), 0);
    const tokens = Math.min(options.batchSize, pairs.length) * longest;
    const rates = await measureMachine(opened.config, tokens, opened.checkpoint);
    const budgets = budgetsOf(options);
    const plan = planRun(question, budgets);
    const seconds = secondsOf(plan, rates);
    const parameters = opened.checkpoint.stored.reduce(
      (sum, { shape }) => sum + shape.reduce((size, axis) => size * axis, 1),
      0,
    );
    const refusal = plan.fits ? undefined : refusalOf(question, budgets, plan, "--memory");
    if (options.json) {
      const model = {
        name: opened.name,
        parameters,
        storedBytes: question.storedBytes,
        float32Bytes: 4 * parameters,
      };
      const document = {
        command: options.command,
        model,
        pairs: pairs.length,
        nodes: work.space.size,
        engine,
        rates,
        ...plan,
        seconds,
        ...(refusal && { refusal: refusal.message }),
      };
      printResult(JSON.stringify(document, undefined, 2));
    } else {
      const number = (value: number) => value.toLocaleString("en-US");
      printResult(
        [
          labelled([
            [
              "model",
              `${opened.name}: ${number(parameters)} parameters, ${formatBytes(question.storedBytes)} stored, ${formatBytes(4 * parameters)} in float32`,
            ],
            ["run", `${options.command}: ${number(pairs.length)} pairs, ${number(work.space.size)} nodes`],
            [
              "machine",
              `${engine.backend} (${engine.device}): ${(rates.flops / 1e9).toFixed(0)} GFLOP/s${rates.readBytes === undefined ? "" : `, reads ${(rates.readBytes / 1e6).toFixed(0)} MB/s`}`,
            ],
          ]),
          "",
          planTables(plan, seconds),
          "",
          labelled([
            ...(plan.fits ? [["plan", divisionText(plan)] as const] : []),
            ["smallest", `${formatBytes(plan.smallestBytes)} is enough to run at all`],
            ["all", `${formatBytes(plan.inMemoryBytes)} reads no layer twice`],
          ]),
        ].join("\n"),
      );
    }
    if (refusal) throw refusal;
  } finally {
    prepared.progress.finish();
    await prepared.opened.close();
  }
}

function workOf(prepared: PreparedRun, options: PlanCommandOptions): PlannedWork {
  if (options.command === "sweep") return sweepWork(prepared, options);
  checkSelection(prepared, options);
  checkCertificate(prepared, options);
  const { patches, certificate, ...estimate } = localizeWork(prepared, options);
  if (options.command === "estimate") return estimate;
  return { ...estimate, ...(patches && { patches }), ...(certificate && { certificate }) };
}

/** @file The commands and their options, as commander sees them. */

import { Command } from "commander";
import { packageVersion } from "../version.js";
import { batchRunCommand } from "./batch-run-command.js";
import { batchStatusCommand } from "./batch-status-command.js";
import { type CliContext, printNote } from "./context.js";
import { estimateCommand } from "./estimate-command.js";
import { faithfulnessCommand } from "./faithfulness-command.js";
import {
  BATCH_HELP,
  ESTIMATE_HELP,
  FAITHFULNESS_HELP,
  INFO_HELP,
  LOCALIZE_HELP,
  PATH_HELP,
  PLAN_HELP,
  PROGRAM_HELP,
  QUEUE_HELP,
  REPORT_HELP,
  SWEEP_HELP,
  VERIFY_HELP,
} from "./help.js";
import { infoCommand } from "./info-command.js";
import { abandonable } from "./interrupts.js";
import { localizeCommand } from "./localize-command.js";
import {
  addAlsoMetricOption,
  addCertificateOptions,
  addCurveOptions,
  addInputOptions,
  addMethodOption,
  addNodeChoiceOptions,
  addPageOption,
  addPathOptions,
  addPlannedCommandOption,
  addQueueOptions,
  addReportOptions,
  addRunOptions,
  addSelectionOptions,
  addSourceOption,
  addSvgOption,
  addTopKOption,
  addWindowOption,
  addWorkerOptions,
  addWorkersOption,
  type BatchRunCommandOptions,
  type BatchStatusCommandOptions,
  type BatchSubmitCommandOptions,
  type EstimateCommandOptions,
  type FaithfulnessCommandOptions,
  type InfoCommandOptions,
  type LocalizeCommandOptions,
  type PathCommandOptions,
  type PlanCommandOptions,
  type ReportCommandOptions,
  type SweepCommandOptions,
  type VerifyCommandOptions,
  type WorkerCommandOptions,
} from "./options.js";
import { pathCommand } from "./path-command.js";
import { planCommand } from "./plan-command.js";
import { reportCommand } from "./report-command.js";
import { sweepCommand } from "./sweep-command.js";
import { verifyCommand } from "./verify-command.js";

/**
 * The whole command line. Parsing it runs a command; what goes wrong is thrown. Commands that speak to a queue are loaded when
 * they are called: BullMQ takes a quarter of a second to load.
 */
export function makeProgram(context: CliContext): Command {
  const program = new Command("atp")
    .description("Find which components of a language model carry a behaviour.")
    .version(packageVersion())
    .exitOverride()
    .hook("preAction", (_program, command) => {
      context.verbose = command.opts().verbose === true;
    })
    .configureOutput({ outputError: (text) => printNote(text.trim().replaceAll(/\n+/g, " ")) })
    .addHelpText("after", PROGRAM_HELP);

  const info = program
    .command("info")
    .description("what a model is: sizes, sites and nodes, tokenizer; no weights are read")
    .argument("<model>", "folder with config.json and safetensors, GGUF file, or Hugging Face id")
    .action((model: string, options: InfoCommandOptions) =>
      abandonable(context, infoCommand(model, options, context)),
    );
  addReportOptions(info).addHelpText("after", INFO_HELP);

  const estimate = program
    .command("estimate")
    .description("estimate the effects of all selected nodes by attribution patching")
    .action((options: EstimateCommandOptions) => estimateCommand(options, context));
  addReportOptions(
    addPageOption(
      addRunOptions(addSelectionOptions(addMethodOption(addSourceOption(addInputOptions(estimate))))),
    ),
  ).addHelpText("after", ESTIMATE_HELP);

  const localize = program
    .command("localize")
    .description("estimate all selected nodes, verify the best by exact patching, bound the others")
    .action((options: LocalizeCommandOptions) => localizeCommand(options, context));
  addReportOptions(
    addPageOption(
      addRunOptions(
        addCertificateOptions(
          addTopKOption(addSelectionOptions(addMethodOption(addSourceOption(addInputOptions(localize))))),
        ),
      ),
    ),
  ).addHelpText("after", LOCALIZE_HELP);

  const plan = program
    .command("plan")
    .description("what a run will cost in time, reads and memory, before it is made; takes its options")
    .action((options: PlanCommandOptions) => abandonable(context, planCommand(options, context)));
  addReportOptions(
    addRunOptions(
      addPlannedCommandOption(
        addCertificateOptions(
          addTopKOption(addSelectionOptions(addMethodOption(addSourceOption(addInputOptions(plan))))),
        ),
      ),
      "the run's results",
    ),
  ).addHelpText("after", PLAN_HELP);

  const verify = program
    .command("verify")
    .description("exact effects of chosen nodes: of --node, and of the first nodes of --from")
    .action((options: VerifyCommandOptions) => verifyCommand(options, context));
  addReportOptions(
    addPageOption(
      addRunOptions(addNodeChoiceOptions(addSourceOption(addAlsoMetricOption(addInputOptions(verify))))),
    ),
  ).addHelpText("after", VERIFY_HELP);

  const sweep = program
    .command("sweep")
    .description("exact effects of all selected nodes, or of windows of neighbouring ones")
    .action((options: SweepCommandOptions) => sweepCommand(options, context));
  addReportOptions(
    addPageOption(
      addRunOptions(
        addWindowOption(addSelectionOptions(addSourceOption(addAlsoMetricOption(addInputOptions(sweep))))),
        "ranked.csv (or windows.csv), metrics.csv and summary.json",
      ),
    ),
  ).addHelpText("after", SWEEP_HELP);

  const faithfulness = program
    .command("faithfulness")
    .description("how much of the behaviour the first k nodes of a ranked list carry, for a grid of k")
    .action((options: FaithfulnessCommandOptions) => faithfulnessCommand(options, context));
  addReportOptions(
    addPageOption(
      addRunOptions(
        addCurveOptions(addSourceOption(addInputOptions(faithfulness))),
        "faithfulness.csv and faithfulness.json",
      ),
    ),
  ).addHelpText("after", FAITHFULNESS_HELP);

  const path = program
    .command("path")
    .description("exact effects of senders through chosen receivers only (path patching)")
    .action((options: PathCommandOptions) => pathCommand(options, context));
  addReportOptions(
    addRunOptions(addPathOptions(addSourceOption(addInputOptions(path))), "paths.csv and paths.json"),
  ).addHelpText("after", PATH_HELP);

  const report = program
    .command("report")
    .description("the results in a folder as one page, report.html, and as figures")
    .argument("<folder>", "--out of an earlier run")
    .action((folder: string, options: ReportCommandOptions) =>
      abandonable(context, reportCommand(folder, options, context)),
    );
  addReportOptions(addSvgOption(report)).addHelpText("after", REPORT_HELP);

  const batch = program.command("batch").description("jobs in shards that survive being killed");
  const batchRun = batch
    .command("run")
    .description("run a job in processes of this machine, or go on where it was")
    .argument("<job.json>", "what to do (format below)")
    .action((job: string, options: BatchRunCommandOptions) => batchRunCommand(job, options, context));
  addReportOptions(addPageOption(addWorkersOption(batchRun))).addHelpText("after", BATCH_HELP);
  const batchStatus = batch
    .command("status")
    .description("how far a job is: shards, rate, time left, failures")
    .argument("<job.json>", "the job")
    .action((job: string, options: BatchStatusCommandOptions) =>
      abandonable(context, batchStatusCommand(job, options, context)),
    );
  addReportOptions(addQueueOptions(batchStatus, { mandatory: false }));
  const batchSubmit = batch
    .command("submit")
    .description("run a job whose shards are made by workers behind a queue, or go on where it was")
    .argument("<job.json>", "what to do (format: atp batch run --help)")
    .action(async (job: string, options: BatchSubmitCommandOptions) => {
      const { batchSubmitCommand } = await import("./batch-submit-command.js");
      await batchSubmitCommand(job, options, context);
    });
  addReportOptions(addPageOption(addQueueOptions(batchSubmit, { mandatory: true }))).addHelpText(
    "after",
    QUEUE_HELP,
  );

  const worker = program
    .command("worker")
    .description("make shards of jobs that were submitted to a queue; one process per device")
    .action(async (options: WorkerCommandOptions) => {
      const { workerCommand } = await import("./worker-command.js");
      await workerCommand(options, context);
    });
  addWorkerOptions(addQueueOptions(worker, { mandatory: true })).addHelpText("after", QUEUE_HELP);
  return program;
}

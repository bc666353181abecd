/** @file The commands and their options, as commander sees them. */

import { Command } from "commander";
import { type CliContext, printNote } from "./context.js";
import { estimateCommand } from "./estimate-command.js";
import { faithfulnessCommand } from "./faithfulness-command.js";
import {
  ESTIMATE_HELP,
  FAITHFULNESS_HELP,
  INFO_HELP,
  LOCALIZE_HELP,
  PATH_HELP,
  PROGRAM_HELP,
  SWEEP_HELP,
  VERIFY_HELP,
} from "./help.js";
import { infoCommand } from "./info-command.js";
import { localizeCommand } from "./localize-command.js";
import {
  addAlsoMetricOption,
  addCertificateOptions,
  addCurveOptions,
  addInputOptions,
  addMethodOption,
  addNodeChoiceOptions,
  addPathOptions,
  addReportOptions,
  addRunOptions,
  addSelectionOptions,
  addSourceOption,
  addTopKOption,
  addWindowOption,
  type EstimateCommandOptions,
  type FaithfulnessCommandOptions,
  type InfoCommandOptions,
  type LocalizeCommandOptions,
  type PathCommandOptions,
  type SweepCommandOptions,
  type VerifyCommandOptions,
} from "./options.js";
import { pathCommand } from "./path-command.js";
import { sweepCommand } from "./sweep-command.js";
import { verifyCommand } from "./verify-command.js";
import { packageVersion } from "./version.js";

/** The whole command line. Parsing it runs a command; what goes wrong is thrown. */
export function makeProgram(context: CliContext): Command {
  const program = new Command("atp")
    .description("Find which components of a language model carry a behaviour.")
    .version(packageVersion())
    .exitOverride()
    .configureOutput({ outputError: (text) => printNote(text.trim().replaceAll(/\n+/g, " ")) })
    .addHelpText("after", PROGRAM_HELP);

  const info = program
    .command("info")
    .description("what a model is: sizes, sites and nodes, tokenizer; no weights are read")
    .argument("<model>", "folder with config.json and safetensors, or Hugging Face id")
    .action((model: string, options: InfoCommandOptions) => infoCommand(model, options, context));
  addReportOptions(info).addHelpText("after", INFO_HELP);

  const estimate = program
    .command("estimate")
    .description("estimate the effects of all selected nodes by attribution patching")
    .action((options: EstimateCommandOptions) => estimateCommand(options, context));
  addReportOptions(
    addRunOptions(addSelectionOptions(addMethodOption(addSourceOption(addInputOptions(estimate))))),
  ).addHelpText("after", ESTIMATE_HELP);

  const localize = program
    .command("localize")
    .description("estimate all selected nodes, verify the best by exact patching, bound the others")
    .action((options: LocalizeCommandOptions) => localizeCommand(options, context));
  addReportOptions(
    addRunOptions(
      addCertificateOptions(
        addTopKOption(addSelectionOptions(addMethodOption(addSourceOption(addInputOptions(localize))))),
      ),
    ),
  ).addHelpText("after", LOCALIZE_HELP);

  const verify = program
    .command("verify")
    .description("exact effects of chosen nodes: of --node, and of the first nodes of --from")
    .action((options: VerifyCommandOptions) => verifyCommand(options, context));
  addReportOptions(
    addRunOptions(addNodeChoiceOptions(addSourceOption(addAlsoMetricOption(addInputOptions(verify))))),
  ).addHelpText("after", VERIFY_HELP);

  const sweep = program
    .command("sweep")
    .description("exact effects of all selected nodes, or of windows of neighbouring ones")
    .action((options: SweepCommandOptions) => sweepCommand(options, context));
  addReportOptions(
    addRunOptions(
      addWindowOption(addSelectionOptions(addSourceOption(addAlsoMetricOption(addInputOptions(sweep))))),
      "ranked.csv (or windows.csv), metrics.csv and summary.json",
    ),
  ).addHelpText("after", SWEEP_HELP);

  const faithfulness = program
    .command("faithfulness")
    .description("how much of the behaviour the first k nodes of a ranked list carry, for a grid of k")
    .action((options: FaithfulnessCommandOptions) => faithfulnessCommand(options, context));
  addReportOptions(
    addRunOptions(
      addCurveOptions(addSourceOption(addInputOptions(faithfulness))),
      "faithfulness.csv and faithfulness.json",
    ),
  ).addHelpText("after", FAITHFULNESS_HELP);

  const path = program
    .command("path")
    .description("exact effects of senders through chosen receivers only (path patching)")
    .action((options: PathCommandOptions) => pathCommand(options, context));
  addReportOptions(
    addRunOptions(addPathOptions(addSourceOption(addInputOptions(path))), "paths.csv and paths.json"),
  ).addHelpText("after", PATH_HELP);
  return program;
}

/** @file The commands and their options, as commander sees them. */

import { Command } from "commander";
import { type CliContext, printNote } from "./context.js";
import { estimateCommand } from "./estimate-command.js";
import { ESTIMATE_HELP, INFO_HELP, LOCALIZE_HELP, PROGRAM_HELP, VERIFY_HELP } from "./help.js";
import { infoCommand } from "./info-command.js";
import { localizeCommand } from "./localize-command.js";
import {
  addInputOptions,
  addNodeChoiceOptions,
  addReportOptions,
  addRunOptions,
  addSelectionOptions,
  addSourceOption,
  addTopKOption,
  type EstimateCommandOptions,
  type InfoCommandOptions,
  type LocalizeCommandOptions,
  type VerifyCommandOptions,
} from "./options.js";
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
    addRunOptions(addSelectionOptions(addSourceOption(addInputOptions(estimate)))),
  ).addHelpText("after", ESTIMATE_HELP);

  const localize = program
    .command("localize")
    .description("estimate all selected nodes, verify the best by exact patching")
    .action((options: LocalizeCommandOptions) => localizeCommand(options, context));
  addReportOptions(
    addRunOptions(addTopKOption(addSelectionOptions(addSourceOption(addInputOptions(localize))))),
  ).addHelpText("after", LOCALIZE_HELP);

  const verify = program
    .command("verify")
    .description("exact effects of chosen nodes: of --node, and of the first nodes of --from")
    .action((options: VerifyCommandOptions) => verifyCommand(options, context));
  addReportOptions(addRunOptions(addNodeChoiceOptions(addSourceOption(addInputOptions(verify))))).addHelpText(
    "after",
    VERIFY_HELP,
  );
  return program;
}

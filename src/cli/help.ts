/** @file The help texts below the options: what goes in, what comes out, and commands to try. */

import { METHOD_DESCRIPTIONS, METHODS } from "../atpstar/methods.js";
import { jobSpecSchema } from "../batch/spec.js";
import { SENDER_SITES } from "../exact/paths/ends.js";
import { SITES, type Site } from "../model/sites.js";
import { METRICS } from "../prompts/metrics/index.js";
import { INTERNAL_FORMS } from "../prompts/metrics/parse-metric.js";
import { FAITHFULNESS_HEADER } from "../report/faithfulness-csv.js";
import { NODE_COLUMNS } from "../report/metrics-csv.js";
import { PATHS_HEADER } from "../report/paths-csv.js";
import { RANKED_HEADER } from "../report/ranked-csv.js";
import { WINDOWS_HEADER } from "../report/windows-csv.js";

const SITE_TEXTS: Readonly<Record<Site, string>> = {
  residPre: "residual stream that the block reads",
  q: "query of a head, after rotary embedding and q/k norm",
  k: "key of a kv-head, after rotary embedding and q/k norm",
  v: "value of a kv-head",
  z: "output of a head, before the output matrix",
  attnOut: "what attention adds to the residual stream",
  residMid: "residual stream between attention and MLP (not in parallel blocks)",
  neuron: "input of the MLP's last matrix, one node per neuron",
  mlpOut: "what the MLP adds to the residual stream",
  residPost: "residual stream that the block hands on",
};

const HEADING_INDENT = "  ";

function list(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, text]) => `${HEADING_INDENT}${name.padEnd(width)}  ${text}`).join("\n");
}

function columns(names: readonly string[], perLine: number): string {
  const lines: string[] = [];
  for (let first = 0; first < names.length; first += perLine) {
    lines.push(`${HEADING_INDENT}${names.slice(first, first + perLine).join(",")}`);
  }
  return lines.join(",\n");
}

/** Fits the tokenizer of models/demo. */
export const PAIR_EXAMPLE =
  '{"clean": "<|endoftext|> The book", "corrupted": "<|endoftext|> The books", "answers": ["is"], "wrong": ["are"], "roles": {"noun": -1}}';

const PAIRS = `
Pairs: JSON Lines, one pair of prompts of as many tokens per line
  ${PAIR_EXAMPLE.replace(', "answers"', ',\n   "answers"')}   (on one line)
${list([
  ["clean, corrupted", "text, read as tokenizer.json says (special tokens included), or arrays of token ids"],
  ["answers, wrong", "tokens that clean and corrupted make likely: ids, or texts of exactly one token"],
  ["roles", "optional: names for positions; negative ones count from the end"],
  ["position", "optional: where the metric is read, a position or role; otherwise the last position"],
  ["name", "optional: a name for the pair"],
])}
`;

const SOURCES = `
Sources: what the activations of a pair's other prompt are replaced by
${list([
  ["prompt", "nothing: they are patched as they are"],
  ["zero", "zeros"],
  ["mean", "at each position their mean over all pairs of as many tokens; a pairs file: over its pairs,"],
  ["", "in place of those under study, of which one prompt each is needed: corrupted when noising,"],
  ["", "clean when denoising, or the only one"],
  ["noise", "causal tracing: the corrupted prompt is the clean one with Gaussian noise on its token"],
  ["", "embeddings at --noise-at; effects are means over --noise-draws draws. Pairs then need no"],
  ["", '"corrupted", and one that they have is not run. With --direction denoising clean'],
  ["", "activations restore the noised run"],
])}
`;

const OUTPUT_METRIC_LIST = `
Metrics
${list(METRICS.map(({ name, description }) => [name, description] as const))}
`;

const METRIC_LIST = `${OUTPUT_METRIC_LIST}Or inside the model, with positions or roles behind the @ (negative ones count from the end)
${list(INTERNAL_FORMS)}
`;

const METHOD_LIST = `
Methods
${list(METHODS.map((method) => [method, METHOD_DESCRIPTIONS[method]] as const))}
`;

const NODES = `
Nodes: L{layer}.{site}[{index}]@{position}, everything counts from 0, negative positions from the end
  L3.z[5]@12   head 5 of layer 3 at position 12
  L3.z[5]@-1   the same head at the last position of each pair
  L2.k[1]@end  kv-head 1 of layer 2 at the position that has the role "end"
  L4.mlpOut@*  the MLP's output in layer 4, all positions at once
Sites: q, z have an index per head, k, v per kv-head, neuron per neuron, the others none
${list(SITES.map((site) => [site, SITE_TEXTS[site]] as const))}
`;

const OUTPUT = `
Written to the folder of --out, each complete or not at all
  ranked.csv    one row per node, best first; an empty cell is not computed. Columns:
${columns(RANKED_HEADER, 6).replaceAll(/^ {2}/gm, "                ")}
                effect: metric of the patched run − metric of the base run, verified exactly
                estimate: the same, approximately, from gradients
                contribution: mean over pairs of the absolute value; the ranking key
                mean, se: signed mean over pairs and its standard error
                recovered: mean effect ÷ (mean metric of the source − of the base runs of the
                  same pairs)
                saturation_gap: mean |QK-fixed − plain estimate|: large where softmax saturates
                cancellation_ratio: GradDrop ÷ plain contribution, both without QK fix: large where
                paths cancel
                run: which run the row is of, the same as in summary.json and every other file
  summary.json  model, pairs, metric, options, engine, cost in forward passes and seconds; where some
                nodes were verified, agreement: how good their estimates were and what that leaves open;
                state: running (or broken off), interrupted, done
What an earlier run has left there and does not belong to this one is removed.
`;

/** Continues `OUTPUT`. */
function metricsTable(when: string): string {
  return `\
  metrics.csv   ${when}every metric of the same runs, to see how much the choice matters:
                one row per node, best first, behind two rows of unpatched runs, base and source;
                columns:
                ${[...NODE_COLUMNS, "pairs", "{metric}", "…", "{metric}_base", "…"].join()}
                {metric}: of the patched run itself, mean over the pairs that have the node
                {metric}_base: of the base run, mean over the same pairs; so the change is
                {metric} − {metric}_base in every row, also where some pairs lack the node
`;
}

const WINDOWS = `
Windows: neighbouring nodes patched together, all that fit, one step apart
  layers:3      the same site, index and position in three layers, such as L3-5.mlpOut@7
  positions:3   the same layer, site and index at three positions, such as L3.z[2]@7-9; with
                --positions each
With --window, instead of ranked.csv
  windows.csv   one row per window, best first. Columns:
${columns(WINDOWS_HEADER, 7).replaceAll(/^ {2}/gm, "                ")}
                effects as in ranked.csv; metrics.csv has the same windows
`;

const CURVES = `
Curves, for the first k nodes of the list and all other nodes: those of the list's sites at its
positions, in every layer
  keep          the first k are left alone, all others are patched
  remove        the first k are patched, all others are left alone
  f             faithfulness, (metric − metric of the source runs) ÷ (metric of the base − of the
                source runs), a ratio of means over pairs: 1 like the base runs, 0 like the source
                runs. With --source zero or mean, all nodes patched take the source runs' place
  area          under f, by trapezoids: over k/n, and over ln(1 + k)/ln(1 + n), n ranked nodes. In a
                good list few nodes suffice: near 1 for keep, near 0 for remove
  negative      verified nodes among the first k that push the other way: their effect has the sign
                opposite to metric of the source − of the base runs
Left alone is not held fixed: a node that is not patched is computed from what reaches it. Patching
all nodes (k = 0 of keep) gives f = 0 only where the list's sites and positions carry everything.

Written to the folder of --out, each complete or not at all
  faithfulness.csv   one row per k; an empty cell is not computed. Columns:
${columns(FAITHFULNESS_HEADER, 4).replaceAll(/^ {2}/gm, "                     ")}
  faithfulness.json  the same with areas, negative nodes, model, pairs, options, engine and cost
`;

const PATHS = `
Paths: the sender takes its source value. What that changes in the residual stream reaches the
receivers directly; every other component between them keeps its output of the base run. Behind
the receivers everything runs.
Senders: nodes that write to the residual stream, L{layer}.{site}[{index}]@{position}
${list(SENDER_SITES.map((site) => [site, SITE_TEXTS[site]] as const))}
Receivers: L{layer}.{what}@{position}, or final
${list([
  ["L3.q[1]@end", 'query of head 1 of layer 3 at the position that has the role "end"'],
  ["L3.k[0]@*", "key of kv-head 0, all positions at once; likewise v[0]"],
  ["L2.mlp@7", "MLP of layer 2 at position 7"],
  ["final", "the final residual stream: the direct effect on the logits; not beside other receivers"],
])}
Several receivers are patched together; each hears the sender only, not another receiver. With
--direct each is patched by itself; the ends that are left out are all heads (z) and MLPs, and
all q, k, v, mlp and final, at all positions. The receivers' norms are computed anew; with
--freeze-norm they keep the scale 1/√(variance + ε) of the base run.

Written to the folder of --out, each complete or not at all
  paths.csv   one row per sender and receiver that have a path, largest first; an empty cell is
              not computed. Columns:
${columns(PATHS_HEADER, 4).replaceAll(/^ {2}/gm, "              ")}
              effect: metric of the patched run − metric of the base run
              contribution: mean over pairs of the absolute value
              mean, se: signed mean over pairs and its standard error
              recovered: mean effect ÷ (mean metric of the source − of the base runs of the
                same pairs)
  paths.json  the same with model, pairs, metric, options, engine, cost in forward passes and seconds
`;

const AGREEMENT = `
How far to trust the list, below the table, on the page, and as agreement in summary.json
  estimates  rank correlation of estimates and exact effects of the verified nodes, and the largest
             factor by which the estimate of one of the first rows was too small
  open       which unverified nodes could belong above row k, and which rows could be displaced (marked
             ? in the table), if one more estimate is too small by that factor. It is no bound: a node
             whose estimate is more wrong than all of these is not covered
  settle     the command that verifies all of these nodes; --confidence speaks of the others, too
`;

const CERTIFICATE = `
Certificate, with --confidence: verifies the first --top-k nodes, patches a random sample of the
others one by one, then patches random subsets of what is unverified and bounds every node's average
marginal effect, until all bounds are below the k-th verified contribution or --budget is used up.
Nodes that keep the bound up are verified. Where patching every node costs less, that is done instead.
  certificate.json  what is proved, what it assumes, every look at the bound without and with the
                    estimates as control variate, what was sampled, cost
`;

const JOB = `
Jobs: a JSON file; everything but model, pairs and output has a default
  {"model": ".", "pairs": "pairs/ioi.jsonl", "positions": "roles", "output": "../../atp-out/job"}
${list(
  Object.entries(jobSpecSchema.shape).flatMap(([name, { description }]) =>
    description === undefined ? [] : [[name, description] as const],
  ),
)}
`;

const JOB_OUTPUT = `
Written to the folder of "output", each complete or not at all
  shards/           what is finished: a job that was killed goes on where it was when it is run again
  ranked.csv        as localize writes it, and summary.json; after the estimates, and at the end
  scores.parquet    the scores of every node, for pandas, DuckDB and others
  certificate.json  where the job asks for one
  metrics.csv       where the job has alsoMetrics
  manifest.json     versions, spec, hashes of model and pairs, engine, seeds, timings
  status.json       how far it is
A shard that fails is tried again, then set aside while the others of its stage go on; the job then
ends with exit code 1 and says what is missing. Running it again tries what is missing, nothing else.
`;

const PLAN = `
Memory: what is needed in any case comes first, then activations get up to 1 GiB of what is left (or
--activation-memory), then as many layers stay in memory as fit; the others are read from disk again
whenever they are needed. Results are bit for bit those of a run with more memory at the same batch
size and --activation-memory. Exit code 2 says that --memory is too little. Forward equivalents of
estimates are what they will be; those of exact patching (≤) are upper bounds. Time follows from a
measurement of two seconds: this engine's products at the model's shapes, this file's reading.
`;

const EXIT_CODES = `
Exit codes
  0 done; 1 the run failed; 2 wrong input or usage; 130, 143 interrupted (Ctrl-C, SIGTERM)
  An interrupt keeps what was computed: localize saves its estimates before verification begins,
  and exact effects are kept on the nodes and pairs that were done
`;

const REPORT = `
Read from the folder, those that are there: ranked.csv, summary.json, certificate.json,
metrics.csv, windows.csv, faithfulness.json. At least one list or curve has to be. What is of
another run than summary.json is not shown.
Written to the folder, each complete or not at all
  report.html     summary in words; the ranked list to sort and filter; heatmaps over layers,
                  positions and heads; estimate against exact effect; how the bound shrank; the
                  faithfulness curve; all metrics. Needs no other file and no network.
  report-*.svg    with --svg: each figure, for a paper
estimate, localize, verify, sweep and faithfulness write the page themselves with --report.
`;

/** Commands that run as they stand in a checkout of the project; `atp` is its command. */
export const EXAMPLES = {
  info: ["atp info models/demo"],
  estimate: ["atp estimate --model models/demo --pairs models/demo/pairs/ioi.jsonl --nodes neuron"],
  localize: [
    "atp localize --model models/demo --pairs models/demo/pairs/greater.jsonl --metric prob-diff",
    "atp localize --model models/demo --pairs models/demo/pairs/city.jsonl --top-k 10 --confidence 0.99",
    "atp localize --model models/demo --pairs models/demo/pairs/ioi.jsonl --positions roles",
  ],
  sweep: [
    "atp sweep --model models/demo --pairs models/demo/pairs/ioi.jsonl --nodes z --also-metric prob kl",
    "atp sweep --model models/demo --pairs models/demo/pairs/ioi.jsonl --nodes mlpOut --window layers:3",
  ],
  verify: [
    "atp verify --model models/demo --pairs models/demo/pairs/ioi.jsonl --from atp-out/ranked.csv",
    "atp verify --model models/demo --pairs models/demo/pairs/ioi.jsonl --node 'L0.z[3]@end' 'L5.mlpOut@*'",
  ],
  faithfulness: [
    "atp faithfulness --model models/demo --pairs models/demo/pairs/ioi.jsonl --from atp-out/ranked.csv",
  ],
  batch: ["atp batch run models/demo/job.json --workers 2", "atp batch status models/demo/job.json"],
  report: ["atp report atp-out", "atp report atp-out --svg"],
  plan: [
    "atp plan --model models/demo --pairs models/demo/pairs/ioi.jsonl --memory 1GiB",
    "atp plan --model models/demo --pairs models/demo/pairs/ioi.jsonl --command sweep --nodes z",
  ],
  path: [
    "atp path --model models/demo --pairs models/demo/pairs/ioi.jsonl --sender 'L4.z[3]@*' --receiver final",
    "atp path --model models/demo --pairs models/demo/pairs/ioi.jsonl --direct --layers 4-5",
  ],
} as const;

function examples(lines: readonly string[]): string {
  return `\nExamples\n${lines.map((line) => `${HEADING_INDENT}${line}`).join("\n")}\n`;
}

export const PROGRAM_HELP = `
A node is a component of the model at one position or at all of them: a head, a neuron, an MLP's
output. For a pair of prompts, its effect is how the metric changes when the node's activation of
one prompt is put into the run of the other. estimate computes all effects approximately, from one
backward pass (attribution patching), verify computes chosen ones exactly, sweep all of them.
localize estimates all and verifies the best; with --confidence it bounds what was not verified.
faithfulness tells how few nodes of the list carry the behaviour, path which way an effect takes.
${examples([...EXAMPLES.info, ...EXAMPLES.localize, ...EXAMPLES.verify, ...EXAMPLES.sweep, ...EXAMPLES.faithfulness, ...EXAMPLES.path])}
atp <command> --help has the formats, metrics and sites.
${EXIT_CODES}`;

export const INFO_HELP = examples(EXAMPLES.info);
export const ESTIMATE_HELP =
  PAIRS + SOURCES + METRIC_LIST + METHOD_LIST + NODES + OUTPUT + EXIT_CODES + examples(EXAMPLES.estimate);
export const LOCALIZE_HELP =
  PAIRS +
  SOURCES +
  METRIC_LIST +
  METHOD_LIST +
  NODES +
  OUTPUT +
  AGREEMENT +
  CERTIFICATE +
  EXIT_CODES +
  examples(EXAMPLES.localize);
export const PLAN_HELP = PLAN + METHOD_LIST + NODES + EXIT_CODES + examples(EXAMPLES.plan);
export const VERIFY_HELP =
  PAIRS +
  SOURCES +
  METRIC_LIST +
  NODES +
  OUTPUT +
  AGREEMENT +
  metricsTable("with --also-metric: ") +
  EXIT_CODES +
  examples(EXAMPLES.verify);
export const SWEEP_HELP =
  PAIRS +
  SOURCES +
  METRIC_LIST +
  NODES +
  OUTPUT +
  metricsTable("") +
  WINDOWS +
  EXIT_CODES +
  examples(EXAMPLES.sweep);
export const FAITHFULNESS_HELP =
  PAIRS + SOURCES + METRIC_LIST + CURVES + EXIT_CODES + examples(EXAMPLES.faithfulness);
const QUEUE = `
Queue: a Redis server that coordinators and workers reach. ATPKIT_QUEUE in the environment keeps its
password out of lists of processes. For rediss:// with an authority of your own: NODE_EXTRA_CA_CERTS.
  batch submit  coordinates: fetches results into the job's output folder, decides what comes next.
                Killed at any time it goes on when it is run again; workers go on meanwhile
  worker        makes shards of every job that has its model (by hash) and version; a job that does
                not fit is left to others, and the reason said once. SIGTERM finishes the shard in
                hand and ends with 0 (Ctrl-C: 130), a second one does not wait. Shards of workers
                that die are made by others
  A server that is full, read-only or away is waited for, which is said once.
  ATPKIT_QUEUE_KEY, 16 characters or more that only coordinator and workers have, signs jobs and
  results: without it whoever can write to the server can hand in results of their own.
  --shared      results are written there where it is, or holds, the job's output folder, otherwise
                they go back through the queue
`;

export const QUEUE_HELP = QUEUE + EXIT_CODES;
export const BATCH_HELP = JOB + JOB_OUTPUT + EXIT_CODES + examples(EXAMPLES.batch);
export const REPORT_HELP = REPORT + examples(EXAMPLES.report);
export const PATH_HELP = PAIRS + SOURCES + OUTPUT_METRIC_LIST + PATHS + EXIT_CODES + examples(EXAMPLES.path);

/** @file The public API of atpkit. Importing it starts nothing: call `startEngine` first. */

export type { EstimateOptions, Estimates } from "./atp/batches.js";
export { estimateAtp } from "./atp/estimate.js";
export { estimateBy, type MethodOptions } from "./atpstar/estimate.js";
export { METHODS, type Method } from "./atpstar/methods.js";
export { type JobOptions, runJob } from "./batch/coordinator.js";
export { LocalRunner } from "./batch/local/local-runner.js";
export { type JobFiles, jobFiles, portableJobFile } from "./batch/outputs.js";
export { type PreparedJob, prepareJob } from "./batch/prepare-job.js";
export { writeScoresParquet } from "./batch/score-parquet.js";
export { type Agreement, agreementOf, type UnderestimatedNode } from "./bounds/agreement.js";
export {
  type BoundsQuestion,
  type BoundsReport,
  boundsOf,
  type SeriesBounds,
  type ThresholdResult,
} from "./bounds/bounds.js";
export type {
  Certificate,
  CertificateLook,
  CertificatePrevalence,
  LookBound,
} from "./bounds/certificate.js";
export type { Certified, CertifyOptions } from "./bounds/certification.js";
export { certify } from "./bounds/certify.js";
export { clopperPearsonUpper } from "./bounds/clopper-pearson.js";
export { type SubsetDesign, subsetRows } from "./bounds/design.js";
export { type ControlledSeries, SubsetMoments } from "./bounds/moments.js";
export { observeSamples, type SampleEffects } from "./bounds/observe.js";
export {
  type Prevalence,
  type PrevalenceBound,
  type PrevalenceOptions,
  prevalenceBound,
  type StratumOutcome,
  samplePrevalence,
} from "./bounds/prevalence.js";
export type { NodeSeries, NodeStatistics } from "./bounds/sample-sums.js";
export type { StrataOptions } from "./bounds/strata.js";
export {
  bytesInMemory,
  bytesStreamed,
  residentLayersWithin,
  type WeightsFootprint,
  weightsFootprint,
} from "./checkpoint/footprint.js";
export {
  type LoadModelOptions,
  loadModel,
  type OpenedModel,
  openModel,
} from "./checkpoint/load-model.js";
export { type Engine, type EngineOptions, startEngine } from "./engine/start-engine.js";
export { InputError, RunError } from "./errors.js";
export {
  type CircuitMetrics,
  type Completeness,
  type CompletenessOptions,
  completeness,
  type Incompleteness,
  type Minimality,
  type MinimalityOptions,
  minimality,
  type NodeMinimality,
} from "./exact/circuits.js";
export {
  type CurveValue,
  type Faithfulness,
  type FaithfulnessArea,
  type FaithfulnessOptions,
  type FaithfulnessPoint,
  faithfulness,
  type OrderedNodes,
  type SignedNode,
} from "./exact/faithfulness.js";
export type { BlockLimits, NodeSets } from "./exact/node-sets.js";
export {
  type ExactEffects,
  type ExactOptions,
  exactEffects,
  type PatchControl,
  type PatchOptions,
  patchSets,
} from "./exact/patch-sets.js";
export type { MetricOfRuns, PatchedRuns } from "./exact/patched-runs.js";
export { endsOfLayers, type PathEnds, type Senders } from "./exact/paths/ends.js";
export {
  type DirectPaths,
  directPaths,
  type PathEffects,
  type PathOptions,
  pathEffects,
} from "./exact/paths/path-effects.js";
export { formatReceiver, parseReceiver, type Receiver } from "./exact/paths/receivers.js";
export { sweepNodes } from "./exact/sweep/sweep.js";
export { formatWindow, parseWindow, type Window, type WindowShape } from "./exact/windows.js";
export {
  type EstimateSelection,
  estimate,
  type Localization,
  type LocalizeOptions,
  localize,
  type NodeSelection,
  type RunOptions,
  sweep,
  type VerifiedRanking,
  type VerifyOptions,
  verify,
} from "./localize.js";
export type { ModelConfig } from "./model/config.js";
export type { Model, Tokenizer } from "./model/model.js";
export { SITES, type Site } from "./model/sites.js";
export { logits } from "./model/transformer.js";
export type { ReadingStats } from "./model/weights.js";
export { formatNodeId, type Node, type NodePosition, parseNodeId } from "./nodes/node-id.js";
export {
  indexOfNode,
  makeNodeSpace,
  type NodeGroup,
  type NodeSet,
  type NodeSpace,
  nodeAt,
} from "./nodes/node-space.js";
export { type PositionMode, positionLabels } from "./nodes/positions.js";
export { type RankedNode, type Ranking, rankedNodes, type VerifiedNodes } from "./nodes/ranking.js";
export {
  cancellationRatio,
  contribution,
  meanEffect,
  mergeScores,
  type ScoreTable,
  saturationGap,
  standardError,
} from "./nodes/score-table.js";
export { planRun, type RunPlan } from "./plan/plan-run.js";
export type { Budgets, PlanQuestion } from "./plan/question.js";
export type { Direction } from "./prompts/direction.js";
export { METRICS, metricByName } from "./prompts/metrics/index.js";
export {
  attentionWeight,
  neuronActivation,
  type ProjectionSite,
  projection,
} from "./prompts/metrics/internal.js";
export type { InternalMetric, Metric, MetricPosition, OutputMetric } from "./prompts/metrics/metric.js";
export { parseMetric } from "./prompts/metrics/parse-metric.js";
export { makePair, type Pair } from "./prompts/pair.js";
export { type ReadPairsOptions, readAveragedPairs, readPairs } from "./prompts/read-pairs.js";
export { samplePairs } from "./prompts/sample-pairs.js";
export { writeCertificate } from "./report/certificate-file.js";
export { type ReportOptions, type WrittenReport, writeReport } from "./report/html/write-report.js";
export { nodeMetrics, windowMetrics, writeMetricsCsv } from "./report/metrics-csv.js";
export { writeRankedCsv } from "./report/ranked-csv.js";
export { readRankedCsv } from "./report/read-ranked-csv.js";
export { writeWindowsCsv } from "./report/windows-csv.js";
export type { Progress, RunControl } from "./run-control.js";
export { type MeanOptions, meanSource } from "./sources/mean.js";
export { type NoiseOptions, type NoiseSource, noiseSource } from "./sources/noise.js";
export type { ActivationSource, PatchSource } from "./sources/source.js";
export { zeroSource } from "./sources/zero.js";
export {
  type RankedWindow,
  rankedWindows,
  sweepWindows,
  type WindowOptions,
  type WindowRanking,
} from "./sweep-windows.js";

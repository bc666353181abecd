/**
 * @file Several metrics of runs with sets of nodes patched: which of them a run can change, how far up it has to go, and
 * their values on the unpatched runs. Where a run cannot change a metric, that is its value on the base run.
 */

import type { ModelConfig } from "../model/config.js";
import { reaches } from "../model/reach.js";
import { positionRead } from "../prompts/metrics/internal.js";
import {
  type InternalReader,
  layersRead,
  type UnpatchedReading,
} from "../prompts/metrics/internal-reader.js";
import { type InternalMetric, isInternal, isOutput, type Metric } from "../prompts/metrics/metric.js";
import {
  internalOnRuns,
  type MetricOnRuns,
  type OnRunsInput,
  prepareAllOnRuns,
  type UnpatchedValues,
} from "../prompts/metrics/on-runs.js";
import type { PatchedRun, SetOutline } from "./plan.js";

/** The metrics of one batch's unpatched runs. Owns tensors through `outputs`. */
export interface MetricsOfBatch {
  /** By the place of the metric. */
  readonly unpatched: readonly UnpatchedValues[];
  /** Those read off the logits, in their order. */
  readonly outputs: readonly MetricOnRuns[];
}

export class MetricsOfSets {
  readonly metrics: readonly Metric[];
  readonly internal: readonly InternalMetric[];
  /** How many layers runs go through for all metrics to be read. */
  readonly layers: number;
  /** [metrics][sets]: whether a node of the set lies where its change is heard at the metric's hook point. */
  readonly #heard: readonly (readonly boolean[])[];

  constructor(config: ModelConfig, metrics: readonly Metric[], sets: readonly SetOutline[]) {
    this.metrics = metrics;
    this.internal = metrics.filter(isInternal);
    this.layers = layersRead(metrics, config.layers);
    this.#heard = metrics.map((metric) => sets.map((set) => isHeard(config, metric, set)));
  }

  /** Whether a run can change any of the metrics. */
  changesAny = (run: PatchedRun): boolean => this.metrics.some((_, m) => this.changes(m, run));

  /** Whether a run can change a metric. */
  changes(metric: number, { set, position, pair }: PatchedRun): boolean {
    return this.#heard[metric][set] && position <= positionRead(this.metrics[metric], pair);
  }

  /**
   * @param reading what has seen the runs
   * @throws RunError if a metric of a run is not finite
   */
  async onRuns(input: OnRunsInput, { readers }: UnpatchedReading): Promise<MetricsOfBatch> {
    const byMetric = new Map<Metric, UnpatchedValues>();
    for (const metric of this.internal) byMetric.set(metric, await internalOnRuns(metric, input, readers));
    const readOff = this.metrics.filter(isOutput);
    const outputs = await prepareAllOnRuns(readOff, input);
    outputs.forEach((output, o) => {
      byMetric.set(readOff[o], output);
    });
    const unpatched = this.metrics.flatMap((metric) => byMetric.get(metric) ?? []);
    return { unpatched, outputs };
  }

  /**
   * The metrics of patched runs.
   * @param reader has seen the runs
   * @param outputs the output metrics of each run, in their order
   * @returns per metric [R]
   */
  values(
    runs: readonly PatchedRun[],
    { unpatched }: MetricsOfBatch,
    reader: InternalReader,
    outputs: readonly Float32Array[],
  ): Float32Array[] {
    const rest = [...outputs];
    return this.metrics.map((metric, m) => {
      const read = isInternal(metric) ? (reader.has(metric) ? reader.of(metric) : undefined) : rest.shift();
      return Float32Array.from(runs, (run, r) =>
        read && this.changes(m, run) ? read[r] : unpatched[m].base[run.pairIndex],
      );
    });
  }
}

function isHeard(config: ModelConfig, metric: Metric, { groups }: SetOutline): boolean {
  if (!isInternal(metric)) return true;
  const { layer, point } = metric.reads;
  return [...groups].some(
    (group) => group.layer < layer || (group.layer === layer && reaches(config, group.site, point)),
  );
}

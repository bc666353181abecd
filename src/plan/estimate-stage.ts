/**
 * @file What the estimates of a batch of pairs will cost: layers forward, backward and computed again, the order in which they
 * are asked for, and what is in memory at the worst moment. The rules are those of `atp/runs.ts`, which keeps a layer's record
 * where it fits the activation budget, and of `atpstar/streams.ts`.
 */

import { bytesOfContext } from "../activation-budget.js";
import { layersBelow } from "../atp/start.js";
import { type Method, partsOf } from "../atpstar/methods.js";
import { planStreams, streamsWithin } from "../atpstar/streams.js";
import type { ModelConfig } from "../model/config.js";
import type { Site } from "../model/sites.js";
import { layersRead } from "../prompts/metrics/internal-reader.js";
import { isInternal, type Metric } from "../prompts/metrics/metric.js";
import {
  FLOAT_BYTES,
  floatsBackward,
  floatsOfBothRuns,
  floatsOfRecord,
  floatsOfStream,
  type Rows,
} from "./activations.js";

export interface EstimateQuestion {
  readonly config: ModelConfig;
  readonly method: Method;
  readonly sites: readonly Site[];
  readonly metric: Metric;
  /** For the layer records, and again for the gradient streams of one layer. */
  readonly activationBudgetBytes: number;
}

export interface EstimateBatch {
  readonly forwardEquivalents: number;
  /** The layers in the order in which their weights are asked for. */
  readonly visits: readonly number[];
  /** Bytes at the worst moment. */
  readonly memory: {
    readonly records: number;
    /** Residual streams of layers without a record, and gradients that wait for a later sweep. */
    readonly streams: number;
    /** The layer that is run. */
    readonly layer: number;
  };
}

/** @param rows the prompts of one run, B of T tokens, all draws counted */
export function planEstimateBatch(question: EstimateQuestion, rows: Rows): EstimateBatch {
  const { config, method, sites, metric } = question;
  const { qkFix, gradDrop } = partsOf(method);
  const forward = layersRead([metric], config.layers);
  const from = isInternal(metric) ? metric.reads.layer : config.layers - 1;
  const sweeps = sweepsOf(question, rows, from);

  const record = FLOAT_BYTES * floatsOfRecord(config, rows, sites);
  const kept = Math.min(forward, Math.floor(question.activationBudgetBytes / record));
  let layerBackwards = 0;
  let recomputed = 0;
  const visits = Array.from({ length: forward }, (_, layer) => layer);
  for (const sweep of sweeps) {
    for (let layer = sweep.from; layer >= 0; layer--) {
      visits.push(layer);
      layerBackwards += streamsAt(sweep, layer);
      if (layer >= kept) recomputed++;
    }
  }
  const streams = Math.max(...sweeps.map((sweep) => streamsAt(sweep, 0)));
  const stream = FLOAT_BYTES * floatsOfStream(config, rows);
  const waiting = sweeps.slice(1).reduce((sum, { dropped }) => sum + dropped.length, 0);
  const both = FLOAT_BYTES * floatsOfBothRuns(config, rows, sites);
  const backward = FLOAT_BYTES * floatsBackward(config, rows, { streams, sites, qkFix, gradDrop });
  return {
    forwardEquivalents: (rows.B * (2 * forward + layerBackwards + 2 * recomputed)) / config.layers,
    visits,
    memory: {
      records: kept * record,
      streams: stream * (2 * (forward - kept) + waiting),
      layer:
        Math.max(
          both,
          backward + (kept < forward ? record : 0),
          kept < forward ? both + streams * stream : 0,
        ) + bytesOfContext(config, rows.T, rows.T),
    },
  };
}

/** A backward sweep from a layer down to layer 0; more than one where the gradient streams do not fit their budget. */
interface Sweep {
  readonly from: number;
  /** Layers where a gradient stream forks off. */
  readonly dropped: readonly number[];
  /** Whether the main stream is among the streams. */
  readonly hasMain: boolean;
}

function sweepsOf(
  { config, method, metric, activationBudgetBytes }: EstimateQuestion,
  rows: Rows,
  from: number,
): Sweep[] {
  const below = layersBelow(metric, config.layers);
  const { width: D, mlpWidth: F, heads: H } = config;
  const perSweep = streamsWithin(activationBudgetBytes, { ...rows, D, F, H });
  const [first = [], ...later] = partsOf(method).gradDrop ? planStreams(below, perSweep) : [];
  return [
    { from, dropped: first, hasMain: true },
    ...later.map((dropped) => ({ from: dropped[0] - 1, dropped, hasMain: false })),
  ];
}

/** Gradient streams that go through a layer: those that forked above it. */
function streamsAt({ dropped, hasMain }: Sweep, layer: number): number {
  return (hasMain ? 1 : 0) + dropped.filter((fork) => fork > layer).length;
}

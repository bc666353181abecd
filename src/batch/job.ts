/**
 * @file A job as it travels: everything that decides the numbers of its shards, as plain JSON, and a little beside it that people
 * and memory plans read. The hash of the former goes into the name of every shard (identity.ts): a shard is made again where, and
 * only where, something that it depends on is another one.
 *
 *   every shard     version, engine, threads, model (by its bytes), the pairs and their order (tokens, answers, roles), the source,
 *                   the metric that ranks, direction, sites, positions, batch size, what activations may take
 *   verify shards   the further metrics, too
 *   one shard       its task: pairs, nodes or samples; the method of an estimate, and whether it keeps each pair's
 *
 * Where model and results are on a machine is no part of a job, nor how many nodes are verified, how sure the list has to be, or how
 * many workers there are. What activations may take follows, where a job file gives `memory` alone, from a plan of all the work: to
 * keep the shards while method, metrics, certificate or sizes of shards change, give `activationMemory`, too.
 *
 * Shards are the same bytes on equal machines: the same engine and version of its library, the same kind of processor or GPU, and as
 * many threads. Others agree but for the last bits of float32; a job's manifest lists the devices that have made its shards.
 */

import type { Method } from "../atpstar/methods.js";
import type { Backend } from "../engine/start-engine.js";
import type { Site } from "../model/sites.js";
import type { NodePosition } from "../nodes/node-id.js";
import type { PositionMode } from "../nodes/positions.js";
import type { Direction } from "../prompts/direction.js";
import type { InternalMetric } from "../prompts/metrics/metric.js";

/** A pair as JSON. */
export interface PortablePair {
  /** For people. */
  readonly name?: string;
  readonly clean: readonly number[];
  /** Absent where it is the clean prompt, which a noise source noises. */
  readonly corrupted?: readonly number[];
  readonly answers: readonly number[];
  readonly wrong: readonly number[];
  /** In the pair's order, which numbers the nodes of positions "roles". */
  readonly roles: readonly (readonly [role: string, position: number])[];
  readonly metricPosition: number;
  /** File and line, for people. */
  readonly origin: string;
}

/** An output metric by its name, or an internal one as it is. */
export type PortableMetric = { readonly output: string } | { readonly internal: InternalMetric };

export type PortableSource =
  | { readonly kind: "prompt" }
  | { readonly kind: "zero" }
  /** Over the source prompts of these pairs, or of the job's own. */
  | { readonly kind: "mean"; readonly pairs?: readonly PortablePair[] }
  | {
      readonly kind: "noise";
      readonly at: readonly NodePosition[];
      readonly multiple: number;
      readonly draws: number;
      readonly seed: number;
    };

/** What a worker has to have memory for: the largest tasks to come. It decides no number, so it is no part of the hash. */
export interface Workload {
  /** How nodes are estimated; absent where every node is patched. */
  readonly method?: Method;
  /** Whether estimate shards keep the signed estimates of each pair. */
  readonly byPair: boolean;
  /** Most pairs of a shard. */
  readonly pairs: number;
  /** Most nodes of a verify shard. */
  readonly nodes: number;
}

export interface Job {
  /** Version of atpkit: another one may compute in another order. */
  readonly atpkit: string;
  readonly backend: Backend;
  /** Of the engine's library in one process, where it is not left to the machine. */
  readonly threads?: number;
  readonly model: {
    /** As the spec writes it, for people; never used as a path by a worker. */
    readonly name: string;
    /** Of config.json and every weight file, byte for byte. */
    readonly hash: string;
  };
  readonly pairs: readonly PortablePair[];
  readonly source: PortableSource;
  /** The one that ranks first. Estimates and samples are of it alone. */
  readonly metrics: readonly PortableMetric[];
  readonly direction: Direction;
  readonly sites: readonly Site[];
  readonly positions: PositionMode;
  readonly batchSize: number;
  readonly activationBudgetBytes: number;
  readonly workload: Workload;
}

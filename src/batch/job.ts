/**
 * @file A job as it travels: everything that decides a shard's numbers, as plain JSON, and nothing else. Its hash names the job,
 * and goes into the name of every shard. Where model and results are on a machine is not part of it, nor how many nodes are
 * verified, how sure the list has to be, or how many workers there are: all this can change without a shard being made again.
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
  readonly name?: string;
  readonly clean: readonly number[];
  /** Absent where it is the clean prompt, which a noise source noises. */
  readonly corrupted?: readonly number[];
  readonly answers: readonly number[];
  readonly wrong: readonly number[];
  /** In the pair's order, which numbers the nodes of positions "roles". */
  readonly roles: readonly (readonly [role: string, position: number])[];
  readonly metricPosition: number;
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

export interface Job {
  /** Version of atpkit: another one may compute in another order. */
  readonly atpkit: string;
  readonly backend: Backend;
  /** Of the engine's library in one process, where it is not left to the machine. */
  readonly threads?: number;
  readonly model: {
    /** As the spec writes it; never used as a path by a worker. */
    readonly name: string;
    /** Of config.json and every weight file, byte for byte. */
    readonly hash: string;
  };
  readonly pairs: readonly PortablePair[];
  readonly source: PortableSource;
  /** The one that ranks first. */
  readonly metrics: readonly PortableMetric[];
  readonly direction: Direction;
  readonly sites: readonly Site[];
  readonly positions: PositionMode;
  /** How nodes are estimated; absent where every node is patched. */
  readonly method?: Method;
  /** Whether estimate shards keep the signed estimates of each pair, for a certificate. */
  readonly byPair: boolean;
  readonly batchSize: number;
  readonly activationBudgetBytes: number;
}

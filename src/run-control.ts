/** @file How a caller follows and stops a long run. */

export interface Progress {
  readonly stage: string;
  /** Units of work finished, of `total`. */
  readonly done: number;
  readonly total: number;
}

export interface RunControl {
  readonly onProgress?: (progress: Progress) => void;
  /** Aborting it stops the run before its next batch, with the signal's reason. */
  readonly signal?: AbortSignal;
}

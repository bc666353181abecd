/** @file Seconds by stage of a run. */

type Stage = "load" | "estimate" | "verify";

/** Begins when it is made. */
export class StageClock {
  readonly #seconds = { load: 0, estimate: 0, verify: 0 };
  #since = performance.now();

  /** Books the time since the last call on a stage. */
  lap(stage: Stage): void {
    this.#seconds[stage] += this.#restart();
  }

  /** Books the time since the last call on no stage: files were written. */
  skip(): void {
    this.#restart();
  }

  /** A copy. */
  get seconds(): Readonly<Record<Stage, number>> {
    return { ...this.#seconds };
  }

  #restart(): number {
    const now = performance.now();
    const seconds = (now - this.#since) / 1000;
    this.#since = now;
    return seconds;
  }
}

/**
 * @file What timing benches share. A machine is never quiet, so a time is a median, and what counts is a ratio of times
 * taken in turn.
 */

export interface Seconds {
  readonly clock: number;
  /** All threads of the process together: steadier than the clock when others use the machine too. */
  readonly processor: number;
}

/** How long a piece of work takes. */
export async function timed(work: () => Promise<unknown>): Promise<Seconds> {
  const start = performance.now();
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return { clock: (performance.now() - start) / 1000, processor: (user + system) / 1e6 };
}

/** The middle one; of an even number of values the upper one of the two. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** "2.31 (2.25 … 2.44)": median, smallest and largest. */
export function spread(values: readonly number[]): string {
  const [middle, low, high] = [median(values), Math.min(...values), Math.max(...values)].map((value) =>
    value.toFixed(2),
  );
  return `${middle} (${low} … ${high})`;
}

/** The most memory that the process has held so far, for people. */
export function peakMemory(): string {
  return `${Math.round(process.resourceUsage().maxRSS / 2 ** 10)} MiB`;
}

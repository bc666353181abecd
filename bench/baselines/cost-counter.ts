/**
 * @file One counter for every method, in two units.
 *
 * - `run`: forward equivalents of what ran, by FLOPs. A patched run counts from its first patched layer and position on, a
 *   gradient method as its call reports it, and the base and source run of each pair once for every kind of patching (joint,
 *   single), as `patchSets` and `sweepNodes` do.
 * - `patches`: as Kramár et al. 2024 count. A patch of one pair is 1, whatever of it was run. A gradient method takes two
 *   forward passes and one backward pass per pair, a pass being 1; GradDrop takes one backward pass per layer. The QK fix is free.
 *   Unpatched runs that patched ones start from are not counted.
 */

import { type Method, partsOf } from "../../src/atpstar/methods.js";

export interface Cost {
  readonly run: number;
  readonly patches: number;
}

/** What had been spent when a node was verified. */
export interface VerifiedNode extends Cost {
  /** Its place among the candidates. */
  readonly place: number;
}

/** What a gradient method costs per pair, in passes. */
export function passesOf(method: Method, layers: number): number {
  return 2 + (partsOf(method).gradDrop ? layers : 1);
}

export class CostCounter {
  #run = 0;
  #patches = 0;
  readonly #verified: VerifiedNode[] = [];

  get total(): Cost {
    return { run: this.#run, patches: this.#patches };
  }

  /** The nodes that are verified, in their order. */
  get verified(): readonly VerifiedNode[] {
    return this.#verified;
  }

  /** The base and source runs that a kind of patching starts from. */
  addUnpatched(pairs: number): void {
    this.#run += 2 * pairs;
  }

  /** Joint patches. */
  addPatches({ run, patches }: Cost): void {
    this.#run += run;
    this.#patches += patches;
  }

  /** @param forwardEquivalents as the call reports them */
  addEstimates(method: Method, pairs: number, layers: number, forwardEquivalents: number): void {
    this.#run += forwardEquivalents;
    this.#patches += pairs * passesOf(method, layers);
  }

  /** A node patched by itself. */
  verify(place: number, cost: Cost): void {
    this.addPatches(cost);
    this.#verified.push({ place, ...this.total });
  }

  verifyAll(places: Iterable<number>, costs: readonly Cost[]): void {
    for (const place of places) this.verify(place, costs[place]);
  }
}

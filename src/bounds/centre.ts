/**
 * @file Centring by prompt pair, from the past. Prompt pairs differ in the mean of their samples, which has nothing to do with
 * any node and would be noise in all of them. What is taken off is the mean of the *earlier* samples of the same prompt pair:
 * it is known before the subset is drawn, hence independent of it, and a difference of means stays unbiased. With the mean of
 * all samples it would not be, for every sample is a part of that.
 *
 * The price is the noise of the centre: after k samples a centred one has 1 + 1/k times the variance; the first has no centre
 * and is not counted. Over K samples of every prompt pair that is a factor of about 1 + ln(K)/K.
 */

export class PairCentres {
  readonly #means: Float64Array;
  readonly #counts: Uint32Array;

  constructor(pairs: number) {
    this.#means = new Float64Array(pairs);
    this.#counts = new Uint32Array(pairs);
  }

  /** A sample's value minus the mean of the earlier ones of its prompt pair; undefined for the first one. */
  centred(pair: number, value: number): number | undefined {
    const earlier = this.#counts[pair]++;
    const deviation = value - this.#means[pair];
    this.#means[pair] += deviation / (earlier + 1);
    return earlier === 0 ? undefined : deviation;
  }
}

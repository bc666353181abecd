/**
 * @file Certificates: what is known of the nodes that were not verified, as data and in plain words. What was assumed, what
 * was sampled and what was proved stand side by side, because a bound without its assumptions is a promise.
 */

/** One look at the samples of a round. */
export interface CertificateLook {
  /** From 1, through all rounds: its share of the level falls with it. */
  readonly look: number;
  /** From 1: each round samples anew, from the nodes that are unverified when it begins. */
  readonly round: number;
  /** |U|, how many unverified nodes the bound is for. */
  readonly nodes: number;
  /** Samples of the round so far. */
  readonly samples: number;
  /** How often two given nodes were patched together, on average. */
  readonly together: number;
  /** What the bound had to stay below: the k-th verified contribution at that time. */
  readonly threshold: number;
  readonly plain: LookBound;
  /** With the control variate: the one that decides. */
  readonly controlled: LookBound & { readonly rSquared: number };
}

export interface LookBound {
  /** All average marginal effects are below it, at this look's level; absent where a node has too few samples for a bound. */
  readonly bound?: number;
  /** The node that has it. */
  readonly node?: string;
  /** A forecast of the samples after which the bound is below the threshold; absent where none would do. */
  readonly samplesNeeded?: number;
}

/** A random sample of the unverified nodes, patched one by one. */
export interface CertificatePrevalence {
  /** How many unverified nodes it speaks of, those of the sample included. */
  readonly nodes: number;
  readonly sampled: number;
  /** In how many strata by estimate. */
  readonly strata: number;
  readonly threshold: number;
  /** Nodes of the sample with a contribution of the threshold or more. */
  readonly found: number;
  /** At most so many of the nodes that were not drawn have one. */
  readonly left: number;
}

export interface Certificate {
  readonly topK: number;
  /** Of each statement by itself, such as 0.99. */
  readonly confidence: number;
  /** Whether the top k are certain, in the sense of `claims`. */
  readonly certified: boolean;
  /** The k-th largest verified contribution, in the metric's unit. */
  readonly threshold: number;
  /** The smallest bound that was reached, if there is one; see `claims`. Absent where every node was verified. */
  readonly bound?: number;
  /** What is proved, in words. */
  readonly claims: readonly string[];
  /** What it rests on, in words. */
  readonly assumptions: readonly string[];
  readonly nodes: { readonly total: number; readonly verified: number };
  readonly sampling?: {
    /** p, the probability that a node is in a subset. */
    readonly probability: number;
    readonly seed: number;
    readonly looks: readonly CertificateLook[];
  };
  readonly prevalence?: CertificatePrevalence;
  /** In forward passes of one prompt. */
  readonly cost: {
    readonly estimate: number;
    readonly verify: number;
    readonly sample: number;
    /** What verifying and sampling were allowed to take together. */
    readonly budget: number;
  };
}

/** What a certificate's words are made of. */
export type CertificateFacts = Omit<Certificate, "claims" | "assumptions" | "certified">;

/** Adds the words, and whether the top k are certain. */
export function certificateOf(facts: CertificateFacts): Certificate {
  return {
    ...facts,
    certified: isCertain(facts),
    claims: claimsOf(facts),
    assumptions: assumptionsOf(facts),
  };
}

function isCertain({ nodes, bound, threshold }: CertificateFacts): boolean {
  return nodes.verified === nodes.total || (bound !== undefined && bound < threshold);
}

const DIGITS = 3;

function claimsOf(facts: CertificateFacts): string[] {
  const { topK, confidence, threshold, bound, nodes, prevalence } = facts;
  const unverified = nodes.total - nodes.verified;
  const level = percent(confidence);
  if (unverified === 0) {
    return [`All ${nodes.total} nodes were verified by exact patching: the top ${topK} are the top ${topK}.`];
  }
  const words: string[] = [];
  if (threshold === 0) {
    words.push(
      `Not certified: the k-th verified contribution is 0, and nothing can be bounded below that; ${unverified} nodes were not verified. Ask for a smaller top ${topK}.`,
    );
  } else if (bound === undefined) {
    words.push(
      `Not certified: the budget of ${Math.round(facts.cost.budget)} forward equivalents was used up before there were enough samples for a bound.`,
    );
  } else {
    const said = `with ${level} confidence none of the ${unverified} unverified nodes has an average marginal effect of ${bound.toPrecision(DIGITS)} or more`;
    words.push(
      bound < threshold
        ? `By average marginal effects the top ${topK} are certain: ${said}, and the k-th verified contribution is ${threshold.toPrecision(DIGITS)}. Patched alone, a node can have more.`
        : `Not certified within the budget of ${Math.round(facts.cost.budget)} forward equivalents: ${said}, but the k-th verified contribution is ${threshold.toPrecision(DIGITS)}.`,
    );
  }
  if (prevalence) {
    words.push(prevalenceClaim(prevalence, level));
  }
  return words;
}

function prevalenceClaim(
  { nodes, sampled, threshold, found, left }: CertificatePrevalence,
  level: string,
): string {
  const rest = nodes - sampled;
  const others = `at most ${left} of the other ${rest} (${percent(left / rest)}) have a contribution of ${threshold.toPrecision(DIGITS)} or more, patched alone`;
  return `Of ${nodes} unverified nodes ${sampled} were drawn at random and patched one by one, and ${found} had a contribution of ${threshold.toPrecision(DIGITS)} or more: with ${level} confidence ${others}.`;
}

function assumptionsOf({ sampling, prevalence, confidence }: CertificateFacts): string[] {
  return [
    "Effects are those on these pairs, with this metric, direction and source; other prompts may differ.",
    ...(sampling
      ? [
          `The bound speaks of a node's average marginal effect: what patching it changes, on average over random subsets of the other unverified nodes patched with it (each with probability ${sampling.probability}) and over the pairs, on each with the sign that its estimate has there. Where effects add up and the estimates' signs are right, that is the node's contribution. A node that acts only alone, or only together with many others, or whose estimates have wrong signs, can have a larger one.`,
          `What nodes do only together with others shows as far as they were patched together: any two of them ${Math.min(...sampling.looks.map(({ together }) => together)).toPrecision(2)} times or more on average, at every look.`,
          "Means of samples are taken to be t-distributed, widened where they are skewed: an approximation, good for many samples (at least 30 with and without each node are asked for).",
          `Look j has the share 1/(j(j + 1)) of the error probability ${Number((1 - confidence).toPrecision(DIGITS))}, so that all looks hold together.`,
        ]
      : []),
    ...(prevalence
      ? [
          "The statement on the random sample rests on the drawing alone (an exact bound for samples without replacement, over strata by estimate); it has its own confidence, apart from that of the bound.",
        ]
      : []),
  ];
}

function percent(share: number): string {
  return `${Number((100 * share).toPrecision(DIGITS))} %`;
}

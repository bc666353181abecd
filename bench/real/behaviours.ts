/**
 * @file Five things that SmolLM2-135M-Instruct may be able to do, and candidates for prompt pairs of each, made from lists of
 * words. In all of a behaviour's prompts the same words stand at the same positions, if each of the listed words is one token;
 * whether it is, and whether the model does the task, `make-pairs.ts` finds out.
 */

import { uniformInt } from "pure-rand/distribution/uniformInt";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";
import {
  CITIES,
  CONTAINERS,
  FEMALE_NAMES,
  INDICES,
  MALE_NAMES,
  ORDERS,
  PEOPLE,
  TARGETS,
  THINGS,
} from "./words.js";

export interface Candidate {
  readonly clean: string;
  readonly corrupted: string;
  /** What is right after the clean prompt, and after the corrupted one. */
  readonly answer: string;
  readonly wrong: string;
}

export interface Behaviour {
  readonly name: string;
  /** Tokens of every prompt. */
  readonly tokens: number;
  /** Beside `end`: where the two prompts of a pair differ. */
  readonly roles: Readonly<Record<string, number>>;
  candidates(random: RandomGenerator): Candidate[];
}

/** In random order, every order with the same probability (Fisher and Yates). */
export function shuffled<Value>(values: readonly Value[], random: RandomGenerator): Value[] {
  const order = [...values];
  for (let last = order.length - 1; last > 0; last--) {
    const other = uniformInt(random, 0, last);
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}

/** The same pair with its prompts exchanged, every other time: neither answer is always the clean one. */
function exchangedByChance(candidate: Candidate, random: RandomGenerator): Candidate {
  if (uniformInt(random, 0, 1) === 0) return candidate;
  const { clean, corrupted, answer, wrong } = candidate;
  return { clean: corrupted, corrupted: clean, answer: wrong, wrong: answer };
}

/** A fact about a word: the country of a city. No city is in two pairs. */
const country: Behaviour = {
  name: "country",
  tokens: 9,
  roles: { city: 3 },
  candidates(random) {
    const order = shuffled(CITIES, random);
    const prompt = (city: string) => `The city of ${city} is in the country of`;
    const candidates: Candidate[] = [];
    for (let at = 0; at + 1 < order.length; at += 2) {
      const [[city, answer], [other, wrong]] = [order[at], order[at + 1]];
      if (answer === wrong) continue;
      candidates.push({
        clean: prompt(city),
        corrupted: prompt(other),
        answer: ` ${answer}`,
        wrong: ` ${wrong}`,
      });
    }
    return candidates;
  },
};

/** How many words of an order are shown. */
const SHOWN = 3;

/** What comes next in an order known by heart, every place in it once. The two prompts and answers have no word in common. */
const successor: Behaviour = {
  name: "successor",
  tokens: 6,
  roles: { first: 0, second: 2, third: 4 },
  candidates(random) {
    return ORDERS.flatMap(({ words, closed }) => {
      const starts = Array.from(
        { length: closed ? words.length : words.length - SHOWN },
        (_, start) => start,
      );
      const from = (start: number) =>
        Array.from({ length: SHOWN + 1 }, (_, step) => words[(start + step) % words.length]);
      return starts.flatMap((start) => {
        const shown = from(start);
        const apart = starts.filter((other) => from(other).every((word) => !shown.includes(word)));
        if (apart.length === 0) return [];
        const others = from(apart[uniformInt(random, 0, apart.length - 1)]);
        const prompt = (run: readonly string[]) =>
          run
            .slice(0, SHOWN)
            .map((word) => ` ${word},`)
            .join("");
        return [
          {
            clean: prompt(shown),
            corrupted: prompt(others),
            answer: ` ${shown[SHOWN]}`,
            wrong: ` ${others[SHOWN]}`,
          },
        ];
      });
    });
  },
};

/** Words in a row, of which the first ones are said again. */
const ROW = 8;
const SAID_AGAIN = 6;
const INDUCTION_CANDIDATES = 60;

/** What followed last time: words without meaning for each other, said again. The corrupted row has another word there. */
const induction: Behaviour = {
  name: "induction",
  tokens: ROW + SAID_AGAIN,
  roles: { copied: SAID_AGAIN },
  candidates(random) {
    return Array.from({ length: INDUCTION_CANDIDATES }, () => {
      const [other, ...row] = shuffled(THINGS, random).slice(0, ROW + 1);
      const prompt = (copied: string) =>
        [...row.with(SAID_AGAIN, copied), ...row.slice(0, SAID_AGAIN)].map((word) => ` ${word}`).join("");
      const copied = row[SAID_AGAIN];
      return { clean: prompt(copied), corrupted: prompt(other), answer: ` ${copied}`, wrong: ` ${other}` };
    });
  },
};

/** He or she, by a name. No name is in two pairs. */
const pronoun: Behaviour = {
  name: "pronoun",
  tokens: 10,
  roles: { name: 1 },
  candidates(random) {
    const [males, people] = [shuffled(MALE_NAMES, random), shuffled(PEOPLE, random)];
    return shuffled(FEMALE_NAMES, random).map((female, at) => {
      const prompt = (name: string) => `So ${name} is a really great ${people[at]}, isn't`;
      return exchangedByChance(
        { clean: prompt(female), corrupted: prompt(males[at]), answer: " she", wrong: " he" },
        random,
      );
    });
  },
};

/** Which bracket is to be closed. No two pairs have the same word at the same place. */
const bracket: Behaviour = {
  name: "bracket",
  tokens: 7,
  roles: { bracket: 3 },
  candidates(random) {
    const [containers, indices] = [shuffled(CONTAINERS, random), shuffled(INDICES, random)];
    return shuffled(TARGETS, random).map((target, at) => {
      // The second index is another one than the first, and a different one in each pair, too.
      const [index, added] = [indices[at], indices[(at + 1) % indices.length]];
      const prompt = (opening: string) => `${target} = ${containers[at]}${opening}${index} + ${added}`;
      return exchangedByChance(
        { clean: prompt("["), corrupted: prompt("("), answer: "]", wrong: ")" },
        random,
      );
    });
  },
};

export const BEHAVIOURS: readonly Behaviour[] = [country, successor, induction, pronoun, bracket];

/** @file Results with what float32 leaves in their last digits taken away, to compare with numbers worked out on paper. */

const DECIMALS = 5;

/** A copy in which every number, at any depth, is rounded to five decimals, without −0. */
export function rounded<Result>(result: Result): Result {
  return JSON.parse(
    JSON.stringify(result, (_, value: unknown) =>
      typeof value === "number" ? Number(value.toFixed(DECIMALS)) + 0 : value,
    ),
  );
}

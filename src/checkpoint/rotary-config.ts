/**
 * @file The rotary embedding that a config.json describes, in the older and the newer spelling of its fields, as the
 * angles per position. Scaling formulas: transformers, modeling_rope_utils.py.
 */

import type { Rotary } from "../model/config.js";
import type { ConfigFields } from "./config-fields.js";
import { membersOf } from "./json-file.js";

/** How a family spelled these fields at the top level, before `rope_parameters` held them. */
export interface RotaryFields {
  readonly theta: string;
  /** The share of a head's dimensions that turn. */
  readonly fraction: string;
  readonly defaultFraction: number;
}

const DEFAULT_THETA = 10_000;

/**
 * Reads `rope_parameters`, or `rope_scaling` beside the family's own older fields.
 * @param headWidth dimensions of a head
 * @throws InputError when a field is unusable or the kind of scaling is not supported
 */
export function readRotary(fields: ConfigFields, headWidth: number, older: RotaryFields): Rotary {
  const rope = ropeFields(fields);
  const theta = rope?.has("rope_theta")
    ? rope.positive("rope_theta")
    : fields.positive(older.theta, DEFAULT_THETA);
  const fraction = rope?.has("partial_rotary_factor")
    ? rope.positive("partial_rotary_factor")
    : fields.positive(older.fraction, older.defaultFraction);
  const dims = Math.trunc(headWidth * fraction);
  if (dims < 2 || dims > headWidth || dims % 2 !== 0) {
    const holder = rope?.has("partial_rotary_factor") ? rope : fields;
    const name = holder === rope ? "partial_rotary_factor" : older.fraction;
    throw holder.error(
      name,
      `a share of the head width ${headWidth} that gives an even number of dimensions`,
    );
  }
  const plain = Array.from({ length: dims / 2 }, (_, i) => theta ** ((-2 * i) / dims));
  return { dims, inverseFrequencies: rope === undefined ? plain : scale(plain, rope) };
}

/**
 * The object that holds the newer fields, under either name.
 * @throws InputError for objects of both names that differ, one whose kind is left out though it has a factor, and one of objects
 *   for several kinds of attention
 */
function ropeFields(fields: ConfigFields): ConfigFields | undefined {
  const [newer, older] = ["rope_parameters", "rope_scaling"].map((name) => fields.inner(name));
  if (newer && older && !isSame(fields.value("rope_parameters"), fields.value("rope_scaling"))) {
    throw fields.error("rope_scaling", "absent, or the same as rope_parameters beside it");
  }
  const rope = newer ?? older;
  for (const kind of ["full_attention", "sliding_attention"]) {
    rope?.only(kind, [], "rotary embeddings that differ by layer are not supported");
  }
  if (rope?.has("factor") && !rope.has("rope_type")) rope.text("type");
  return rope;
}

/** Whether two objects of plain values have the same ones under the same names. */
function isSame(one: unknown, other: unknown): boolean {
  const [members, others] = [membersOf(one), membersOf(other)];
  return (
    members?.size === others?.size &&
    [...(members ?? [])].every(([name, value]) => others?.get(name) === value)
  );
}

function scale(plain: readonly number[], rope: ConfigFields): readonly number[] {
  const field = rope.has("rope_type") ? "rope_type" : "type";
  const type = rope.text(field, "default");
  switch (type) {
    case "default":
      return plain;
    case "linear": {
      const factor = rope.positive("factor");
      return plain.map((frequency) => frequency / factor);
    }
    case "llama3":
      return scaleLlama3(plain, rope);
    default:
      throw rope.error(field, "one of default, linear, llama3 (other rotary scalings are not supported)");
  }
}

/**
 * Llama 3.1: wavelengths beyond the trained context over `low_freq_factor` are stretched by `factor`, those below the
 * trained context over `high_freq_factor` stay, and between the two the frequency is blended linearly.
 */
function scaleLlama3(plain: readonly number[], rope: ConfigFields): readonly number[] {
  const factor = rope.positive("factor");
  const low = rope.positive("low_freq_factor");
  const high = rope.positive("high_freq_factor");
  const context = rope.count("original_max_position_embeddings");
  if (high <= low) throw rope.error("high_freq_factor", `more than low_freq_factor ${low}`);
  return plain.map((frequency) => {
    const turns = (context * frequency) / (2 * Math.PI);
    const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return kept * frequency + ((1 - kept) * frequency) / factor;
  });
}

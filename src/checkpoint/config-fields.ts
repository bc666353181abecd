/**
 * @file Fields of a config.json, read one by one with errors that name the file and the field. JSON null means what
 * it means to the writers of these files: not set.
 */

import { basename } from "node:path";
import { z } from "zod";
import { InputError } from "../errors.js";
import { isLostInFloat32 } from "../float32.js";
import { shown } from "../shown-text.js";
import { parseJsonObject, readText } from "./json-file.js";

/** The engine counts in 32 bits. */
const LARGEST_COUNT = 2 ** 31 - 1;

export class ConfigFields {
  constructor(
    /** Path of the file. */
    readonly file: string,
    private readonly values: Readonly<Record<string, unknown>>,
    /** What the file calls a field: "rope_parameters.factor" for "factor", where the fields stand inside another one. */
    private readonly nameOf: (field: string) => string = (field) => field,
  ) {}

  /** "n_positions 1024 of config.json": a field, its value and its file, without the folder. */
  describe(name: string, value: number): string {
    return `${this.nameOf(name)} ${value} of ${basename(this.file)}`;
  }

  /** As the file has it. */
  value(name: string): unknown {
    return Object.hasOwn(this.values, name) ? this.values[name] : undefined;
  }

  /** Whether the field is there and not null. */
  has(name: string): boolean {
    const value = this.value(name);
    return value !== undefined && value !== null;
  }

  /** Whether the field is there and says null, where that differs from leaving it out. */
  isNull(name: string): boolean {
    return this.value(name) === null;
  }

  /** An integer of 1 or more, which could be the size of a tensor's axis. */
  count(name: string, fallback?: number): number {
    const count = this.#read(name, z.int().positive(), "a positive integer", fallback);
    if (count > LARGEST_COUNT) throw this.error(name, `at most ${LARGEST_COUNT}`);
    return count;
  }

  /**
   * @param accepted what is supported beside leaving the field out
   * @param because why nothing else is
   * @throws InputError where the field says something else
   */
  only(name: string, accepted: readonly unknown[], because: string): void {
    if (!this.has(name) || accepted.includes(this.value(name))) return;
    const expected = accepted.length === 0 ? "absent" : accepted.map((value) => shown(value)).join(" or ");
    throw this.error(name, `${expected} (${because})`);
  }

  /** A number above 0, which it still is in float32. */
  positive(name: string, fallback?: number): number {
    const value = this.#read(name, z.number().positive(), "a positive number", fallback);
    if (isLostInFloat32(value)) throw this.error(name, "a positive number that float32 can hold");
    return value;
  }

  /** @throws InputError where the field is left out */
  require(name: string): void {
    if (!this.has(name)) throw this.error(name, "there");
  }

  flag(name: string, fallback?: boolean): boolean {
    return this.#read(name, z.boolean(), "true or false", fallback);
  }

  text(name: string, fallback?: string): string {
    return this.#read(name, z.string(), "text", fallback);
  }

  /** The fields of an object inside the file; undefined where there is none. */
  inner(name: string): ConfigFields | undefined {
    if (!this.has(name)) return undefined;
    const values = this.#read(name, z.record(z.string(), z.unknown()), "an object");
    return new ConfigFields(this.file, values, (field) => this.nameOf(`${name}.${field}`));
  }

  /** The error for a field whose value cannot be used. */
  error(name: string, expected: string): InputError {
    const value = this.value(name);
    const found = value === undefined ? "no such field" : shown(value);
    return new InputError(
      `loadModel: expected ${this.nameOf(name)} of ${this.file} to be ${expected}, got ${found}`,
    );
  }

  #read<T>(name: string, schema: z.ZodType<T>, expected: string, fallback?: T): T {
    if (!this.has(name) && fallback !== undefined) return fallback;
    const parsed = schema.safeParse(this.value(name));
    if (!parsed.success) throw this.error(name, expected);
    return parsed.data;
  }
}

/**
 * The fields of a config.json.
 * @throws InputError when there is no such file or it is not a JSON object
 */
export async function readConfigFile(file: string): Promise<ConfigFields> {
  const text = await readText(file);
  if (text === undefined) {
    throw new InputError(`loadModel: expected a Hugging Face checkpoint with ${file}, got no such file`);
  }
  return new ConfigFields(file, Object.fromEntries(parseJsonObject(text, file)));
}

/** @file What made a job's results, beside them: enough to see whether they can be trusted, and to make them again. */

import { z } from "zod";
import { writeJson } from "../atomic-file.js";
import { InputError } from "../errors.js";
import { issueText, namedValues } from "../field-errors.js";
import { parseJsonText, readTextFile } from "../text-file.js";

/** Verifying for the list and for a certificate alike is `verify`; `certify` is a certificate's samples. */
const perStage = z.object({ estimate: z.number(), verify: z.number(), certify: z.number() });

export const manifestSchema = z.object({
  /** ISO 8601; of the call that wrote the manifest, which may have found shards of earlier ones. */
  begun: z.string(),
  ended: z.string(),
  /** The name of the run, as in every file of its results; absent in a manifest of an earlier version. */
  run: z.string().optional(),
  versions: z.object({ atpkit: z.string(), node: z.string(), tfjs: z.string() }),
  /** With its defaults. */
  spec: z.unknown(),
  /** The job's hash, which is part of every shard's name. */
  job: z.string(),
  hashes: z.object({ model: z.string(), pairs: namedValues(z.string(), "hashes of files by name") }),
  /** Devices of all shards, each once. */
  engine: z.object({ backend: z.string(), devices: z.array(z.string()) }),
  seeds: z.object({ pairs: z.number(), certify: z.number().optional(), noise: z.number().optional() }),
  /** How many there are. */
  shards: perStage,
  /** Seconds of work of all shards together, whoever did it. */
  seconds: perStage,
  forwardEquivalents: perStage,
  /** Shards that were given up; empty where the job is whole. */
  missing: z.array(z.object({ name: z.string(), tries: z.number(), error: z.string() })),
});

export type Manifest = z.output<typeof manifestSchema>;

/** @throws RunError if the disk refuses */
export async function writeManifest(file: string, manifest: Manifest): Promise<void> {
  await writeJson(file, manifest);
}

/** @throws InputError for a file that cannot be read or is no manifest */
export async function readManifest(file: string): Promise<Manifest> {
  const text = await readTextFile(file);
  if (text === undefined)
    throw new InputError(`readManifest: expected the manifest ${file}, got no such file`);
  const value = parseJsonText(text, file);
  const result = manifestSchema.safeParse(value);
  if (result.success) return result.data;
  throw new InputError(
    `readManifest: ${file}: ${result.error.issues.map((issue) => issueText(issue)).join("; ")}`,
  );
}

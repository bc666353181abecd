/** @file Checkpoint folders that a test writes: safetensors byte by byte, configs with single fields changed. */

import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** A new folder that is removed when the running test has finished. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "atpkit-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A tensor as it goes into a file. */
export interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export function float32Tensor(shape: readonly number[], values: readonly number[]): StoredTensor {
  return { dtype: "F32", shape, bytes: new Uint8Array(Float32Array.from(values).buffer) };
}

/** The bytes of a safetensors file with any header text and any data. */
export function safetensorsBytes(header: string, data: Uint8Array): Buffer {
  const text = Buffer.from(header, "utf8");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
}

export function writeSafetensors(path: string, tensors: Readonly<Record<string, StoredTensor>>): void {
  let end = 0;
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    end += bytes.length;
  }
  const data = Buffer.concat(Object.values(tensors).map((tensor) => tensor.bytes));
  writeFileSync(path, safetensorsBytes(JSON.stringify(header), data));
}

/** Every tensor of a safetensors file, read whole. */
export function readStored(path: string): Map<string, StoredTensor> {
  const file = readFileSync(path);
  const dataStart = 8 + Number(file.readBigUInt64LE(0));
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> =
    JSON.parse(file.toString("utf8", 8, dataStart));
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== "__metadata__")
      .map(([name, { dtype, shape, data_offsets }]) => {
        const bytes = file.subarray(dataStart + data_offsets[0], dataStart + data_offsets[1]);
        return [name, { dtype, shape, bytes }];
      }),
  );
}

/** A copy of a checkpoint with some fields of its config.json changed; a field set to undefined is left out. */
export function folderWithConfig(original: string, changes: Readonly<Record<string, unknown>>): string {
  const folder = temporaryFolder();
  for (const file of readdirSync(original)) copyFileSync(join(original, file), join(folder, file));
  const config: object = JSON.parse(readFileSync(join(original, "config.json"), "utf8"));
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, ...changes }));
  return folder;
}

/** A copy of a checkpoint with single tensors of its model.safetensors changed; undefined leaves one out. */
export function folderWithTensors(
  original: string,
  changes: Readonly<Record<string, StoredTensor | undefined>>,
): string {
  const folder = folderWithConfig(original, {});
  const stored = Object.fromEntries(readStored(join(original, "model.safetensors")));
  const changed = Object.entries({ ...stored, ...changes }).flatMap(([name, tensor]) =>
    tensor === undefined ? [] : [[name, tensor] as const],
  );
  writeSafetensors(join(folder, "model.safetensors"), Object.fromEntries(changed));
  return folder;
}

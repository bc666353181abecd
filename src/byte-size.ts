/** @file Amounts of memory as people write them. */

const BYTES_PER_UNIT: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** The form of such a text. */
export const BYTE_SIZE = /^(\d+(?:\.\d+)?)(KiB|MiB|GiB)?$/;

/** Bytes of "512MiB", "1.5GiB" or "1073741824"; undefined for any other text, and for less than a byte. */
export function parseByteSize(text: string): number | undefined {
  const [, amount, unit] = BYTE_SIZE.exec(text) ?? [];
  const bytes = Math.floor(Number(amount) * (unit === undefined ? 1 : BYTES_PER_UNIT[unit]));
  return Number.isSafeInteger(bytes) && bytes >= 1 ? bytes : undefined;
}

/** "512 MiB", "1.5 GiB", "412 bytes". */
export function formatBytes(bytes: number): string {
  const [unit, size] = Object.entries(BYTES_PER_UNIT)
    .filter(([, size]) => bytes >= size)
    .at(-1) ?? ["bytes", 1];
  const value = bytes / size;
  const digits = unit === "bytes" || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit}`;
}

/** @file The version of this package. */

import { readFileSync } from "node:fs";
import { z } from "zod";

/** Read from package.json, which lies one folder up both from the source and from what is built of it. */
export function packageVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version;
}

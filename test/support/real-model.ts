/** @file The real model that the suite `test/real` runs on: 93 MB that no clone brings, so it may not be there. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe } from "vitest";
import { projectRoot } from "./child-process.js";

/** SmolLM2-135M-Instruct quantized to Q4_1, from the project's folder; `npm run setup:real-model` puts it there. */
export const REAL_MODEL = "models/real/SmolLM2-135M-Instruct.Q4_1.gguf";

const MISSING = `${REAL_MODEL} is not there: npm run setup:real-model fetches it`;

/**
 * `describe` for tests of the real model. Without it they are skipped, and the run says why; where the variable CI is set
 * nobody would read that, so there they fail.
 */
export function describeRealModel(name: string, suite: () => void): void {
  const there = existsSync(join(projectRoot, REAL_MODEL));
  if (!there && process.env.CI) throw new Error(`describeRealModel: ${MISSING}`);
  if (!there) console.warn(`Skipped: ${name} (${MISSING})`);
  describe.skipIf(!there)(there ? name : `${name} (skipped: ${MISSING})`, suite);
}

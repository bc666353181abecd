/** @file A certificate as a file. */

import { writeJson } from "../atomic-file.js";
import type { Certificate } from "../bounds/certificate.js";

/**
 * Writes a certificate as JSON, complete or not at all.
 * @param about what was run on what: comes before the certificate
 * @throws RunError if the disk refuses
 */
export async function writeCertificate(
  path: string,
  certificate: Certificate,
  about: object = {},
): Promise<void> {
  await writeJson(path, { ...about, ...certificate });
}

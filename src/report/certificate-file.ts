/** @file A certificate as a file. */

import type { Certificate } from "../bounds/certificate.js";
import { writeAtomically } from "./atomic-file.js";

/**
 * Writes a certificate as JSON, complete or not at all.
 * @throws RunError if the disk refuses
 */
export async function writeCertificate(path: string, certificate: Certificate): Promise<void> {
  await writeAtomically(path, (handle) => handle.writeFile(`${JSON.stringify(certificate, undefined, 2)}\n`));
}

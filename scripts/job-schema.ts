/** @file Writes schema/job.schema.json, the JSON Schema of job files, from the schema that reads them. */

import { writeFileSync } from "node:fs";
import { jobJsonSchema } from "../src/batch/spec.js";

writeFileSync(
  new URL("../schema/job.schema.json", import.meta.url),
  `${JSON.stringify(jobJsonSchema(), undefined, 2)}\n`,
);

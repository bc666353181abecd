/**
 * @file A process of its own that resolves one checkpoint and prints the folder, for tests that kill it or run several.
 */
import { resolveCheckpoint } from "../../src/checkpoint/hub.js";

const [name = ""] = process.argv.slice(2);
process.stdout.write(await resolveCheckpoint(name));

// Loaded into a process before anything else: kills it when it is about to rename something to the file KILL_AT for the KILL_N-th
// time, or, with KILL_WHEN=after, just behind that.
import promises from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { basename } from "node:path";

const { KILL_AT, KILL_N = "1", KILL_WHEN = "before" } = process.env;
const { rename } = promises;
let left = Number(KILL_N);

promises.rename = async (from, to) => {
  if (basename(to) !== KILL_AT || --left > 0) return rename(from, to);
  if (KILL_WHEN === "after") await rename(from, to);
  process.kill(process.pid, "SIGKILL");
  await new Promise(() => {});
};
syncBuiltinESMExports();

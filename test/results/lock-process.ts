/** @file A process that takes the lock of a folder when it is told to, and gives it back when it is told to. */

import { lockFolder } from "../../src/results/folder-lock.js";

let unlock: (() => Promise<void>) | undefined;

process.on("disconnect", () => process.exit());
process.on("message", async (folder) => {
  if (typeof folder === "string") {
    try {
      unlock = await lockFolder(folder);
      process.send?.("taken");
    } catch (error) {
      process.send?.(String(error));
    }
  } else {
    await unlock?.();
    unlock = undefined;
    process.send?.("given back");
  }
});
process.send?.("ready");

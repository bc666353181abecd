/** @file A folder with a copy of the engine's sources and node_modules of its own, to start it in other surroundings. */

import { cpSync, mkdirSync, mkdtempSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { projectRoot } from "./child-process.js";

/** Files of a package that Node needs to load it, or all of them. */
export type Copied = readonly string[] | "all";

export interface EngineCopyOptions {
  /** Packages that are not there. */
  readonly absent?: readonly string[];
  /** Packages that are copied; all others are linked to those of the project. */
  readonly copied?: Readonly<Record<string, Copied>>;
}

/** Returns the folder; the caller removes it. */
export function copyEngine({ absent = [], copied = {} }: EngineCopyOptions): string {
  const folder = mkdtempSync(join(tmpdir(), "atpkit-engine-"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');
  cpSync(join(projectRoot, "src", "engine"), join(folder, "src", "engine"), { recursive: true });
  for (const file of ["errors.ts", "shown-text.ts"]) {
    cpSync(join(projectRoot, "src", file), join(folder, "src", file));
  }
  const own = new Set([...absent, ...Object.keys(copied)]);
  for (const name of installedPackages()) {
    if (own.has(name)) continue;
    const place = join(folder, "node_modules", name);
    mkdirSync(dirname(place), { recursive: true });
    symlinkSync(join(projectRoot, "node_modules", name), place);
  }
  for (const [name, files] of Object.entries(copied)) {
    copyPackage(name, files, join(folder, "node_modules", name));
  }
  return folder;
}

/** Copies files of an installed package to `target`. */
export function copyPackage(name: string, files: Copied, target: string): void {
  const source = join(projectRoot, "node_modules", name);
  for (const file of files === "all" ? [""] : files) {
    cpSync(join(source, file), join(target, file), { recursive: true, verbatimSymlinks: true });
  }
}

function installedPackages(): string[] {
  const modules = join(projectRoot, "node_modules");
  return readdirSync(modules)
    .filter((name) => !name.startsWith("."))
    .flatMap((name) =>
      name.startsWith("@") ? readdirSync(join(modules, name)).map((inner) => `${name}/${inner}`) : [name],
    );
}

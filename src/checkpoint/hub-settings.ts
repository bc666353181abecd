/**
 * @file Where the hub is, who asks, and where files are kept: the environment variables of the Hugging Face tools.
 * Read at call time, never at import, so that a program can set them.
 */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { getHFHubCachePath, HUB_URL } from "@huggingface/hub";
import { InputError } from "../errors.js";
import { shown } from "../shown-text.js";

export interface HubSettings {
  /** The hub's address without a trailing slash: `HF_ENDPOINT`. */
  readonly endpoint: string;
  /** `HF_TOKEN`, or the content of the token file that `hf auth login` writes. */
  readonly token: string | undefined;
  /** The folder that holds `models--owner--name`: `HF_HUB_CACHE`, or `hub` in `HF_HOME`. */
  readonly cacheDir: string;
  /** `HF_HUB_OFFLINE`: no request at all. */
  readonly offline: boolean;
}

/** What the Python tools take for yes, in any case. */
const YES = new Set(["1", "ON", "YES", "TRUE"]);

/** Reads the environment. Throws InputError if `HF_ENDPOINT` is not an http(s) address. */
export async function readHubSettings(): Promise<HubSettings> {
  return {
    endpoint: readEndpoint(process.env.HF_ENDPOINT),
    token: process.env.HF_TOKEN?.trim() || (await readTokenFile()),
    cacheDir: getHFHubCachePath(),
    offline: YES.has((process.env.HF_HUB_OFFLINE ?? "").toUpperCase()),
  };
}

function readEndpoint(value: string | undefined): string {
  if (!value) return HUB_URL;
  if (!URL.canParse(value) || !/^https?:$/.test(new URL(value).protocol)) {
    throw new InputError(
      `resolveCheckpoint: HF_ENDPOINT: expected an http or https address, got ${shown(value)}`,
    );
  }
  return value.replace(/\/+$/, "");
}

async function readTokenFile(): Promise<string | undefined> {
  const home =
    process.env.HF_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "huggingface");
  try {
    const text = await readFile(process.env.HF_TOKEN_PATH ?? join(home, "token"), "utf8");
    return text.trim() || undefined;
  } catch {
    // Nobody has to be logged in. Where it is needed the hub refuses, and that error names HF_TOKEN.
    return undefined;
  }
}

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

/**
 * Reads the environment. Throws InputError if `HF_ENDPOINT` is not an http(s) address, or holds a password; or if the token cannot be
 * one. The texts repeat nothing of what may be secret.
 */
export async function readHubSettings(): Promise<HubSettings> {
  return {
    endpoint: readEndpoint(process.env.HF_ENDPOINT),
    token: readToken(process.env.HF_TOKEN, "HF_TOKEN") ?? (await readTokenFile()),
    cacheDir: getHFHubCachePath(),
    offline: YES.has((process.env.HF_HUB_OFFLINE ?? "").toUpperCase()),
  };
}

function readEndpoint(value: string | undefined): string {
  if (!value) return HUB_URL;
  const wrong = (expected: string, got: string) =>
    new InputError(`resolveCheckpoint: HF_ENDPOINT: expected ${expected}, got ${got}`);
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    // What stands before an @ may be a password, in whatever else this is.
    throw wrong("an http or https address", value.includes("@") ? "something else, with an @" : shown(value));
  }
  if (url.username !== "" || url.password !== "") {
    throw wrong(
      "an address without user and password (set HF_TOKEN instead)",
      `one with them for ${url.host}`,
    );
  }
  if (url.search !== "" || url.hash !== "") {
    throw wrong("an address without a query", `one with something behind ${url.origin}${url.pathname}`);
  }
  return value.replace(/\/+$/, "");
}

async function readTokenFile(): Promise<string | undefined> {
  const home =
    process.env.HF_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "huggingface");
  const file = process.env.HF_TOKEN_PATH ?? join(home, "token");
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch {
    // Nobody has to be logged in. Where it is needed the hub refuses, and that error names HF_TOKEN.
    return undefined;
  }
  return readToken(text, file);
}

/**
 * A token that a request's header can hold; undefined for none.
 * @param from the variable or the file that says it
 */
function readToken(text: string | undefined, from: string): string | undefined {
  const token = text?.trim();
  if (!token) return undefined;
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  const lines = token.split(/\r\n|\r|\n/).length;
  throw new InputError(
    `resolveCheckpoint: ${from}: expected a token, one line of visible ASCII characters without spaces, got ` +
      (lines > 1 ? `${lines} lines` : "other characters in it"),
  );
}

/**
 * @file Requests to the hub: the `fetch` that the client library is given, and what its failures mean to a user.
 *
 * The token is added here, for the hub's own origin only. Given to the library it would also go to a content server that
 * the library remembers from a redirect, and a token that does not start with `hf_`, as mirrors of the hub hand out,
 * would be refused. (Where fetch itself follows a redirect to another origin it drops the header.)
 */
import { HubApiError } from "@huggingface/hub";
import { InputError, RunError } from "../errors.js";
import type { HubSettings } from "./hub-settings.js";

export interface HubConnection {
  readonly endpoint: string;
  readonly hasToken: boolean;
  readonly fetch: typeof fetch;
}

export const DEFAULT_REVISION = "main";

/** A model on the hub. */
export interface HubName {
  /** `owner/name`, or `name`. */
  readonly id: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

export function describeName({ id, revision }: HubName): string {
  return revision === DEFAULT_REVISION ? id : `${id}, revision ${revision}`;
}

/** A request that got no answer. */
export class NoAnswerError extends Error {
  override readonly name = "NoAnswerError";
}

/** `signal` ends every request, also one whose body is still coming. */
export function connect({ endpoint, token }: HubSettings, signal: AbortSignal): HubConnection {
  const origin = new URL(endpoint).origin;
  const hubFetch: typeof fetch = async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const headers = new Headers(init?.headers);
    if (token !== undefined && url.origin === origin) headers.set("Authorization", `Bearer ${token}`);
    try {
      return await fetch(input, { ...init, headers, signal });
    } catch (error) {
      throw new NoAnswerError(reasonOf(error), { cause: error });
    }
  };
  return { endpoint, hasToken: token !== undefined, fetch: hubFetch };
}

/** The innermost cause's message: Node's fetch says "fetch failed" and keeps what happened beneath it. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause !== undefined) return reasonOf(error.cause);
  // One error per address of a name: they all say the same thing.
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return withoutSecrets(error.message);
}

/**
 * A text without what its addresses say of who asks: a user and password, and queries, in which content servers that the hub sends
 * one to expect signatures.
 */
export function withoutSecrets(text: string): string {
  return text.replaceAll(/\b(https?:\/\/)([^\s"'<>]*)/gi, (_, scheme: string, rest: string) => {
    const [place, ...query] = rest.split("?");
    // The last one: a password that should have been encoded may hold others.
    const at = place.lastIndexOf("@");
    const shownPlace = at < 0 ? place : `…${place.slice(at)}`;
    return `${scheme}${shownPlace}${query.length > 0 ? "?…" : ""}`;
  });
}

/** Whether the hub itself is out of reach for now, so that what the cache has is the best there is. */
export function isOutage(error: unknown): boolean {
  if (error instanceof HubApiError) return error.statusCode >= 500 || error.statusCode === 429;
  return error instanceof NoAnswerError;
}

/** The error to throw for one that arose while asking for this model. */
export function explainHubError(error: unknown, { endpoint, hasToken }: HubConnection, name: HubName): Error {
  if (error instanceof InputError || error instanceof RunError) return error;
  const start = `resolveCheckpoint: ${describeName(name)}:`;
  const options = { cause: error };
  if (error instanceof NoAnswerError) {
    return new RunError(`${start} cannot reach the hub at ${endpoint} (${error.message})`, options);
  }
  if (!(error instanceof HubApiError)) return new RunError(`${start} ${reasonOf(error)}`, options);
  const { statusCode: status } = error;
  if (status === 404) return new InputError(`${start} no such model or revision at ${endpoint}`, options);
  if (status !== 401 && status !== 403) {
    return new RunError(
      `${start} ${endpoint} answered with an error: ${withoutSecrets(error.message)}`,
      options,
    );
  }
  // The hub gives 401 for a model that does not exist, too: it does not tell strangers which ones do.
  return new InputError(
    hasToken
      ? `${start} the token (HF_TOKEN) was refused by ${endpoint} (${status}): expected one that may read this model; if the model is gated, accept its terms at ${endpoint}/${name.id} first`
      : `${start} ${endpoint} wants a token (${status}): the model is private, gated or does not exist; set HF_TOKEN to a token that may read it`,
    options,
  );
}

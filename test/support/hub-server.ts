/**
 * @file A Hugging Face hub in miniature on 127.0.0.1: the paths, headers and redirects that downloads use.
 *
 * Small files come from the hub itself, large ones (safetensors) by a redirect to a content server on another port,
 * which is another origin, as the real hub does it. Every request is logged; single answers can be made to fail.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

export interface ServedModel {
  readonly id: string;
  readonly files: Readonly<Record<string, Buffer>>;
  /** A token without which neither the model nor its files are shown. */
  readonly token?: string;
  /** A token without which the model is shown and its files are refused. */
  readonly gated?: string;
  /** Whether large files are offered by the hub's chunk protocol, too, to those who say that they accept it. */
  readonly xet?: boolean;
  /** Former ids, which redirect to this one. */
  readonly formerIds?: readonly string[];
  /** Names of the one commit: `main` unless told. */
  readonly revisions?: readonly string[];
}

export interface HubRequest {
  readonly server: "hub" | "cdn";
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

export type Fault =
  /** The connection ends in the middle. */
  | { readonly kind: "cut"; readonly afterBytes: number }
  /** A well-formed answer with fewer bytes than the file has. */
  | { readonly kind: "short"; readonly afterBytes: number }
  /** A well-formed answer with more bytes than the file has. */
  | { readonly kind: "long" }
  /** The right number of bytes, one of them wrong. */
  | { readonly kind: "corrupt" }
  /** Some bytes, then silence. */
  | { readonly kind: "stall"; readonly afterBytes: number };

export interface HubServer {
  readonly endpoint: string;
  readonly requests: HubRequest[];
  /** The next content answers for this file, first to last; then answers are right again. */
  readonly faults: Map<string, Fault[]>;
  /** Answer everything with this status. */
  outage: number | undefined;
  /** Resolves when a stalled answer has sent what it sends. */
  stalled: Promise<void>;
  close(): Promise<void>;
}

/** The commit that the server names for a model's files. */
export function commitOf(model: ServedModel): string {
  const hash = createHash("sha1");
  for (const [name, content] of Object.entries(model.files))
    hash.update(`${name}\0${content.length}\0`).update(content);
  return hash.digest("hex");
}

/** What the hub calls the content: SHA-256 for large files, git's blob name for small ones. */
export function contentHash(name: string, content: Buffer): string {
  if (isLarge(name)) return createHash("sha256").update(content).digest("hex");
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

function isLarge(name: string): boolean {
  return /\.(safetensors|bin)$/.test(name);
}

/** Starts both servers. `models` may be changed between requests. */
export async function startHubServer(models: readonly ServedModel[]): Promise<HubServer> {
  const requests: HubRequest[] = [];
  const faults = new Map<string, Fault[]>();
  let markStalled = () => {};
  const cdn = createServer((request, response) => {
    log(requests, "cdn", request);
    const hash = (request.url ?? "").replace("/cdn/", "");
    const files = models.flatMap((model) => Object.entries(model.files));
    const found = files.find(([name, content]) => contentHash(name, content) === hash);
    if (found === undefined) return answer(response, 404, "no such content");
    // As the real one: the client library asks such a server directly from then on.
    response.setHeader("X-Cache", "Miss from cloudfront");
    sendContent(request, response, found[0], found[1], faults, markStalled);
  });
  const cdnAddress = await listen(cdn);
  const hub = createServer((request, response) => {
    log(requests, "hub", request);
    if (handle.outage !== undefined) return answer(response, handle.outage, "the hub is having a bad day");
    const path = new URL(request.url ?? "", "http://localhost").pathname;
    const api = /^\/api\/models\/(.+?)\/(revision|tree)\/([^/]+)$/.exec(path);
    const file = /^\/(.+?)\/resolve\/([^/]+)\/(.+)$/.exec(path);
    const id = api?.[1] ?? file?.[1] ?? "";
    const renamed = models.find((model) => model.formerIds?.includes(id));
    if (renamed !== undefined) {
      const location = (request.url ?? "").replace(id, renamed.id);
      response.writeHead(307, { location }).end();
      return;
    }
    const model = models.find((candidate) => candidate.id === id);
    if (model === undefined) return answer(response, 404, "Repository not found", "RepoNotFound");
    const bearer = request.headers.authorization;
    if (model.token !== undefined && bearer !== `Bearer ${model.token}`) {
      return answer(response, 401, "Invalid username or password.", "RepoNotFound");
    }
    const commit = commitOf(model);
    const revision = decodeURIComponent(api?.[3] ?? file?.[2] ?? "");
    if (revision !== commit && !(model.revisions ?? ["main"]).includes(revision)) {
      return answer(response, 404, `Invalid rev id: ${revision}`, "RevisionNotFound");
    }
    if (api !== null) return answerApi(response, model, api[2] === "tree", commit);
    if (model.gated !== undefined && bearer !== `Bearer ${model.gated}`) {
      return answer(
        response,
        bearer === undefined ? 401 : 403,
        `Access to model ${id} is restricted.`,
        "GatedRepo",
      );
    }
    const name = file?.[3] ?? "";
    const content = model.files[name];
    if (content === undefined) return answer(response, 404, "Entry not found", "EntryNotFound");
    response.setHeader("X-Repo-Commit", commit);
    if (!isLarge(name)) return sendContent(request, response, name, content, faults, markStalled);
    response.setHeader("X-Linked-Size", content.length);
    response.setHeader("X-Linked-Etag", `"${contentHash(name, content)}"`);
    if (model.xet && request.headers.accept?.includes("application/vnd.xet-fileinfo+json")) {
      response.setHeader("X-Xet-Hash", contentHash(name, content));
      const place = `${endpoint}/xet/${contentHash(name, content)}`;
      const links = `<${place}/auth>; rel="xet-auth", <${place}/reconstruction>; rel="xet-reconstruction-info"`;
      response.writeHead(200, { link: links, "content-type": "application/vnd.xet-fileinfo+json" }).end("{}");
      return;
    }
    response.writeHead(302, { location: `${cdnAddress}/cdn/${contentHash(name, content)}` }).end();
  });
  const endpoint = await listen(hub);
  const handle: HubServer = {
    endpoint,
    requests,
    faults,
    outage: undefined,
    stalled: new Promise((resolve) => {
      markStalled = resolve;
    }),
    close: async () => {
      await Promise.all([hub, cdn].map(stop));
    },
  };
  return handle;
}

function log(requests: HubRequest[], server: "hub" | "cdn", request: IncomingMessage): void {
  const { range, authorization } = request.headers;
  requests.push({ server, method: request.method ?? "", path: request.url ?? "", range, authorization });
}

function answer(response: ServerResponse, status: number, error: string, code?: string): void {
  if (code !== undefined) response.setHeader("X-Error-Code", code);
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ error }));
}

function answerApi(response: ServerResponse, model: ServedModel, tree: boolean, commit: string): void {
  const entries = Object.entries(model.files).map(([path, content]) => ({
    type: "file",
    path,
    size: content.length,
    // For a large file git holds a pointer; its hash is of no use here, so any will do.
    oid: isLarge(path) ? "0".repeat(40) : contentHash(path, content),
    ...(isLarge(path) && {
      lfs: { oid: contentHash(path, content), size: content.length, pointerSize: 134 },
    }),
  }));
  const info = { _id: "0", id: model.id, sha: commit, private: false, gated: model.gated !== undefined };
  response.setHeader("content-type", "application/json");
  response.end(
    JSON.stringify(
      tree ? entries : { ...info, downloads: 0, likes: 0, lastModified: "2024-01-01T00:00:00Z" },
    ),
  );
}

function sendContent(
  request: IncomingMessage,
  response: ServerResponse,
  name: string,
  content: Buffer,
  faults: Map<string, Fault[]>,
  markStalled: () => void,
): void {
  const asked = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const from = Number(asked?.[1] ?? 0);
  const to = asked?.[2] ? Math.min(Number(asked[2]), content.length - 1) : content.length - 1;
  response.setHeader("ETag", `"${contentHash(name, content)}"`);
  response.setHeader("Accept-Ranges", "bytes");
  if (from > to) {
    response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
    return;
  }
  if (asked !== null) response.setHeader("Content-Range", `bytes ${from}-${to}/${content.length}`);
  const status = asked === null ? 200 : 206;
  const body = content.subarray(from, to + 1);
  // The probe for size and hash asks for one byte; faults are for the content.
  const fault = body.length > 1 ? faults.get(name)?.shift() : undefined;
  const sent = fault !== undefined && "afterBytes" in fault ? body.subarray(0, fault.afterBytes) : body;
  switch (fault?.kind) {
    case undefined:
      response.writeHead(status, { "content-length": body.length }).end(body);
      return;
    case "short":
      response.writeHead(status, { "content-length": sent.length }).end(sent);
      return;
    case "long":
      response
        .writeHead(status, { "content-length": body.length + 5 })
        .end(Buffer.concat([body, Buffer.from("12345")]));
      return;
    case "corrupt": {
      const wrong = Buffer.from(body);
      wrong[wrong.length - 1] = 255 - (body.at(-1) ?? 0);
      response.writeHead(status, { "content-length": wrong.length }).end(wrong);
      return;
    }
    case "cut":
      response.writeHead(status, { "content-length": body.length });
      // Once the bytes are with the system; a destroyed socket would throw away what is still queued.
      response.write(sent, () => response.socket?.end());
      return;
    case "stall":
      response.writeHead(status, { "content-length": body.length });
      response.write(sent, markStalled);
      return;
  }
}

function listen(server: Server): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      if (address === null || typeof address === "string") throw new Error("the test hub has no port");
      resolve(`http://127.0.0.1:${address.port}`);
    });
  });
}

function stop(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

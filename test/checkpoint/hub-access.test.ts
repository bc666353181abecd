import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { resolveCheckpoint } from "../../src/checkpoint/hub.js";
import { withoutSecrets } from "../../src/checkpoint/hub-connection.js";
import { InputError, RunError } from "../../src/errors.js";
import { emptyHome, goldenFiles, HELLO, NOBODY, startCase } from "../support/hub-case.js";
import { contentHash, type HubServer, type ServedModel } from "../support/hub-server.js";

async function caught(name: string): Promise<unknown> {
  return resolveCheckpoint(name).then(
    () => undefined,
    (error: unknown) => error,
  );
}

async function closedCase(access: Partial<ServedModel>): Promise<{ hub: HubServer; home: string }> {
  return startCase([{ id: "tiny/gpt2", files: await goldenFiles("gpt2_hub"), ...access }]);
}

describe("tokens", () => {
  test.each(["hf_right", "a-mirrors-token"])(
    "HF_TOKEN=%s goes to the hub and not to the content server",
    async (token) => {
      const { hub } = await closedCase({ token });
      vi.stubEnv("HF_TOKEN", token);
      await resolveCheckpoint("tiny/gpt2");
      const to = (server: string) => hub.requests.filter((request) => request.server === server);
      expect(new Set(to("hub").map(({ authorization }) => authorization))).toEqual(
        new Set([`Bearer ${token}`]),
      );
      expect(to("cdn").length).toBeGreaterThan(0);
      expect(new Set(to("cdn").map(({ authorization }) => authorization))).toEqual(new Set([undefined]));
    },
  );

  test("the token file in HF_HOME, unless HF_TOKEN is set", async () => {
    const { hub, home } = await closedCase({ token: "hf_right" });
    await writeFile(join(home, "token"), "hf_right\n");
    vi.stubEnv("HF_TOKEN", "hf_wrong");
    expect(await caught("tiny/gpt2")).toBeInstanceOf(InputError);
    vi.stubEnv("HF_TOKEN", "");
    await resolveCheckpoint("tiny/gpt2");
    expect(hub.requests.filter(({ server }) => server === "hub").at(-1)?.authorization).toBe(
      "Bearer hf_right",
    );
  });

  test("nothing is sent where no token is set", async () => {
    const { hub } = await closedCase({});
    await resolveCheckpoint("tiny/gpt2");
    expect(new Set(hub.requests.map(({ authorization }) => authorization))).toEqual(new Set([undefined]));
  });

  test("a private model without a token, and with a wrong one", async () => {
    const { hub } = await closedCase({ token: "hf_right" });
    const without = await caught("tiny/gpt2");
    expect(without).toBeInstanceOf(InputError);
    expect(without).toHaveProperty(
      "message",
      `resolveCheckpoint: tiny/gpt2: ${hub.endpoint} wants a token (401): the model is private, gated or does not exist; set HF_TOKEN to a token that may read it`,
    );
    vi.stubEnv("HF_TOKEN", "hf_wrong");
    const wrong = await caught("tiny/gpt2");
    expect(wrong).toBeInstanceOf(InputError);
    expect(wrong).toHaveProperty(
      "message",
      `resolveCheckpoint: tiny/gpt2: the token (HF_TOKEN) was refused by ${hub.endpoint} (401): expected one that may read this model; if the model is gated, accept its terms at ${hub.endpoint}/tiny/gpt2 first`,
    );
  });

  test("a gated model, whose page is open and whose files are not", async () => {
    const { hub } = await closedCase({ gated: "hf_right" });
    const without = await caught("tiny/gpt2");
    expect(without).toBeInstanceOf(InputError);
    expect(without).toHaveProperty("message", expect.stringMatching(/wants a token \(401\).* set HF_TOKEN/));
    vi.stubEnv("HF_TOKEN", "hf_stranger");
    const stranger = await caught("tiny/gpt2");
    expect(stranger).toBeInstanceOf(InputError);
    expect(stranger).toHaveProperty(
      "message",
      expect.stringContaining(`the token (HF_TOKEN) was refused by ${hub.endpoint} (403)`),
    );
    vi.stubEnv("HF_TOKEN", "hf_right");
    await resolveCheckpoint("tiny/gpt2");
  });
});

describe("secrets stand in no error", () => {
  const EXPECTED = "expected a token, one line of visible ASCII characters without spaces, got";

  test.each([
    ["two lines", "hf_SECRET\nsecond line", "2 lines"],
    ["lines of Windows", "hf_SECRET\r\nb\r\nc", "3 lines"],
    ["quotation marks", "“hf_SECRET”", "other characters in it"],
    ["a space", "Bearer hf_SECRET", "other characters in it"],
    ["a control character", "hf_SECRET\u0000x", "other characters in it"],
  ])("HF_TOKEN, or the token file, of %s", async (_, token, found) => {
    const { hub, home } = await closedCase({});
    await writeFile(join(home, "token"), token);
    const file = await caught("tiny/gpt2");
    expect(file).toBeInstanceOf(InputError);
    expect(file).toHaveProperty("message", `resolveCheckpoint: ${join(home, "token")}: ${EXPECTED} ${found}`);
    // A variable of the environment cannot hold the character that ends it.
    if (!token.includes("\u0000")) {
      vi.stubEnv("HF_TOKEN", token);
      const variable = await caught("tiny/gpt2");
      expect(variable).toBeInstanceOf(InputError);
      expect(variable).toHaveProperty("message", `resolveCheckpoint: HF_TOKEN: ${EXPECTED} ${found}`);
    }
    expect(hub.requests).toEqual([]);
  });

  test.each([
    [
      "http://me:SECRET@127.0.0.1:9",
      "expected an address without user and password (set HF_TOKEN instead), got one with them for 127.0.0.1:9",
    ],
    ["https://SECRET@hub.example/x", "got one with them for hub.example"],
    [
      "http://hub.example/x?key=SECRET",
      "expected an address without a query, got one with something behind http://hub.example/x",
    ],
    ["ftp://me:SECRET@hub.example", "expected an http or https address, got something else, with an @"],
    ["me:SECRET@hub.example", "expected an http or https address, got something else, with an @"],
  ])("HF_ENDPOINT %s", async (endpoint, expected) => {
    await emptyHome(endpoint);
    const error = await caught("tiny/gpt2");
    expect(error).toBeInstanceOf(InputError);
    expect(String(error)).toContain(expected);
    expect(String(error)).not.toContain("SECRET");
  });

  test("a signature in the address that the hub sends one to", async () => {
    const server = createServer((request, response) => {
      if (request.url?.startsWith("/signed")) response.writeHead(500).end("no");
      else response.writeHead(302, { Location: "/signed/x?X-Amz-Signature=SECRET&x=1" }).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => {
      server.close();
    });
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("expected a port");
    await emptyHome(`http://127.0.0.1:${address.port}`);
    const error = await caught("tiny/gpt2");
    expect(error).toBeInstanceOf(RunError);
    expect(String(error)).toContain(`/signed/x?…`);
    expect(String(error)).not.toContain("SECRET");
  });

  test("an address in the place of a model's name", async () => {
    await emptyHome(NOBODY);
    for (const name of ["https://me:SECRET@hub.example/owner/name", "https://me:SECRET@hub.example"]) {
      const error = await caught(name);
      expect(error).toBeInstanceOf(InputError);
      expect(String(error)).not.toContain("SECRET");
    }
  });

  test.each([
    ["GET http://a:b@c.d/e?f=g failed", "GET http://…@c.d/e?… failed"],
    ["at https://u@h:8/p, and http://h/q", "at https://…@h:8/p, and http://h/q"],
    ["http://a:p@ss/w@host/x", "http://…@host/x"],
    ["no address: a@b?c", "no address: a@b?c"],
  ])("%s", (text, expected) => {
    expect(withoutSecrets(text)).toBe(expected);
  });
});

describe("what the hub does not have", () => {
  test("no such model, no such revision", async () => {
    const { hub } = await closedCase({});
    const model = await caught("tiny/gpt3");
    expect(model).toBeInstanceOf(InputError);
    expect(model).toHaveProperty(
      "message",
      `resolveCheckpoint: tiny/gpt3: no such model or revision at ${hub.endpoint}`,
    );
    const revision = await caught("tiny/gpt2@v9");
    expect(revision).toBeInstanceOf(InputError);
    expect(revision).toHaveProperty(
      "message",
      `resolveCheckpoint: tiny/gpt2, revision v9: no such model or revision at ${hub.endpoint}`,
    );
  });

  test.each<[string, Record<string, Buffer>, string]>([
    [
      "pickles only",
      { "config.json": HELLO, "pytorch_model.bin": HELLO, "model.onnx": HELLO },
      "a/b: expected safetensors weights (model.safetensors or model.safetensors.index.json), the repository has pytorch_model.bin; convert it to safetensors",
    ],
    [
      "an adapter",
      { "config.json": HELLO, "adapter_config.json": HELLO, "adapter_model.safetensors": HELLO },
      "expected a whole model in a/b, got an adapter (adapter_config.json): merge it into its model in Python first: " +
        "PeftModel.from_pretrained(model, adapter).merge_and_unload(), then save_pretrained",
    ],
    [
      "no weights",
      { "config.json": HELLO },
      "a/b: expected safetensors weights (model.safetensors or model.safetensors.index.json), the repository has no weights",
    ],
    [
      "no config",
      { "model.safetensors": HELLO },
      "a/b: expected a config.json in the repository, there is none",
    ],
    [
      "a shard that the index names and nobody has",
      {
        "config.json": HELLO,
        "model.safetensors.index.json": Buffer.from('{"weight_map":{"w":"x.safetensors"}}'),
      },
      "a/b: expected x.safetensors in the repository, as model.safetensors.index.json says",
    ],
  ])("%s", async (_title, files, message) => {
    const { hub } = await startCase([{ id: "a/b", files }]);
    const error = await caught("a/b");
    expect(error).toBeInstanceOf(InputError);
    expect(error).toHaveProperty("message", `resolveCheckpoint: ${message}`);
    expect(hub.requests.filter(({ path }) => path.includes("pytorch_model.bin"))).toEqual([]);
  });

  test.each([
    ["no JSON", "nonsense", /expected \S+model\.safetensors\.index\.json to be JSON/],
    ["no weight_map", '{"metadata":{}}', /expected weight_map of \S+index\.json to give each tensor's file/],
    [
      "a way out of the cache",
      '{"weight_map":{"w":"../../x.safetensors"}}',
      /expected weight_map of \S+index\.json to name safetensors files beside it, got "\.\.\/\.\.\/x\.safetensors"/,
    ],
    [
      "a pickle",
      '{"weight_map":{"w":"x.bin"}}',
      /expected weight_map of .* safetensors files beside it, got "x\.bin"/,
    ],
  ])("an index with %s", async (_title, index, message) => {
    const files = { "config.json": HELLO, "model.safetensors.index.json": Buffer.from(index) };
    await startCase([{ id: "a/b", files }]);
    const error = await caught("a/b");
    expect(error).toBeInstanceOf(InputError);
    expect(error).toHaveProperty("message", expect.stringMatching(message));
  });
});

describe("no answer, no disk", () => {
  test("nobody listens", async () => {
    await emptyHome(NOBODY);
    const error = await caught("gpt2");
    expect(error).toBeInstanceOf(RunError);
    expect(error).toHaveProperty(
      "message",
      expect.stringMatching(
        /^resolveCheckpoint: gpt2: cannot reach the hub at http:\/\/127\.0\.0\.1:9 \(.+\)$/,
      ),
    );
  });

  test("the hub is down and the cache is empty", async () => {
    const { hub } = await closedCase({});
    hub.outage = 503;
    const error = await caught("tiny/gpt2");
    expect(error).toBeInstanceOf(RunError);
    expect(error).toHaveProperty(
      "message",
      expect.stringContaining(
        `resolveCheckpoint: tiny/gpt2: ${hub.endpoint} answered with an error: the hub is having a bad day`,
      ),
    );
  });

  test("a cache folder that cannot be made", async () => {
    const { home } = await closedCase({});
    await writeFile(join(home, "hub"), "a file where a folder must be");
    const error = await caught("tiny/gpt2");
    expect(error).toBeInstanceOf(RunError);
    expect(error).toHaveProperty("message", expect.stringMatching(/^resolveCheckpoint: tiny\/gpt2: E.*hub/));
  });

  test("a blob's name that is taken by a folder", async () => {
    const { home } = await closedCase({});
    const config = (await goldenFiles("gpt2_hub"))["config.json"] ?? HELLO;

    await mkdir(join(home, "hub/models--tiny--gpt2/blobs", contentHash("config.json", config), "x"), {
      recursive: true,
    });
    const error = await caught("tiny/gpt2");
    expect(error).toBeInstanceOf(RunError);
    expect(error).toHaveProperty(
      "message",
      expect.stringMatching(/^resolveCheckpoint: tiny\/gpt2: E.*rename/),
    );
  });
});

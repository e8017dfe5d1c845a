// Tests the commands on small real servers that stand in for auth, collect and a push node.
// Guarantees: results go to standard output, everything else to standard error; the exit codes are 0, 1 and 2.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { signRequest } from "@petrel/shared/security/producers/request-signature";
import { freePort } from "@petrel/shared/testing/free-port";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { WsPeer } from "@petrel/shared/testing/peers/ws-peer";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { auditOptions } from "./commands/audit.js";
import { deadLettersOptions } from "./commands/dead-letters.js";
import { devicesOptions } from "./commands/devices.js";
import { keysOptions } from "./commands/keys.js";
import { listenOptions } from "./commands/listen.js";
import { redisOptions } from "./commands/redis.js";
import { sendOptions } from "./commands/send.js";
import { signingKeysOptions } from "./commands/signing-keys.js";
import { tokenOptions } from "./commands/token.js";
import { tokensOptions } from "./commands/tokens.js";
import { commandHelp } from "./help.js";
import { runPetrel } from "./run-petrel.js";

interface Asked {
  readonly line: string;
  readonly authorization: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

let directory: string;
let http: Server;
let httpUrl: string;
let node: WsPeer;
let asked: Asked[];
/** By "METHOD /path". The last answer of a list repeats. */
let answers: Map<string, { status: number; body: unknown }[]>;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "petrel-cli-"));
  asked = [];
  answers = new Map([
    ["POST /v1/tokens", [{ status: 201, body: { accessToken: "jwt", expiresIn: 60, tokenType: "Bearer" } }]],
    ["POST /v1/messages", [{ status: 202, body: { id: "p1_m", duplicate: false } }]],
  ]);
  http = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const line = `${request.method} ${request.url}`;
      asked.push({
        line,
        authorization: request.headers.authorization,
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      });
      const list = answers.get(line) ?? [];
      const answer = list.length > 1 ? list.shift() : list[0];
      response.writeHead(answer?.status ?? 404).end(JSON.stringify(answer?.body ?? {}));
    });
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  httpUrl = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  node = await WsPeer.start();
  mkdirSync(join(directory, ".data"));
  writeDevFile({
    auth: httpUrl,
    collect: httpUrl,
    dispatch: httpUrl,
    nodes: [node.url],
    apiKey: "key1",
    apiSecret: "s3cret",
    adminToken: "root.s3cret",
  });
});

afterEach(async () => {
  http.close();
  http.closeAllConnections();
  await node.close();
  rmSync(directory, { recursive: true });
});

function writeDevFile(content: unknown): void {
  writeFileSync(join(directory, ".data", "dev.json"), JSON.stringify(content));
}

interface Run {
  readonly out: string[];
  readonly err: string[];
  readonly stdin: PassThrough;
  readonly interrupt: () => void;
  readonly exitCode: Promise<number>;
}

function petrel(
  args: readonly string[],
  {
    environment = {},
    workingDirectory = directory,
    stdin = new PassThrough(),
    isUnread = (): boolean => false,
  } = {},
): Run {
  const interruption = new AbortController();
  const out: string[] = [];
  const err: string[] = [];
  const exitCode = runPetrel(
    args,
    {
      print: (line) => void out.push(line),
      deliver: async (line) => {
        if (isUnread()) throw new Error("write EPIPE");
        out.push(line);
      },
      note: (line) => void err.push(line),
      stdin,
      environment,
      workingDirectory,
      interrupted: interruption.signal,
    },
    "1.2.3",
  );
  return { out, err, stdin, interrupt: () => interruption.abort(), exitCode };
}

describe("petrel token", () => {
  it("prints the token and nothing else", async () => {
    const run = petrel(["token", "alice", "--ttl", "90"]);
    expect([await run.exitCode, run.out, run.err]).toEqual([0, ["jwt"], []]);
    expect(asked).toMatchObject([
      {
        line: "POST /v1/tokens",
        authorization: "Bearer key1.s3cret",
        body: '{"userId":"alice","ttlSeconds":90}',
      },
    ]);
  });

  it("prints the service's error", async () => {
    answers.set("POST /v1/tokens", [
      {
        status: 400,
        body: {
          error: {
            code: "PETREL_INVALID_REQUEST",
            message: "body/userId: must match",
            retryable: false,
            details: { field: "body/userId" },
          },
        },
      },
    ]);
    const run = petrel(["token", "not a user"]);
    expect([await run.exitCode, run.out, run.err]).toEqual([
      1,
      [],
      ['petrel: auth answered 400 PETREL_INVALID_REQUEST: body/userId: must match {"field":"body/userId"}'],
    ]);
  });
});

describe("petrel send", () => {
  it("sends the data as it was written", async () => {
    const run = petrel([
      "send",
      "bob",
      '{"big":12345678901234567890}',
      "--ttl",
      "5",
      "--idempotency-key",
      "k",
    ]);
    expect([await run.exitCode, run.out, run.err]).toEqual([0, ["p1_m accepted"], []]);
    expect(asked[0]?.body).toBe(
      '{"to":{"user":"bob"},"ttlSeconds":5,"idempotencyKey":"k","data":{"big":12345678901234567890}}',
    );
  });

  it("reads the data from the standard input", async () => {
    const stdin = new PassThrough();
    stdin.end('"from a pipe"');
    const run = petrel(["send", "bob", "-", "--json"], { stdin });
    expect([await run.exitCode, run.out]).toEqual([0, ['{"id":"p1_m","duplicate":false}']]);
    expect(asked[0]?.body).toBe('{"to":{"user":"bob"},"data":"from a pipe"}');
  });

  it.each([
    ["delivered", 0],
    ["pushed", 0],
    ["expired", 1],
    ["failed", 1],
  ])("waits for the end: %s exits %i", async (end, exitCode) => {
    answers.set("GET /v1/messages/p1_m", [
      { status: 200, body: { state: "queued" } },
      { status: 200, body: { state: "queued" } },
      { status: 200, body: { state: end } },
    ]);
    const run = petrel(["send", "bob", "1", "--wait"]);
    expect([await run.exitCode, run.out]).toEqual([
      exitCode,
      ["p1_m accepted", "p1_m queued", `p1_m ${end}`],
    ]);
  });

  it("does not wait for ever", async () => {
    answers.set("GET /v1/messages/p1_m", [{ status: 200, body: { state: "queued" } }]);
    const run = petrel(["send", "bob", "1", "--wait", "--wait-seconds", "1"]);
    expect([await run.exitCode, run.err]).toEqual([1, ["petrel: still queued after 1 s"]]);
  });

  it("stops waiting when it is interrupted", async () => {
    answers.set("GET /v1/messages/p1_m", [{ status: 200, body: { state: "queued" } }]);
    const run = petrel(["send", "bob", "1", "--wait"]);
    await waitFor(() => run.out.length === 2, { what: "the first state" });
    run.interrupt();
    expect([await run.exitCode, run.err]).toEqual([1, ["petrel: interrupted"]]);
  });

  it("refuses what is not JSON before it asks anyone", async () => {
    const run = petrel(["send", "bob", "{text:hello}"]);
    expect(await run.exitCode).toBe(2);
    expect(run.err[0]).toContain("the data is not JSON");
    expect(asked).toEqual([]);
  });
});

describe("petrel listen", () => {
  it("shows messages, acknowledges them, and closes cleanly when interrupted", async () => {
    const run = petrel(["listen", "alice"]);
    const socket = await node.accept();
    expect(socket.offered).toEqual(["petrel.v1", "bearer.jwt"]);
    socket.welcome();
    socket.message(1, { data: { text: "hi" } });
    expect(await socket.next("ack")).toEqual({ type: "ack", seq: 1 });
    expect(run.out).toEqual(['#1 2030-01-01T00:00:00.000Z m1 {"text":"hi"}']);
    expect(run.err).toEqual(["listening as alice on n1, epoch e1, after 0"]);
    run.interrupt();
    expect(await run.exitCode).toBe(0);
    expect(await socket.closed).toMatchObject({ code: 1000 });
  });

  it("prints JSON and ends after as many messages as asked for, all acknowledged", async () => {
    const run = petrel(["listen", "alice", "--json", "--count", "2"]);
    const socket = await node.accept();
    socket.welcome();
    for (const seq of [1, 2, 3]) socket.message(seq);
    expect(await run.exitCode).toBe(0);
    expect(run.out.map((line) => (JSON.parse(line) as { id: string }).id)).toEqual(["m1", "m2"]);
    await socket.closed;
    expect(socket.frames.at(-1)).toEqual({ type: "ack", seq: 2 });
  });

  it("acknowledges nothing that it could not print, and ends", async () => {
    let isGone = false;
    const run = petrel(["listen", "alice"], { isUnread: () => isGone });
    const socket = await node.accept();
    socket.welcome();
    socket.message(1);
    expect(await socket.next("ack")).toEqual({ type: "ack", seq: 1 });
    isGone = true;
    for (const seq of [2, 3]) socket.message(seq);
    expect(await run.exitCode).toBe(0);
    await socket.closed;
    expect(socket.frames).toEqual([{ type: "ack", seq: 1 }]);
    expect(run.out).toHaveLength(1);
  });

  it("shows what a terminal would obey as text, which is the same JSON", async () => {
    const text = "\u009b31m\u009d0;title\u009c\u001b[2J\u007f\u0085\u202ereversed\u2028";
    for (const options of [[], ["--json"]]) {
      const run = petrel(["listen", "alice", "--count", "1", ...options]);
      const socket = await node.accept();
      socket.welcome({ node: `n1${text}` });
      socket.message(1, { data: { [text]: text }, at: `now${text}` });
      expect(await run.exitCode).toBe(0);
      const [line = ""] = run.out;
      for (const shown of [line, ...run.err]) expect(shown).toMatch(/^[\x20-\x7e]+$/);
      const json = options.length > 0 ? line : line.slice(line.indexOf("{"));
      const shown = JSON.parse(json) as { data?: unknown };
      expect(shown.data ?? shown).toEqual({ [text]: text });
    }
  });

  it("resumes where it is told to", async () => {
    const run = petrel(["listen", "alice", "--epoch", "e7", "--since", "40"]);
    const socket = await node.accept();
    expect([socket.query.get("epoch"), socket.query.get("since")]).toEqual(["e7", "40"]);
    socket.welcome({ epoch: "e7", after: 40, resumed: true });
    await waitFor(() => run.err.length > 0, { what: "the welcome" });
    expect(run.err[0]).toContain("epoch e7, after 40, resumed");
    run.interrupt();
    await run.exitCode;
  });

  it("acknowledges by hand", async () => {
    const run = petrel(["listen", "alice", "--ack", "manual"]);
    const socket = await node.accept();
    socket.welcome();
    for (const seq of [1, 2, 3]) socket.message(seq);
    await waitFor(() => run.out.length === 3, { what: "three messages" });
    run.stdin.write("2\n");
    expect(await socket.next("ack")).toEqual({ type: "ack", seq: 2 });
    run.stdin.write("9\n");
    run.stdin.write("\n");
    expect(await socket.next("ack")).toEqual({ type: "ack", seq: 3 });
    expect(run.err).toContain("Enter, or a number from 1 to 3");
    run.interrupt();
    expect(await run.exitCode).toBe(0);
  });

  it("acknowledges nothing where told so, and lets the server do it where told so", async () => {
    const none = petrel(["listen", "alice", "--ack", "none"]);
    const first = await node.accept();
    expect(first.query.get("ack")).toBeNull();
    first.welcome();
    first.message(1);
    await waitFor(() => none.out.length === 1, { what: "the message" });
    none.interrupt();
    await none.exitCode;
    expect(first.frames).toEqual([]);

    const auto = petrel(["listen", "alice", "--ack", "auto"]);
    expect((await node.accept()).query.get("ack")).toBe("auto");
    auto.interrupt();
    expect(await auto.exitCode).toBe(0);
  });

  it("ends with 1 when the server says stop", async () => {
    const run = petrel(["listen", "alice"]);
    const socket = await node.accept();
    socket.welcome();
    socket.send({ type: "error", code: "PETREL_CONNECTION_REPLACED", message: "newer", action: "stop" });
    socket.close(4409);
    expect(await run.exitCode).toBe(1);
    expect(run.err.at(-1)).toBe("petrel: closed by the server with 4409 PETREL_CONNECTION_REPLACED: newer");
  });

  it("says so and goes on when the connection is lost", async () => {
    const run = petrel(["listen", "alice"]);
    const first = await node.accept();
    first.welcome();
    await waitFor(() => run.err.length === 1, { what: "the welcome" });
    first.close(1012, "drain");
    (await node.accept()).welcome({ resumed: true });
    await waitFor(() => run.err.length === 3, { what: "the second welcome" });
    expect(run.err[1]).toBe("offline (1012 drain), connecting again");
    run.interrupt();
    await run.exitCode;
  });
});

describe("petrel audit", () => {
  const act = { at: "2026-01-02T03:04:05.678Z", actor: "key:root", action: "key.revoke", target: "shop" };

  it("shows who did what, over pages that may be short", async () => {
    answers.set("GET /v1/audit?limit=50", [
      { status: 200, body: { items: [{ ...act, id: "2-0", details: { owner: "o" } }], nextCursor: "2-0" } },
    ]);
    answers.set("GET /v1/audit?limit=49&cursor=2-0", [
      { status: 200, body: { items: [], nextCursor: "1-0" } },
    ]);
    answers.set("GET /v1/audit?limit=49&cursor=1-0", [
      { status: 200, body: { items: [{ ...act, id: "0-1", details: {} }], nextCursor: null } },
    ]);
    const run = petrel(["audit"]);
    expect(await run.exitCode).toBe(0);
    expect(run.out).toEqual([
      "2026-01-02T03:04:05.678Z key:root key.revoke shop owner=o",
      "2026-01-02T03:04:05.678Z key:root key.revoke shop",
    ]);
    expect(asked[0]?.authorization).toBe("Bearer root.s3cret");
  });

  it("narrows it, and prints JSON", async () => {
    const line = "GET /v1/audit?limit=1&actor=key%3Aroot&action=key.revoke&target=shop";
    answers.set(line, [{ status: 200, body: { items: [{ ...act, details: {} }], nextCursor: "x" } }]);
    const options = ["--actor", "key:root", "--action", "key.revoke", "--target", "shop"];
    const run = petrel(["audit", ...options, "--limit", "1", "--json"]);
    expect(await run.exitCode).toBe(0);
    expect(run.out).toEqual([JSON.stringify({ ...act, details: {} })]);
  });
});

describe("petrel keys", () => {
  const key = {
    id: "pk_1",
    owner: "shop",
    name: "Shop",
    scopes: ["send", "read"],
    signing: true,
    createdAt: "2030-01-01T00:00:00.000Z",
  };

  it("makes one, and prints its credential alone", async () => {
    answers.set("POST /v1/keys", [{ status: 201, body: { ...key, secret: "new" } }]);
    const made = petrel(["keys", "create", "--name", "Shop", "--scopes", "send, read"]);
    expect([await made.exitCode, made.out]).toEqual([0, ["pk_1.new"]]);
    expect(made.err).toEqual(["This is the only time the secret is shown."]);
    const options = ["--owner", "shop", "--signing", "--require-signature", "--messages-per-second", "0"];
    const unlimited = ["--messages-per-second", "unlimited"];
    await petrel(["keys", "create", "--name", "Shop", "--scopes", "send", ...unlimited]).exitCode;
    expect(asked.pop()?.body).toBe('{"name":"Shop","scopes":["send"],"messagesPerSecond":"unlimited"}');
    const full = petrel(["keys", "create", "--name", "Shop", "--scopes", "send", ...options, "--json"]);
    expect([await full.exitCode, full.out]).toEqual([0, [JSON.stringify({ ...key, secret: "new" })]]);
    expect(asked.map(({ authorization, body }) => [authorization, body])).toEqual([
      ["Bearer root.s3cret", '{"name":"Shop","scopes":["send","read"]}'],
      [
        "Bearer root.s3cret",
        '{"name":"Shop","owner":"shop","scopes":["send"],"signing":true,"require":"signature","messagesPerSecond":0}',
      ],
    ]);
  });

  it("lists them, page by page", async () => {
    const rotated = { rotatedAt: "2030-01-02T00:00:00.000Z", formerUntil: "2030-01-03T00:00:00.000Z" };
    const strict = { ...key, id: "pk_2", require: "signature", messagesPerSecond: 5, ...rotated };
    const plain = {
      ...key,
      id: "pk_3",
      signing: false,
      messagesPerSecond: "unlimited",
      revokedAt: "2030-01-04T00:00:00.000Z",
    };
    answers.set("GET /v1/keys?limit=1000", [{ status: 200, body: { items: [key], nextCursor: "pk_1" } }]);
    answers.set("GET /v1/keys?limit=1000&cursor=pk_1", [
      { status: 200, body: { items: [strict, plain], nextCursor: null } },
    ]);
    const run = petrel(["keys", "list"]);
    expect([await run.exitCode, run.out]).toEqual([
      0,
      [
        "pk_1 shop send,read may sign, created 2030-01-01T00:00:00.000Z: Shop",
        "pk_2 shop send,read must sign, 5 messages/s, created 2030-01-01T00:00:00.000Z, rotated 2030-01-02T00:00:00.000Z, " +
          "a former secret good until 2030-01-03T00:00:00.000Z: Shop",
        "pk_3 shop send,read no limit, created 2030-01-01T00:00:00.000Z, REVOKED 2030-01-04T00:00:00.000Z: Shop",
      ],
    ]);
  });

  it("rotates and revokes one", async () => {
    answers.set("POST /v1/keys/pk_1/rotate", [{ status: 200, body: { ...key, secret: "newer" } }]);
    answers.set("DELETE /v1/keys/pk_1", [{ status: 204, body: undefined }]);
    const rotate = petrel(["keys", "rotate", "pk_1", "--overlap-seconds", "60"]);
    expect([await rotate.exitCode, rotate.out]).toEqual([0, ["pk_1.newer"]]);
    expect(asked[0]?.body).toBe('{"overlapSeconds":60}');
    const revoke = petrel(["keys", "revoke", "pk_1"]);
    expect([await revoke.exitCode, revoke.out]).toEqual([0, ["pk_1 revoked"]]);
  });

  it.each([
    [["keys"]],
    [["keys", "make"]],
    [["keys", "create", "--scopes", "send"]],
    [["keys", "create", "--name", "n"]],
    [["keys", "create", "--name", "n", "--scopes", "send", "--messages-per-second", "-1"]],
    [["keys", "create", "--name", "n", "--scopes", "send", "--messages-per-second", "none"]],
    [["keys", "rotate"]],
    [["keys", "rotate", "pk_1", "--signing"]],
    [["keys", "revoke", "pk_1", "--overlap-seconds", "1"]],
  ])("%j is a wrong command line, and asks nobody", async (args) => {
    const run = petrel(args);
    expect(await run.exitCode).toBe(2);
    expect(asked).toEqual([]);
  });
});

describe("--sign", () => {
  it("signs what is sent, and keeps the secret back", async () => {
    const run = petrel(["send", "bob", '"é"', "--sign"]);
    expect(await run.exitCode).toBe(0);
    const [{ headers, body }] = asked as [Asked];
    expect(headers.authorization).toBeUndefined();
    expect(JSON.stringify(headers)).not.toContain("s3cret");
    const content = {
      id: String(headers["petrel-id"]),
      timestamp: String(headers["petrel-timestamp"]),
      method: "POST",
      target: "/v1/messages",
      bodySha256: createHash("sha256").update(body).digest("hex"),
    };
    expect(headers["petrel-key"]).toBe("key1");
    expect(headers["petrel-signature"]).toBe(`v1,${signRequest(content, "s3cret")}`);
    expect(Math.abs(Number(content.timestamp) - Date.now() / 1_000)).toBeLessThan(300);
  });

  it("covers the query, and has a nonce for each request", async () => {
    answers.set("GET /v1/keys?limit=1000", [{ status: 200, body: { items: [], nextCursor: null } }]);
    for (let i = 0; i < 2; i++) expect(await petrel(["keys", "list", "--sign"]).exitCode).toBe(0);
    const [first, second] = asked as [Asked, Asked];
    const content = {
      id: String(first.headers["petrel-id"]),
      timestamp: String(first.headers["petrel-timestamp"]),
      method: "GET",
      target: "/v1/keys?limit=1000",
      bodySha256: createHash("sha256").digest("hex"),
    };
    expect(first.headers["petrel-signature"]).toBe(`v1,${signRequest(content, "s3cret")}`);
    expect(second.headers["petrel-id"]).not.toBe(content.id);
  });
});

describe("petrel tokens revoke", () => {
  it.each([
    [["--user", "a@b"], { userId: "a@b" }, "all tokens of a@b revoked"],
    [["--jti", "j1"], { jti: "j1" }, "token j1 revoked"],
    [["--jti", "j1", "--exp", "1900000000"], { jti: "j1", exp: 1_900_000_000 }, "token j1 revoked"],
    [["--token", "a.b.c"], { token: "a.b.c" }, "token revoked"],
  ])("%j", async (args, body, said) => {
    answers.set("POST /v1/tokens/revoke", [{ status: 204, body: undefined }]);
    const run = petrel(["tokens", "revoke", ...args]);
    expect([await run.exitCode, run.out, run.err]).toEqual([0, [said], []]);
    expect(asked[0]?.authorization).toBe("Bearer root.s3cret");
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual(body);
  });

  it("reads a token from the standard input, which no list of processes shows", async () => {
    answers.set("POST /v1/tokens/revoke", [{ status: 204, body: undefined }]);
    const run = petrel(["tokens", "revoke", "--token", "-"]);
    run.stdin.end("a.b.c\n");
    expect([await run.exitCode, run.out]).toEqual([0, ["token revoked"]]);
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual({ token: "a.b.c" });
  });

  it.each([
    [[]],
    [["revoke"]],
    [["revoke", "--user", "a", "--jti", "j"]],
    [["revoke", "--jti", "j", "--token", "a.b.c"]],
    [["revoke", "--user", "a", "--exp", "1"]],
    [["revoke", "--token", "a.b.c", "--exp", "1"]],
    [["revoke", "--jti", "j", "--exp", "tomorrow"]],
    [["revoke", "--token", ""]],
    [["revoke", "alice"]],
    [["list"]],
  ])("%j is a wrong command line, and asks nothing", async (args) => {
    expect(await petrel(["tokens", ...args]).exitCode).toBe(2);
    expect(asked).toEqual([]);
  });
});

describe("petrel signing-keys", () => {
  const key = {
    kid: "k1",
    alg: "ES256",
    state: "retired",
    createdAt: "2030-01-01T00:00:00.000Z",
    activeFrom: "2030-01-02T00:00:00.000Z",
    retiredAt: "2030-01-03T00:00:00.000Z",
    publishedUntil: "2030-01-04T00:00:00.000Z",
  };

  it("lists them", async () => {
    answers.set("GET /v1/signing-keys", [{ status: 200, body: { items: [key], nextCursor: null } }]);
    const run = petrel(["signing-keys", "list"]);
    expect([await run.exitCode, run.out]).toEqual([
      0,
      [
        "k1 ES256 retired created 2030-01-01T00:00:00.000Z, signs from 2030-01-02T00:00:00.000Z, " +
          "until 2030-01-03T00:00:00.000Z, published until 2030-01-04T00:00:00.000Z",
      ],
    ]);
    const asJson = petrel(["signing-keys", "list", "--json"]);
    expect([await asJson.exitCode, asJson.out]).toEqual([0, [JSON.stringify(key)]]);
  });

  it.each([
    [[], false],
    [["--immediately"], true],
  ])("rotates, with %j", async (args, immediately) => {
    answers.set("POST /v1/signing-keys/rotate", [{ status: 200, body: key }]);
    const run = petrel(["signing-keys", "rotate", ...args]);
    expect([await run.exitCode, run.out.length]).toEqual([0, 1]);
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual({ immediately });
  });

  it.each([[[]], [["list", "--immediately"]], [["rotate", "k1"]], [["delete"]]])(
    "%j is a wrong command line, and asks nothing",
    async (args) => {
      expect(await petrel(["signing-keys", ...args]).exitCode).toBe(2);
      expect(asked).toEqual([]);
    },
  );
});

describe("petrel dead-letters", () => {
  const id = "p0_rejected_1-0";
  const letter = {
    id,
    messageId: "p0_m",
    user: "alice",
    cause: "rejected",
    reason: "HTTP 422",
    attempts: 1,
    at: "2030-01-01T00:00:00.000Z",
  };

  it("lists them, page by page, with the key of an administrator", async () => {
    answers.set("GET /v1/dead-letters?limit=1000", [
      { status: 200, body: { items: [letter], nextCursor: "next" } },
    ]);
    answers.set("GET /v1/dead-letters?limit=1000&cursor=next", [
      { status: 200, body: { items: [{ ...letter, id: "last", attempts: 3 }], nextCursor: null } },
    ]);
    const run = petrel(["dead-letters", "list", "--all"]);
    expect([await run.exitCode, run.out]).toEqual([
      0,
      [
        `${id} 2030-01-01T00:00:00.000Z rejected alice p0_m 1 attempt: HTTP 422`,
        "last 2030-01-01T00:00:00.000Z rejected alice p0_m 3 attempts: HTTP 422",
      ],
    ]);
    expect(asked[0]?.authorization).toBe("Bearer root.s3cret");
  });

  it("lists as many as asked for, of one cause", async () => {
    answers.set("GET /v1/dead-letters?limit=1&cause=rejected", [
      { status: 200, body: { items: [letter], nextCursor: "next" } },
    ]);
    const run = petrel(["dead-letters", "list", "--cause", "rejected", "--limit", "1", "--json"]);
    expect([await run.exitCode, run.out]).toEqual([0, [JSON.stringify(letter)]]);
    expect(asked).toHaveLength(1);
  });

  it("shows a reason that a terminal would obey as text, on one line", async () => {
    const reason = "no\u009b2J\nsecond line\u202e";
    const letter = { id: "d1", messageId: "m", user: "u", cause: "apns", reason, attempts: 1, at: "now" };
    answers.set("GET /v1/dead-letters?limit=50", [{ status: 200, body: { items: [letter] } }]);
    answers.set("GET /v1/dead-letters/d1", [
      { status: 409, body: { error: { code: "X", message: reason, retryable: false } } },
    ]);
    const list = petrel(["dead-letters", "list"]);
    expect([await list.exitCode, list.out]).toEqual([
      0,
      ["d1 now apns u m 1 attempt: no\\u009b2J\\u000asecond line\\u202e"],
    ]);
    const show = petrel(["dead-letters", "show", "d1"]);
    expect([await show.exitCode, show.err]).toEqual([
      1,
      ["petrel: dispatch answered 409 X: no\\u009b2J\\u000asecond line\\u202e"],
    ]);
  });

  it("shows, replays and deletes one", async () => {
    answers.set(`GET /v1/dead-letters/${id}`, [{ status: 200, body: letter }]);
    answers.set(`POST /v1/dead-letters/${id}/replay`, [{ status: 202, body: { id: "p0_m" } }]);
    answers.set(`DELETE /v1/dead-letters/${id}`, [{ status: 204, body: undefined }]);
    const show = petrel(["dead-letters", "show", id]);
    expect([await show.exitCode, show.out.join("\n")]).toEqual([0, JSON.stringify(letter, undefined, 2)]);
    const replay = petrel(["dead-letters", "replay", id]);
    expect([await replay.exitCode, replay.out]).toEqual([0, ["p0_m sent again"]]);
    const remove = petrel(["dead-letters", "delete", id]);
    expect([await remove.exitCode, remove.out]).toEqual([0, [`${id} deleted`]]);
  });

  it("replays all of a cause; one that cannot be does not keep the others, and shows in the exit code", async () => {
    answers.set("GET /v1/dead-letters?limit=1000&cause=rejected", [
      { status: 200, body: { items: [{ id: "a" }, { id: "b" }], nextCursor: null } },
    ]);
    const error = { code: "PETREL_CONFLICT", message: "The message is delivered.", retryable: false };
    answers.set("POST /v1/dead-letters/a/replay", [{ status: 409, body: { error } }]);
    answers.set("POST /v1/dead-letters/b/replay", [{ status: 202, body: { id: "p0_b" } }]);
    const run = petrel(["dead-letters", "replay", "--cause", "rejected"]);
    expect([await run.exitCode, run.out, run.err]).toEqual([
      1,
      ["p0_b sent again"],
      ["a: dispatch answered 409 PETREL_CONFLICT: The message is delivered.", "1 of 2 sent again"],
    ]);
  });

  it("purges what it was told to", async () => {
    answers.set("DELETE /v1/dead-letters?cause=rejected", [{ status: 200, body: { purged: 3 } }]);
    answers.set("DELETE /v1/dead-letters", [{ status: 200, body: { purged: 5 } }]);
    const one = petrel(["dead-letters", "purge", "--cause", "rejected"]);
    expect([await one.exitCode, one.out]).toEqual([0, ["3 deleted"]]);
    const all = petrel(["dead-letters", "purge", "--all"]);
    expect([await all.exitCode, all.out]).toEqual([0, ["5 deleted"]]);
  });

  it("says what dispatch said", async () => {
    const error = { code: "PETREL_NOT_FOUND", message: "There is none.", retryable: false };
    answers.set("GET /v1/dead-letters/x", [{ status: 404, body: { error } }]);
    const run = petrel(["dead-letters", "show", "x"]);
    expect([await run.exitCode, run.err]).toEqual([
      1,
      ["petrel: dispatch answered 404 PETREL_NOT_FOUND: There is none."],
    ]);
  });
});

describe("petrel devices", () => {
  const times = { registeredAt: "2030-01-01T00:00:00.000Z", lastSeenAt: "2030-01-02T00:00:00.000Z" };
  const iphone = {
    id: "d_1",
    platform: "ios",
    topic: "com.example.app",
    environment: "production",
    tokenEnd: "abcdef",
    ...times,
  };
  const wechat = { id: "d_2", platform: "wechat", appid: "wx1", openidEnd: "123456", ...times };

  it("lists a user's, page by page", async () => {
    answers.set("GET /v1/users/a%40b/devices?limit=1000", [
      { status: 200, body: { items: [iphone], nextCursor: "d_1" } },
    ]);
    answers.set("GET /v1/users/a%40b/devices?limit=1000&cursor=d_1", [
      { status: 200, body: { items: [{ ...wechat }], nextCursor: null } },
    ]);
    const run = petrel(["devices", "list", "a@b"]);
    const when = "registered 2030-01-01T00:00:00.000Z, seen 2030-01-02T00:00:00.000Z";
    expect([await run.exitCode, run.out, run.err]).toEqual([
      0,
      [`d_1 ios com.example.app production …abcdef ${when}`, `d_2 wechat wx1 …123456 ${when}`],
      [],
    ]);
    expect(asked[0]?.authorization).toBe("Bearer root.s3cret");
    const asJson = petrel(["devices", "list", "a@b", "--json"]);
    expect([await asJson.exitCode, asJson.out]).toEqual([
      0,
      [iphone, wechat].map((one) => JSON.stringify(one)),
    ]);
  });

  it("says where one is in quarantine", async () => {
    const resting = { ...iphone, quarantinedUntil: "2030-01-03T00:00:00.000Z" };
    answers.set("GET /v1/users/alice/devices?limit=1000", [
      { status: 200, body: { items: [resting], nextCursor: null } },
    ]);
    const run = petrel(["devices", "list", "alice"]);
    await run.exitCode;
    expect(run.out[0]).toMatch(/, in quarantine until 2030-01-03T00:00:00.000Z$/);
  });

  it("registers one of each platform, as it was given", async () => {
    answers.set("PUT /v1/users/alice/devices", [{ status: 204, body: undefined }]);
    const ios = ["--token", "abcdef", "--topic", "com.example.app", "--environment", "sandbox"];
    const first = petrel(["devices", "register", "alice", ...ios]);
    expect([await first.exitCode, first.out]).toEqual([0, ["registered"]]);
    const second = ["--platform", "wechat", "--openid", "o1", "--appid", "wx1"];
    expect(await petrel(["devices", "register", "alice", ...second]).exitCode).toBe(0);
    expect(asked.map(({ body }) => JSON.parse(body) as unknown)).toEqual([
      { platform: "ios", token: "abcdef", topic: "com.example.app", environment: "sandbox" },
      { platform: "wechat", openid: "o1", appid: "wx1" },
    ]);
  });

  it("deletes one, and says what auth said where there is none", async () => {
    answers.set("DELETE /v1/users/alice/devices/d_1", [{ status: 204, body: undefined }]);
    const run = petrel(["devices", "delete", "alice", "d_1"]);
    expect([await run.exitCode, run.out]).toEqual([0, ["d_1 deleted"]]);
    const error = { code: "PETREL_NOT_FOUND", message: "There is none.", retryable: false };
    answers.set("DELETE /v1/users/alice/devices/d_9", [{ status: 404, body: { error } }]);
    const other = petrel(["devices", "delete", "alice", "d_9"]);
    expect([await other.exitCode, other.err]).toEqual([
      1,
      ["petrel: auth answered 404 PETREL_NOT_FOUND: There is none."],
    ]);
  });
});

describe("which cluster", () => {
  it("is found from a directory below", async () => {
    const below = join(directory, "a", "b");
    mkdirSync(below, { recursive: true });
    const run = petrel(["token", "alice"], { workingDirectory: below });
    expect([await run.exitCode, run.out]).toEqual([0, ["jwt"]]);
  });

  it("is taken from options, then the environment, then the file", async () => {
    const nowhere = `http://127.0.0.1:${await freePort()}`;
    writeDevFile({ auth: nowhere, collect: nowhere, nodes: [], apiKey: "file", apiSecret: "x" });
    const environment = { PETREL_AUTH_URL: httpUrl, PETREL_KEY: "environment.x" };
    expect(await petrel(["token", "alice"], { environment }).exitCode).toBe(0);
    expect(await petrel(["token", "alice", "--key", "option.x"], { environment }).exitCode).toBe(0);
    expect(await petrel(["token", "alice", "--auth", httpUrl]).exitCode).toBe(0);
    expect(asked.map(({ authorization }) => authorization)).toEqual([
      "Bearer environment.x",
      "Bearer option.x",
      "Bearer file.x",
    ]);
  });

  it("may be named by a file", async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), "petrel-cli-"));
    const file = join(directory, ".data", "dev.json");
    try {
      for (const options of [
        { args: ["--config", file], environment: {} },
        { args: [], environment: { PETREL_DEV_JSON: file } },
      ]) {
        const { environment } = options;
        const run = petrel(["token", "a", ...options.args], { environment, workingDirectory: elsewhere });
        expect(await run.exitCode).toBe(0);
      }
      const none = petrel(["listen", "a"], { workingDirectory: elsewhere });
      expect(await none.exitCode).toBe(1);
      expect(none.err[0]).toContain("no running cluster found");
      expect(none.err[0]).toContain("--auth, --node, --key");
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  });

  it("that does not answer is said to be away", async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const environment = { PETREL_AUTH_URL: url };
    for (const command of ["token", "listen"]) {
      const run = petrel([command, "alice"], { environment });
      expect([await run.exitCode, run.err]).toEqual([
        1,
        [`petrel: auth at ${url} does not answer (ECONNREFUSED): is the cluster running?`],
      ]);
    }
  });

  it("that is something else is said to be so", async () => {
    const run = petrel(["send", "bob", "1", "--collect", `${httpUrl}/elsewhere/`]);
    answers.delete("POST /v1/messages");
    expect(await run.exitCode).toBe(1);
    expect(run.err[0]).toContain("collect answered 404, which is no answer of Petrel");
  });

  it("with a broken file is an error that names it", async () => {
    writeFileSync(join(directory, ".data", "dev.json"), "{");
    const run = petrel(["token", "alice"]);
    expect(await run.exitCode).toBe(1);
    expect(run.err[0]).toContain(join(directory, ".data", "dev.json"));
  });
});

describe("the command line", () => {
  it.each([
    [[], "which command?"],
    [["shout"], 'no command "shout"'],
    [["listen"], "USER is missing"],
    [["devices"], "There are list, register, delete."],
    [["devices", "sell"], "There are list"],
    [["devices", "list"], "USER is missing"],
    [["devices", "delete", "alice"], "ID is missing"],
    [["devices", "register", "alice", "--topic", "t"], "--token is missing"],
    [["devices", "register", "alice", "--platform", "android"], "--platform must be ios or wechat"],
    [["devices", "register", "alice", "--platform", "wechat", "--openid", "o"], "--appid is missing"],
    [
      [
        "devices",
        "register",
        "alice",
        "--platform",
        "wechat",
        "--openid",
        "o",
        "--appid",
        "a",
        "--token",
        "t",
      ],
      "--token is not for wechat",
    ],
    [["dead-letters"], "There are list, show, replay, delete, purge."],
    [["dead-letters", "shred"], "There are list"],
    [["dead-letters", "show"], "ID is missing"],
    [["dead-letters", "replay"], "ID is missing"],
    [["dead-letters", "replay", "x", "--cause", "rejected"], 'what is "x" for?'],
    [["dead-letters", "purge"], "Either --cause or --all"],
    [["dead-letters", "purge", "--all", "--cause", "rejected"], "Either --cause or --all"],
    [["dead-letters", "list", "--limit", "0"], "--limit must be a whole number from 1"],
    [["send", "bob"], "JSON is missing"],
    [["send", "bob", "1", "2"], 'what is "2" for?'],
    [["token", "alice", "--colour"], "--colour"],
    [["token", "alice", "--ttl", "soon"], "--ttl must be a whole number from 1"],
    [["listen", "alice", "--ack", "maybe"], "--ack must be one of"],
    [["listen", "alice", "--since", "4"], "--epoch and --since go together"],
    [["token", "alice", "--auth", "ftp://x"], "--auth must be a URL with http:// or https://"],
    [["token", "alice", "--key", "nodot"], "--key must have the form KEY.SECRET"],
    [["listen", "alice", "--node", "http://x"], "--node must be a URL with ws:// or wss://"],
  ])("%o is refused with 2", async (args, problem) => {
    const run = petrel(args);
    expect(await run.exitCode).toBe(2);
    expect(run.err[0]).toContain(problem);
    expect(run.err[1]).toContain("--help");
    expect([run.out, asked]).toEqual([[], []]);
  });

  it.each([["--help"], ["-h"], ["help"]])("%s lists the commands", async (...args) => {
    const run = petrel(args);
    expect(await run.exitCode).toBe(0);
    for (const name of Object.keys(commandHelp)) expect(run.out.join("\n")).toContain(`petrel ${name} `);
  });

  it.each([
    ["listen", listenOptions],
    ["send", sendOptions],
    ["token", tokenOptions],
    ["tokens", tokensOptions],
    ["keys", keysOptions],
    ["signing-keys", signingKeysOptions],
    ["devices", devicesOptions],
    ["dead-letters", deadLettersOptions],
    ["audit", auditOptions],
    ["redis", redisOptions],
  ] as const)("%s --help names every option", async (name, options) => {
    const run = petrel([name, "--help"]);
    expect([await run.exitCode, run.out.join("\n")]).toEqual([0, commandHelp[name]]);
    for (const option of Object.keys(options)) expect(run.out.join()).toContain(`--${option}`);
    expect((await petrel(["help", name]).exitCode) === 0).toBe(true);
  });

  it("prints the version", async () => {
    const run = petrel(["--version"]);
    expect([await run.exitCode, run.out]).toEqual([0, ["1.2.3"]]);
  });
});

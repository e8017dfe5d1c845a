// The upgrade itself, on a real socket: what is refused before it, with which error, and what the server selects.
import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { approach, join, openNodeBench, type NodeBench } from "../testing/node-bench.js";
import { openRaw, type RawClient } from "../testing/raw-client.js";
import type { PushNode } from "../testing/start-push-node.js";

let bench: NodeBench;
let node: PushNode;

beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode({ allowedOrigins: ["https://app.example"] });
});
afterAll(() => bench.close());

function refusalOf({ answer }: RawClient): {
  status: number;
  head: string;
  code: string;
  retryable: boolean;
} {
  const [head = "", body = ""] = answer.split("\r\n\r\n");
  expect(head.toLowerCase()).toContain("content-type: application/json");
  const { error, ...rest } = JSON.parse(body) as {
    error: { code: string; message: string; retryable: boolean };
  };
  expect(rest).toEqual({});
  expect(error.message).not.toBe("");
  return {
    status: Number(head.split(" ")[1]),
    head: head.toLowerCase(),
    code: error.code,
    retryable: error.retryable,
  };
}

async function refused(headers: Record<string, string | undefined>, path?: string) {
  return refusalOf(await openRaw({ port: node.port, headers, ...(path === undefined ? {} : { path }) }));
}

describe("refused before the upgrade, in the contract's shape", () => {
  test.each([
    ["an origin that is not on the list", { origin: "https://evil.example" }, 403, "PETREL_ORIGIN_REFUSED"],
    ["the origin null", { origin: "null" }, 403, "PETREL_ORIGIN_REFUSED"],
    ["subprotocols without ours", { "sec-websocket-protocol": "chat" }, 400, "PETREL_INVALID_REQUEST"],
    [
      "subprotocols that are not a list",
      { "sec-websocket-protocol": "petrel.v1, a b" },
      400,
      "PETREL_INVALID_REQUEST",
    ],
    [
      "two credentials",
      { "sec-websocket-protocol": "petrel.v1, bearer.a", authorization: "Bearer a" },
      400,
      "PETREL_INVALID_REQUEST",
    ],
    ["another version", { "sec-websocket-version": "8" }, 426, "PETREL_UPGRADE_REQUIRED"],
    ["no version", { "sec-websocket-version": undefined }, 426, "PETREL_UPGRADE_REQUIRED"],
    ["another protocol", { upgrade: "h2c" }, 426, "PETREL_UPGRADE_REQUIRED"],
    ["other protocols", { upgrade: "h2c, websockets" }, 426, "PETREL_UPGRADE_REQUIRED"],
    ["a protocol of another version", { upgrade: "websocket/13" }, 426, "PETREL_UPGRADE_REQUIRED"],
    ["no host", { host: undefined }, 400, "PETREL_INVALID_REQUEST"],
    ["a body", { "content-length": "3" }, 400, "PETREL_INVALID_REQUEST"],
    ["a body in chunks", { "transfer-encoding": "chunked" }, 400, "PETREL_INVALID_REQUEST"],
    ["no key", { "sec-websocket-key": undefined }, 400, "PETREL_INVALID_REQUEST"],
    ["a short key", { "sec-websocket-key": "abc" }, 400, "PETREL_INVALID_REQUEST"],
  ])("%s", async (_name, headers, status, code) => {
    const answer = await refused(headers);
    expect(answer).toMatchObject({ status, code, retryable: false });
    const told = answer.head.split("\r\n").filter((line) => /^(upgrade|sec-websocket-version):/.test(line));
    expect(told.sort()).toEqual(status === 426 ? ["sec-websocket-version: 13", "upgrade: websocket"] : []);
    expect(answer.head).toMatch(status === 426 ? /^connection: upgrade, close$/m : /^connection: close$/m);
  });

  const raw = (head: string) => openRaw({ port: node.port, head });
  const asked =
    "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13";

  test("an upgrade of HTTP/1.0 is ignored", async () => {
    const { status, head } = refusalOf(
      await raw(`GET /v1/connect HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\n${asked}\r\n\r\n`),
    );
    expect(status).toBe(426);
    expect(head).toContain("sec-websocket-version: 13");
  });

  test.each([
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version: 13",
    "Host: a",
    "Origin: a",
  ])("%s twice", async (line) => {
    const head = `GET /v1/connect HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n${asked}\r\n`;
    const twice = head.includes(line) ? line : `${line}\r\n${line}`;
    expect(refusalOf(await raw(`${head}${twice}\r\n\r\n`))).toMatchObject({ status: 400 });
  });

  test.each([
    ["Upgrade: h2c, websocket"],
    ["Upgrade: h2c\r\nUpgrade: WebSocket"],
    ["Upgrade: , websocket ,\t"],
    ["Upgrade: websocket\r\nSec-WebSocket-Protocol: petrel.v1\r\nSec-WebSocket-Protocol: ,bearer.user.a"],
    ["Upgrade: websocket\r\nContent-Length: 0"],
    ["Upgrade: websocket\r\nConnection: keep-alive"],
  ])("accepts %s", async (lines) => {
    const client = await raw(`GET /v1/connect HTTP/1.1\r\nHost: a\r\n${lines}\r\n${asked}\r\n\r\n`);
    expect(client.answer).toMatch(/^HTTP\/1\.1 101 .*^upgrade: websocket\r$/ims);
    client.socket.destroy();
  });

  test.each(["h2c", "websocket", "TLS/1.0"])("ignores an offer of %s elsewhere", async (protocol) => {
    const { answer } = await raw(
      `GET /health/live HTTP/1.1\r\nHost: a\r\nUpgrade: ${protocol}\r\n${asked}\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 .*connection: close.*"live"/is);
  });

  test.each(["?token=user.a", "?epoch=a", "?since=x&epoch=a", "?ack=other"])("%s", async (query) => {
    expect(await refused({}, `/v1/connect${query}`)).toMatchObject({
      status: 400,
      code: "PETREL_INVALID_REQUEST",
    });
  });

  test("reads a query with a question mark in it completely", async () => {
    expect(await refused({}, "/v1/connect?x=a?b&ack=other")).toMatchObject({ status: 400 });
  });

  test("a plain GET: 426, naming the protocol", async () => {
    const response = await fetch(`${node.httpUrl}/v1/connect`);
    expect(response.status).toBe(426);
    expect(response.headers.get("upgrade")).toBe("websocket");
    expect(response.headers.get("sec-websocket-version")).toBe("13");
    expect(await response.json()).toMatchObject({
      error: { code: "PETREL_UPGRADE_REQUIRED", retryable: false },
    });
  });

  test("an upgrade elsewhere: 404", async () => {
    expect(await refused({}, "/v1/other")).toMatchObject({ status: 404, code: "PETREL_NOT_FOUND" });
  });
});

describe("the selected subprotocol", () => {
  const selected = async (header: string | undefined, path?: string): Promise<string | undefined> => {
    const raw = await openRaw({
      port: node.port,
      ...(path === undefined ? {} : { path }),
      headers: { origin: "https://app.example", "sec-websocket-protocol": header },
    });
    expect(raw.answer).toContain("101 Switching Protocols");
    raw.socket.destroy();
    return /^sec-websocket-protocol: (.*)$/im.exec(raw.answer)?.[1]?.trim();
  };

  test("is ours, wherever it is listed, never a bearer entry", async () => {
    expect(await selected("petrel.v1")).toBe("petrel.v1");
    expect(await selected("bearer.user.a, petrel.v1")).toBe("petrel.v1");
    expect(await selected("chat, petrel.v1, bearer.user.a")).toBe("petrel.v1");
  });

  test("is none if none was offered", async () => {
    expect(await selected(undefined)).toBeUndefined();
  });
});

test("accepts a token in the query if allowed", async () => {
  const lax = await bench.startNode({ tokenInQuery: true });
  const client = approach(lax, { query: "token=user.q1" });
  expect(await client.frame("welcome")).toMatchObject({ user: "q1" });
  client.close();
});

test("accepts a token in the header", async () => {
  const client = approach(node, { headers: { authorization: "Bearer user.h1" } });
  expect(await client.frame("welcome")).toMatchObject({ user: "h1" });
  expect(client.socket.protocol).toBe("");
  client.close();
});

test("while draining: 503 with Retry-After", async () => {
  const leaving = await bench.startNode();
  leaving.startDraining();
  const answer = refusalOf(await openRaw({ port: leaving.port }));
  expect(answer).toMatchObject({ status: 503, code: "PETREL_UNAVAILABLE", retryable: true });
  expect(Number(/retry-after: (\d+)/.exec(answer.head)?.[1])).toBeGreaterThanOrEqual(1);
});

test("too many unauthenticated connections: the oldest makes room; authenticated or closed ones do not count", async () => {
  const small = await bench.startNode({ maxUnauthenticated: 2 });
  const first = await openRaw({ port: small.port });
  const second = await openRaw({ port: small.port });
  first.text({ type: "auth", token: "user.place" });
  await waitFor(() => first.frames().length > 0, { what: "the welcome" });
  const third = await openRaw({ port: small.port });
  expect(small.pushedOut()).toBe(0);
  const fourth = await openRaw({ port: small.port });
  expect(fourth.answer).toContain("101");
  expect(await second.closeCode()).toBe(1013);
  expect(second.frames()[0]?.payload.toString()).toContain("PETREL_UNAVAILABLE");
  await second.untilGone();
  third.socket.destroy();
  await waitFor(() => small.closes.length === 2, { what: "the third one's end" });
  const fifth = await openRaw({ port: small.port });
  expect(fifth.answer).toContain("101");
  expect(small.pushedOut()).toBe(1);
  for (const { socket } of [first, fourth, fifth]) socket.destroy();
});

test("an address has its share of the slots and takes nobody else's", async () => {
  const small = await bench.startNode({
    maxUnauthenticated: 3,
    maxUnauthenticatedPerAddress: 2,
    trustedProxies: ["127.0.0.1"],
  });
  const from = (address: string): Promise<RawClient> =>
    openRaw({ port: small.port, headers: { "x-forwarded-for": address } });
  const quiet = await from("203.0.113.9");
  const flood: RawClient[] = [];
  for (let i = 0; i < 5; i++) flood.push(await from("2001:db8::1"));
  // Another address of the same network counts as the same.
  flood.push(await from("2001:db8::2"));
  expect(small.pushedOut()).toBe(4);
  for (const client of flood.slice(0, 4)) expect(await client.closeCode()).toBe(1013);
  expect(quiet.frames()).toEqual([]);
  quiet.text({ type: "auth", token: "user.quiet" });
  await waitFor(() => quiet.frames().length > 0, { what: "the welcome" });
  for (const { socket } of [quiet, ...flood]) socket.destroy();
});

test("beyond the rate some wait for their turn and the others get 503 with spread retry times", async () => {
  const slow = await bench.startNode({ connectsPerSecond: 10, connectWaitMs: 500 });
  const crowd = await Promise.all(
    Array.from({ length: 40 }, () =>
      openRaw({ port: slow.port, headers: { authorization: "Bearer user.crowd" } }),
    ),
  );
  const refusals = crowd.filter(({ answer }) => !answer.startsWith("HTTP/1.1 101")).map(refusalOf);
  // One at once, five that wait, and the few that come while those are let in.
  expect(refusals.length).toBeGreaterThanOrEqual(20);
  expect(refusals.length).toBeLessThanOrEqual(34);
  expect(slow.turnedAway()).toBe(refusals.length);
  for (const refusal of refusals) {
    expect(refusal).toMatchObject({ status: 503, code: "PETREL_UNAVAILABLE", retryable: true });
    expect(Number(/retry-after: (\d+)/.exec(refusal.head)?.[1])).toBeGreaterThanOrEqual(1);
  }
  expect(new Set(refusals.map(({ head }) => /retry-after: (\d+)/.exec(head)?.[1])).size).toBeGreaterThan(1);
  for (const { socket } of crowd) socket.destroy();
});

/** @returns told when the node closes a connection on which HTTP waits for its next request */
async function idleHttp(port: number, onClose: () => void): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.once("close", onClose);
  socket.write("GET /health/live HTTP/1.1\r\nHost: node\r\n\r\n");
  await once(socket, "data");
  socket.resume();
}

test("a bad request takes no slot, and a stop refuses those that wait", async () => {
  const slow = await bench.startNode({ connectsPerSecond: 1, connectWaitMs: 20_000 });
  for (let i = 0; i < 5; i++) {
    expect(
      refusalOf(await openRaw({ port: slow.port, headers: { "sec-websocket-key": "abc" } })).status,
    ).toBe(400);
  }
  const first = await openRaw({ port: slow.port });
  expect(first.answer).toContain("101");
  const ends: string[] = [];
  const waiting = Array.from({ length: 3 }, async () => {
    const client = await openRaw({ port: slow.port });
    ends.push("handshake");
    return client;
  });
  await idleHttp(slow.port, () => ends.push("http"));
  // A raw client does not answer the close by itself.
  void first.closeCode().then(() => first.socket.destroy());
  await slow.stop();
  const answers = await Promise.all(waiting);
  expect(answers.map(({ answer }) => Number(answer.split(" ")[1]))).toContain(503);
  expect(answers.filter(({ answer }) => answer.includes(" 101 ")).length).toBeLessThanOrEqual(2);
  expect(ends).toEqual(["handshake", "handshake", "handshake", "http"]);
});

test("a socket with a bad token counts until it is gone, and makes room for the next", async () => {
  const small = await bench.startNode({ maxUnauthenticated: 1 });
  const bad = await openRaw({ port: small.port, headers: { authorization: "Bearer nonsense" } });
  // It does not answer the close.
  expect(await bad.closeCode()).toBe(4401);
  expect((await join(small, "after")).closed()).toBeUndefined();
  await bad.untilGone();
  expect(small.pushedOut()).toBe(1);
});

describe("limits on connecting", () => {
  test("an address: 429 with Retry-After and the RateLimit headers; others are admitted", async () => {
    const strict = await bench.startNode({
      connectsPerAddressPerMinute: 3,
      trustedProxies: ["127.0.0.0/8"],
    });
    const from = (address: string): Promise<RawClient> =>
      openRaw({
        port: strict.port,
        headers: { "x-forwarded-for": `198.51.100.7, ${address}`, authorization: "Bearer user.often" },
      });
    const let3 = await Promise.all([from("203.0.113.1"), from("203.0.113.1"), from("203.0.113.1")]);
    for (const { answer } of let3) expect(answer).toContain("101");
    for (let i = 0; i < 3; i++) {
      const refusal = refusalOf(await from("203.0.113.1"));
      expect(refusal).toMatchObject({ status: 429, code: "PETREL_RATE_LIMITED", retryable: true });
      const seconds = Number(/retry-after: (\d+)/.exec(refusal.head)?.[1]);
      expect(seconds).toBeGreaterThanOrEqual(1);
      expect(seconds).toBeLessThanOrEqual(60);
      expect(refusal.head).toContain('ratelimit-policy: "connects";q=3;w=60');
      expect(refusal.head).toContain(`ratelimit: "connects";r=0;t=${seconds}`);
    }
    expect(strict.limitCounts.of("connects-address").refusals).toBe(3);
    const other = await from("203.0.113.2");
    expect(other.answer).toContain("101");
    for (const { socket } of [...let3, other]) socket.destroy();
  });

  test("a user: error, then 4429; a header set by the client changes nothing", async () => {
    const strict = await bench.startNode({ connectsPerUserPerMinute: 2 });
    const open = () => approach(strict, { token: "user.eager", headers: { "x-forwarded-for": "10.0.0.1" } });
    for (let i = 0; i < 2; i++) await open().frame("welcome");
    const third = open();
    expect(await third.untilClosed()).toMatchObject({ code: 4429 });
    expect(third.frames).toEqual([
      expect.objectContaining({ type: "error", code: "PETREL_RATE_LIMITED", action: "backoff" }),
    ]);
    expect((await join(strict, "patient")).closed()).toBeUndefined();
  });
});

test("a stop closes unauthenticated connections with 1012", async () => {
  const stopping = await bench.startNode();
  const waiting = approach(stopping);
  const ends: string[] = [];
  void waiting.untilClosed().then(() => ends.push("socket"));
  await idleHttp(stopping.port, () => ends.push("http"));
  await waitFor(() => waiting.socket.readyState === waiting.socket.OPEN, { what: "the upgrade" });
  await stopping.stop();
  expect(await waiting.untilClosed()).toMatchObject({ code: 1012 });
  expect(ends).toEqual(["socket", "http"]);
});

test("counts upgrades as requests: answered 101, and refused", async () => {
  const seen = async (status: number): Promise<number> => {
    const row = `petrel_http_requests_total\\{route="/v1/connect",method="GET",status="${status}".*\\} (\\d+)`;
    return Number(new RegExp(row).exec(await node.metrics.metrics())?.[1] ?? 0);
  };
  const [opened, refusedBefore] = [await seen(101), await seen(403)];
  const client = await join(node, "counted");
  await refused({ origin: "https://evil.example" });
  await waitFor(async () => (await seen(403)) === refusedBefore + 1, { what: "the refusal to be counted" });
  expect(await seen(101)).toBe(opened + 1);
  expect(await node.metrics.metrics()).toMatch(
    /^petrel_http_request_duration_seconds_count\{route="\/v1\/connect",method="GET".*\} [1-9]/m,
  );
  client.close();
});

test("returns a request's id in the answer to the upgrade, and in a refusal", async () => {
  const answerTo = async (headers: Record<string, string>): Promise<string> => {
    const client = await openRaw({ port: node.port, headers });
    client.socket.destroy();
    return client.answer.toLowerCase();
  };
  const opened = await answerTo({ "x-request-id": "edge-7" });
  expect(opened).toContain(" 101 ");
  expect(opened).toMatch(/^x-request-id: edge-7$/m);
  expect(await answerTo({ "x-request-id": "not good" })).not.toContain("x-request-id");
  const refusal = await answerTo({ "x-request-id": "edge-8", origin: "https://evil.example" });
  expect(refusal).toMatch(/^x-request-id: edge-8$/m);
});

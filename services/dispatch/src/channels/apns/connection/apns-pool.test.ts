// Tests the client's requests against a bare HTTP/2 server: what is sent, with which token, and what a close leaves.
// Guarantees: an expired token is replaced, and nothing is sent twice because of it.
import { setTimeout as pause } from "node:timers/promises";
import { startFaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ApnsPoolBench, never, ok, push, sendMany, statuses } from "../../../testing/apns-pool-bench.js";
import { answer, type ApnsServerRequest } from "../../../testing/apns-server.js";

let bench: ApnsPoolBench;
beforeEach(() => void (bench = new ApnsPoolBench()));
afterEach(() => bench.close());

describe("a request", () => {
  test("is a POST with its headers, body and token, and returns the answer", async () => {
    const server = await bench.serve((request) =>
      answer(request, 410, { reason: "Unregistered", timestamp: 1_700_000_000_123 }, { "retry-after": "7" }),
    );
    const result = await bench.open(server).send(push("id-1"), never);
    expect(result).toEqual({
      kind: "answered",
      status: 410,
      apnsId: "id-1",
      reason: "Unregistered",
      timestampMs: 1_700_000_000_123,
      retryAfterMs: 7_000,
    });
    expect(server.requests[0]).toMatchObject({
      body: '{"aps":{"alert":"hello"}}',
      headers: {
        ":method": "POST",
        ":path": "/3/device/aabb",
        ":scheme": "https",
        authorization: "bearer token-0",
        "apns-topic": "app.petrel",
      },
    });
  });

  test.each([
    ["", undefined],
    ["invalid JSON", undefined],
    ["[]", undefined],
    ['{"reason":7}', undefined],
    [`{"reason":"Shutdown","more":"${"x".repeat(100_000)}"}`, undefined],
    ['{"reason":"Shutdown"}', "Shutdown"],
  ])("an error's body may be anything: %.30s", async (body, reason) => {
    const server = await bench.serve(({ stream }) => {
      stream.respond({ ":status": 503 });
      stream.end(body);
    });
    expect(await bench.open(server).send(push(), never)).toMatchObject({
      kind: "answered",
      status: 503,
      reason,
    });
  });

  test("with a certificate there is no token", async () => {
    const server = await bench.serve(ok);
    const { testCertificate, testCertificateKey } =
      await import("@petrel/shared/testing/tls/tls-certificate");
    const certificate = { cert: testCertificate, key: testCertificateKey };
    const pool = bench.open(server, { auth: { kind: "certificate", certificate } });
    expect(statuses(await sendMany(pool, 3))).toEqual([200, 200, 200]);
    expect(server.requests[0]?.headers).not.toHaveProperty("authorization");
  });

  test("does not wait for a token that cannot be made", async () => {
    const server = await bench.serve(ok);
    const fail = (): Promise<string> => Promise.reject(new Error("Redis is away"));
    const pool = bench.open(server, { auth: { kind: "token", tokens: { current: fail, replace: fail } } });
    expect(await pool.send(push(), never)).toEqual({
      kind: "not-sent",
      why: "no provider token: Redis is away",
    });
  });
});

describe("an expired token", () => {
  test("is replaced, and the request is sent once more, on a new connection", async () => {
    const server = await bench.serve((request) => {
      if (request.headers.authorization === "bearer token-0" && request.index > 0) {
        answer(request, 403, { reason: "ExpiredProviderToken" });
      } else answer(request);
    });
    const pool = bench.open(server);
    await pool.send(push(), never);
    expect(await pool.send(push("x"), never)).toMatchObject({ status: 200 });
    expect(server.requests.map(({ connection, headers }) => [connection, headers.authorization])).toEqual([
      [0, "bearer token-0"],
      [0, "bearer token-0"],
      [1, "bearer token-1"],
    ]);
  });

  test("is not used for waiting requests, and retires no connection opened since", async () => {
    let isExpired = false;
    const server = await bench.serve(
      (request) => {
        if (isExpired && request.headers.authorization === "bearer token-0") {
          answer(request, 403, { reason: "ExpiredProviderToken" });
        } else answer(request);
      },
      { settings: { maxConcurrentStreams: 4 } },
    );
    let token = "token-0";
    const tokens = {
      current: () => Promise.resolve(token),
      // Later than a connection needs to open.
      replace: async () => {
        await pause(100);
        return (token = "token-1");
      },
    };
    const pool = bench.open(server, { connections: 2, auth: { kind: "token", tokens } });
    await waitFor(
      async () => {
        await sendMany(pool, 20);
        return pool.state.connections === 2;
      },
      { what: "both to be open" },
    );
    const before = server.requests.length;
    isExpired = true;
    expect(new Set(statuses(await sendMany(pool, 200)))).toEqual(new Set([200]));
    const since = server.requests.slice(before).map(({ headers }) => headers.authorization);
    expect(since.filter((one) => one === "bearer token-0").length).toBeLessThanOrEqual(8);
    expect(since.filter((one) => one === "bearer token-1")).toHaveLength(200);
    expect(server.sessions.length).toBeLessThanOrEqual(4);
  });

  test("without another one for now, the next request asks again", async () => {
    let isExpired = true;
    const server = await bench.serve((request) =>
      isExpired ? answer(request, 403, { reason: "ExpiredProviderToken" }) : answer(request),
    );
    const same = (): Promise<string> => Promise.resolve("same");
    const pool = bench.open(server, { auth: { kind: "token", tokens: { current: same, replace: same } } });
    expect(new Set(statuses(await sendMany(pool, 10)))).toEqual(new Set([403]));
    expect(server.requests).toHaveLength(1);
    isExpired = false;
    expect(await pool.send(push(), never)).toMatchObject({ status: 200 });
  });

  test("if the next one is refused too, that is the answer", async () => {
    const server = await bench.serve((request) => answer(request, 403, { reason: "ExpiredProviderToken" }));
    expect(await bench.open(server).send(push(), never)).toMatchObject({ reason: "ExpiredProviderToken" });
    expect(server.requests).toHaveLength(2);
  });

  test("without another one, nothing is sent twice", async () => {
    const server = await bench.serve((request) => answer(request, 403, { reason: "ExpiredProviderToken" }));
    const same = (): Promise<string> => Promise.resolve("same");
    const pool = bench.open(server, { auth: { kind: "token", tokens: { current: same, replace: same } } });
    expect(await pool.send(push(), never)).toMatchObject({ reason: "ExpiredProviderToken" });
    expect(server.requests).toHaveLength(1);
  });
});

describe("closing", () => {
  test("awaits answers to what was sent, does not send what waits, and leaves nothing open", async () => {
    const held: ApnsServerRequest[] = [];
    const server = await bench.serve((request) => held.push(request));
    const pool = bench.open(server);
    const first = pool.send(push(), never);
    await waitFor(() => held.length === 1, { what: "the first" });
    const second = pool.send(push(), never);
    const closing = pool.close();
    expect(await second).toEqual({ kind: "not-sent", why: "closing" });
    expect(await pool.send(push(), never)).toEqual({ kind: "not-sent", why: "closing" });
    answer(held[0] as ApnsServerRequest);
    expect(await first).toMatchObject({ status: 200 });
    await closing;
    await waitFor(() => server.sessions[0]?.destroyed, { what: "the session's end" });
  });

  test("does not wait for a server that was asked to close and does not", async () => {
    const server = await bench.serve(ok);
    // Nothing comes back any more, not even the end of its side.
    const proxy = await startFaultProxy({ targetPort: server.port });
    bench.onClose(proxy.stop);
    const pool = bench.open({ endpoint: `https://127.0.0.1:${proxy.port}`, ca: server.ca });
    await pool.send(push(), never);
    proxy.stall("toClient");
    await pool.close();
    proxy.heal();
    expect(pool.state).toEqual({ connections: 0, inFlight: 0, waiting: 0 });
  });

  test("works while it connects", async () => {
    const server = await bench.serve(ok);
    const pool = bench.open(server);
    const sent = pool.send(push(), never);
    await pool.close();
    expect(await sent).toEqual({ kind: "not-sent", why: "closing" });
    await pool.close();
  });
});

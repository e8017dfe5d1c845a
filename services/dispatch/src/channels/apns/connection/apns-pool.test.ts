// Tests the client against a bare HTTP/2 server that does what networks and servers do.
import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import type { ServerHttp2Session } from "node:http2";
import { setTimeout as pause } from "node:timers/promises";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { startFaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { freePort } from "@petrel/shared/testing/free-port";
import { waitFor } from "@petrel/shared/testing/wait-for";
import * as fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import {
  answer,
  startApnsServer,
  type ApnsServer,
  type ApnsServerRequest,
} from "../../../testing/apns-server.js";
import type { ApnsRequest, ApnsResult } from "./apns-exchange.js";
import { ApnsPool, type ApnsPoolOptions } from "./apns-pool.js";

const logger = createLogger({ service: "test", level: "silent" });
const never = new AbortController().signal;
// Every request that is under way listens to it.
setMaxListeners(0, never);
const ok = (request: ApnsServerRequest): void => answer(request);

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function serve(...parts: Parameters<typeof startApnsServer>): Promise<ApnsServer> {
  const server = await startApnsServer(...parts);
  cleanUps.push(server.stop);
  return server;
}

function open(server: Pick<ApnsServer, "endpoint" | "ca">, options: Partial<ApnsPoolOptions> = {}): ApnsPool {
  let minted = 0;
  const pool = new ApnsPool({
    endpoint: server.endpoint,
    ca: server.ca,
    connections: 1,
    reconnectBaseMs: 10,
    reconnectCapMs: 50,
    auth: {
      kind: "token",
      tokens: {
        current: () => Promise.resolve(`token-${minted}`),
        replace: () => Promise.resolve(`token-${++minted}`),
      },
    },
    logger,
    ...options,
  });
  cleanUps.push(() => pool.close());
  return pool;
}

function push(id: string = randomUUID()): ApnsRequest {
  return {
    path: "/3/device/aabb",
    headers: { "apns-id": id, "apns-topic": "app.petrel", "apns-push-type": "alert" },
    body: Buffer.from('{"aps":{"alert":"hello"}}'),
  };
}

function sendMany(pool: ApnsPool, count: number): Promise<ApnsResult[]> {
  return Promise.all(Array.from({ length: count }, () => pool.send(push(), never)));
}

function statuses(results: readonly ApnsResult[]): (number | string)[] {
  return results.map((result) => (result.kind === "answered" ? result.status : result.kind));
}

describe("a request", () => {
  test("is a POST with its headers, its body and the token, and brings back the answer", async () => {
    const server = await serve((request) =>
      answer(request, 410, { reason: "Unregistered", timestamp: 1_700_000_000_123 }, { "retry-after": "7" }),
    );
    const result = await open(server).send(push("id-1"), never);
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
    ["no JSON", undefined],
    ["[]", undefined],
    ['{"reason":7}', undefined],
    [`{"reason":"Shutdown","more":"${"x".repeat(100_000)}"}`, undefined],
    ['{"reason":"Shutdown"}', "Shutdown"],
  ])("an error's body may be anything: %.30s", async (body, reason) => {
    const server = await serve(({ stream }) => {
      stream.respond({ ":status": 503 });
      stream.end(body);
    });
    expect(await open(server).send(push(), never)).toMatchObject({ kind: "answered", status: 503, reason });
  });

  test("with a certificate there is no token", async () => {
    const server = await serve(ok);
    const { testCertificate, testCertificateKey } =
      await import("@petrel/shared/testing/tls/tls-certificate");
    const certificate = { cert: testCertificate, key: testCertificateKey };
    const pool = open(server, { auth: { kind: "certificate", certificate } });
    expect(statuses(await sendMany(pool, 3))).toEqual([200, 200, 200]);
    expect(server.requests[0]?.headers).not.toHaveProperty("authorization");
  });

  test("waits for no token that cannot be had", async () => {
    const server = await serve(ok);
    const fail = (): Promise<string> => Promise.reject(new Error("Redis is away"));
    const pool = open(server, { auth: { kind: "token", tokens: { current: fail, replace: fail } } });
    expect(await pool.send(push(), never)).toEqual({
      kind: "not-sent",
      why: "no provider token: Redis is away",
    });
  });
});

describe("the gate", () => {
  test("one request alone, until one is answered by anything but 403", async () => {
    let isGood = false;
    const held: ApnsServerRequest[] = [];
    const server = await serve((request) => {
      if (request.index < 3) answer(request, 403, { reason: "InvalidProviderToken" });
      else if (isGood) answer(request);
      else held.push(request);
    });
    const pool = open(server);
    const sent = sendMany(pool, 20);
    await waitFor(() => held.length === 1, { what: "the fourth, alone" });
    expect(server.requests).toHaveLength(4);
    expect(pool.state).toEqual({ connections: 1, inFlight: 1, waiting: 16 });
    isGood = true;
    for (const request of held) answer(request, 400, { reason: "BadTopic" });
    const got = statuses(await sent);
    const countOf = (status: number): number => got.filter((one) => one === status).length;
    expect([countOf(403), countOf(400), countOf(200)]).toEqual([3, 1, 16]);
    expect(server.mostAtOnce[0]).toBeGreaterThan(1);
  });

  test("never more than the server allows, when it changes its mind, too", async () => {
    let limit = 8;
    let most = 0;
    let open_ = 0;
    const server = await serve(
      (request) => {
        open_++;
        most = Math.max(most, open_);
        setTimeout(() => {
          open_--;
          answer(request);
        }, 2);
      },
      { settings: { maxConcurrentStreams: limit } },
    );
    const pool = open(server);
    await sendMany(pool, 100);
    expect(server.mostAtOnce[0]).toBe(8);
    for (limit of [3, 1, 16]) {
      const [session] = server.sessions as [ServerHttp2Session];
      await new Promise((resolve) => session.settings({ maxConcurrentStreams: limit }, resolve));
      most = 0;
      await sendMany(pool, 60);
      expect(most, `limit ${limit}`).toBe(limit);
    }
    expect(server.sessions).toHaveLength(1);
  });

  test("where none is allowed for a while, all wait, and none is lost", async () => {
    const server = await serve(ok);
    const pool = open(server);
    await pool.send(push(), never);
    const [session] = server.sessions as [ServerHttp2Session];
    await new Promise((resolve) => session.settings({ maxConcurrentStreams: 0 }, resolve));
    const sent = sendMany(pool, 10);
    await waitFor(() => pool.state.waiting === 10, { what: "all to wait" });
    session.settings({ maxConcurrentStreams: 2 });
    expect(new Set(statuses(await sent))).toEqual(new Set([200]));
    expect(server.mostAtOnce[0]).toBeLessThanOrEqual(2);
  });

  test("whatever limits, latencies and faults there are: never above, never stuck, each answered once", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 12 }),
        // Never a GOAWAY beside resets: together they corrupt the memory of Node's own server (20.20).
        fc
          .constantFrom(
            ["ok", "slow", "forbidden", "limit", "goaway"],
            ["ok", "slow", "forbidden", "limit", "refused", "reset"],
          )
          .chain((words) => fc.array(fc.constantFrom(...words), { minLength: 1, maxLength: 60 })),
        fc.integer({ min: 1, max: 3 }),
        async (firstLimit, script, connections) => {
          let at = 0;
          const limits = new Map<ServerHttp2Session, number>();
          const leaving = new Map<ServerHttp2Session, number>();
          const tooMany: string[] = [];
          const openStreams = new Map<ServerHttp2Session, number>();
          const server = await startApnsServer(
            (request) => {
              const { session, stream } = request;
              const now = (openStreams.get(session) ?? 0) + 1;
              openStreams.set(session, now);
              stream.on("close", () => openStreams.set(session, (openStreams.get(session) ?? 1) - 1));
              // What a GOAWAY gave back is not answered: that, too, corrupts the memory of Node's own server.
              if ((stream.id ?? 0) > (leaving.get(session) ?? Infinity)) return;
              const limit = limits.get(session) ?? firstLimit;
              if (now > limit) tooMany.push(`${now} > ${limit}`);
              const what = script[at++] ?? "ok";
              if (what === "slow") setTimeout(() => answer(request), 5);
              else if (what === "forbidden") answer(request, 403);
              else if (what === "refused") stream.close(7);
              else if (what === "reset") stream.close(2);
              else if (what === "goaway") {
                answer(request);
                // RFC 9113 6.8: once; another must not name a higher stream.
                if (!leaving.has(session)) session.goaway(0, stream.id ?? 0);
                leaving.set(session, leaving.get(session) ?? stream.id ?? 0);
              } else if (what === "limit") {
                const next = 1 + ((at * 7) % 12);
                // Only a higher one counts at once; a lower one when the client has taken note.
                if (next > limit) limits.set(session, next);
                session.settings({ maxConcurrentStreams: next }, () => limits.set(session, next));
                answer(request);
              } else answer(request);
            },
            { settings: { maxConcurrentStreams: firstLimit } },
          );
          const pool = open(server, { connections });
          const ids = Array.from({ length: script.length + 20 }, () => randomUUID());
          const results = await Promise.all(ids.map((id) => pool.send(push(id), never)));
          await pool.close();
          await server.stop();
          expect(tooMany).toEqual([]);
          expect(results.map(({ kind }) => kind)).not.toContain("not-sent");
          const resets = script.slice(0, at).filter((what) => what === "reset").length;
          expect(results.filter(({ kind }) => kind === "unanswered")).toHaveLength(resets);
        },
      ),
      { numRuns: 15 },
    );
  }, 60_000);

  test("an abort ends the waiting, and the next one is sent", async () => {
    const held: ApnsServerRequest[] = [];
    const server = await serve((request) => held.push(request));
    const pool = open(server);
    const [inFlight, waits] = [new AbortController(), new AbortController()];
    const sent = pool.send(push(), inFlight.signal);
    await waitFor(() => held.length === 1, { what: "the first" });
    const waiting = pool.send(push("w"), waits.signal);
    const last = pool.send(push("last"), never);
    waits.abort(new Error("stop w"));
    await expect(waiting).rejects.toThrow("stop w");
    inFlight.abort(new Error("stop first"));
    await expect(sent).rejects.toThrow("stop first");
    await waitFor(() => held.length === 2, { what: "the last" });
    expect(held[1]?.apnsId).toBe("last");
    answer(held[1] as ApnsServerRequest);
    expect(await last).toMatchObject({ status: 200 });
    expect(pool.state).toMatchObject({ inFlight: 0, waiting: 0 });
  });
});

describe("GOAWAY", () => {
  test("what is above the last stream goes out again on a new connection; what is below is answered on the old", async () => {
    const held: ApnsServerRequest[] = [];
    const server = await serve((request) => {
      if (request.connection > 0 || request.index === 0) answer(request);
      else held.push(request);
    });
    const pool = open(server);
    await pool.send(push(), never);
    const sent = sendMany(pool, 10);
    await waitFor(() => held.length === 10, { what: "ten on the first connection" });
    const last = held[3]?.stream.id ?? 0;
    held[0]?.session.goaway(0, last, Buffer.from('{"reason":"Shutdown"}'));
    await waitFor(() => server.requests.filter(({ connection }) => connection === 1).length === 6, {
      what: "six on the second",
    });
    for (const request of held.slice(0, 4)) answer(request);
    expect(new Set(statuses(await sent))).toEqual(new Set([200]));
    const counts = new Map<string, number>();
    for (const { apnsId } of server.requests) counts.set(apnsId, (counts.get(apnsId) ?? 0) + 1);
    expect([...counts.values()].toSorted((a, b) => a - b)).toEqual([1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
    await waitFor(() => server.sessions[0]?.destroyed, { what: "the old connection to close" });
  });

  test("with an error: below the last stream is in doubt, above is sent again", async () => {
    const held: ApnsServerRequest[] = [];
    const server = await serve((request) => {
      if (request.connection > 0 || request.index === 0) answer(request);
      else held.push(request);
    });
    const pool = open(server);
    await pool.send(push(), never);
    const sent = sendMany(pool, 10);
    await waitFor(() => held.length === 10, { what: "ten on the first connection" });
    held[0]?.session.goaway(2, held[3]?.stream.id ?? 0);
    const kinds = statuses(await sent);
    expect(kinds.filter((kind) => kind === "unanswered")).toHaveLength(4);
    expect(kinds.filter((kind) => kind === 200)).toHaveLength(6);
  });

  test("nothing new is sent on a connection that goes", async () => {
    const held: ApnsServerRequest[] = [];
    const server = await serve((request) => {
      if (request.index === 1 && request.connection === 0) held.push(request);
      else answer(request);
    });
    const pool = open(server);
    await pool.send(push(), never);
    const slow = pool.send(push(), never);
    await waitFor(() => held.length === 1, { what: "one under way" });
    held[0]?.session.goaway(0, 2 ** 31 - 1);
    await waitFor(() => pool.state.connections === 0, { what: "the connection to retire" });
    expect(statuses(await sendMany(pool, 5))).toEqual([200, 200, 200, 200, 200]);
    expect(server.requests.filter(({ connection }) => connection === 0)).toHaveLength(2);
    answer(held[0] as ApnsServerRequest);
    expect(await slow).toMatchObject({ status: 200 });
  });
});

describe("a broken connection", () => {
  test("REFUSED_STREAM goes out again; another reset is in doubt", async () => {
    let refusals = 0;
    const server = await serve((request) => {
      if (request.apnsId === "refused" && refusals++ < 2) request.stream.close(7);
      else if (request.apnsId === "reset") request.stream.close(2);
      else answer(request);
    });
    const pool = open(server);
    expect(await pool.send(push("refused"), never)).toMatchObject({ status: 200 });
    expect(refusals).toBe(3);
    expect(await pool.send(push("reset"), never)).toMatchObject({ kind: "unanswered" });
    expect(server.requests.filter(({ apnsId }) => apnsId === "reset")).toHaveLength(1);
  });

  test("a peer that refuses everything is asked seldom, and nothing is said to be sent", async () => {
    const server = await serve(({ stream }) => stream.close(7));
    const pool = open(server, { waitMs: 3_000 });
    const results = await sendMany(pool, 20);
    expect(new Set(statuses(results))).toEqual(new Set(["not-sent"]));
    // Each of the pauses is at least 5 ms and grows; without them it is thousands.
    expect(server.requests.length).toBeLessThan(200);
    // It was left for others, which it refused too.
    expect(server.sessions.length).toBeGreaterThan(1);
  });

  test("one that refuses for a moment has all in the end, on the same connection", async () => {
    let refusals = 0;
    const inFlightAfterTheBurst: number[] = [];
    const server = await serve((request) => {
      if (request.index > 20 && refusals < 23) inFlightAfterTheBurst.push(pool.state.inFlight);
      if (request.index > 0 && refusals < 23) {
        refusals++;
        request.stream.close(7);
      } else answer(request);
    });
    const pool = open(server);
    await pool.send(push(), never);
    expect(new Set(statuses(await sendMany(pool, 20)))).toEqual(new Set([200]));
    expect(inFlightAfterTheBurst).toEqual([1, 1, 1]);
    expect(server.requests).toHaveLength(1 + 23 + 20);
    expect(server.sessions).toHaveLength(1);
  });

  test("one that refuses now and then, and answers between, stays", async () => {
    const server = await serve((request) => {
      if (request.index % 2 === 1) request.stream.close(7);
      else answer(request);
    });
    const pool = open(server);
    for (let i = 0; i < 20; i++) expect(await pool.send(push(), never)).toMatchObject({ status: 200 });
    expect(server.sessions).toHaveLength(1);
  });

  test("one that closes in the middle leaves its requests in doubt, and is replaced", async () => {
    const server = await serve((request) => {
      if (request.connection === 0 && request.index === 5) request.session.destroy();
      else if (request.connection > 0 || request.index === 0) answer(request);
    });
    const pool = open(server);
    await pool.send(push(), never);
    const results = await sendMany(pool, 5);
    expect(statuses(results)).toEqual(Array.from({ length: 5 }, () => "unanswered"));
    expect(statuses(await sendMany(pool, 3))).toEqual([200, 200, 200]);
    expect(server.sessions).toHaveLength(2);
  });

  test("an error whose reason is cut off is in doubt, 200 is not", async () => {
    const server = await serve(({ apnsId, stream }) => {
      stream.respond({ ":status": apnsId === "good" ? 200 : 410 });
      stream.write('{"reason":', () => stream.session?.destroy());
    });
    const pool = open(server);
    expect(await pool.send(push("bad"), never)).toMatchObject({ kind: "unanswered" });
    expect(await pool.send(push("good"), never)).toMatchObject({ kind: "answered", status: 200 });
  });

  test("a black hole is found by a PING: its requests are in doubt, the connection is replaced", async () => {
    const server = await serve(ok);
    const proxy = await startFaultProxy({ targetPort: server.port });
    cleanUps.push(proxy.stop);
    const pool = open(
      { endpoint: `https://127.0.0.1:${proxy.port}`, ca: server.ca },
      { requestTimeoutMs: 300, pingTimeoutMs: 300, connectTimeoutMs: 2_000 },
    );
    await pool.send(push(), never);
    proxy.stall();
    const results = await sendMany(pool, 5);
    expect(statuses(results)).toEqual(Array.from({ length: 5 }, () => "unanswered"));
    expect(results[0]).toMatchObject({ why: "no answer within 300 ms" });
    const next = pool.send(push(), never);
    // Not on the one that is suspected: it waits for another.
    await waitFor(() => pool.state.waiting === 1, { what: "the next to wait" });
    await waitFor(() => pool.state.connections === 0, { what: "the connection to be given up" });
    proxy.heal();
    expect(await next).toMatchObject({ status: 200 });
    expect(server.sessions).toHaveLength(2);
  });

  test("what is on a dead connection ends with it, not only when its own time is over", async () => {
    const server = await serve(ok);
    const proxy = await startFaultProxy({ targetPort: server.port });
    cleanUps.push(proxy.stop);
    const pool = open(
      { endpoint: `https://127.0.0.1:${proxy.port}`, ca: server.ca },
      { requestTimeoutMs: 60_000, pingIdleMs: 100, pingTimeoutMs: 200 },
    );
    await pool.send(push(), never);
    proxy.stall();
    const [result] = await sendMany(pool, 1);
    expect(result).toMatchObject({ kind: "unanswered" });
    proxy.heal();
  });

  test("an idle one that dies is found without a request", async () => {
    const server = await serve(ok);
    const proxy = await startFaultProxy({ targetPort: server.port });
    cleanUps.push(proxy.stop);
    const pool = open(
      { endpoint: `https://127.0.0.1:${proxy.port}`, ca: server.ca },
      { pingIdleMs: 50, pingTimeoutMs: 200 },
    );
    await pool.send(push(), never);
    // It answers its PINGs: it stays.
    await pause(400);
    expect(pool.state.connections).toBe(1);
    proxy.stall();
    await waitFor(() => pool.state.connections === 0, { what: "the connection to be given up" });
    proxy.heal();
    expect(await pool.send(push(), never)).toMatchObject({ status: 200 });
  });

  test("one that answers PINGs but no request is replaced", async () => {
    const server = await serve((request) => {
      if (request.connection > 0 || request.index === 0) answer(request);
    });
    const pool = open(server, { requestTimeoutMs: 150 });
    await pool.send(push(), never);
    expect(await pool.send(push(), never)).toMatchObject({ kind: "unanswered" });
    expect(await pool.send(push(), never)).toMatchObject({ status: 200 });
    expect(server.sessions).toHaveLength(2);
  });

  test("one slow answer among others replaces nothing", async () => {
    const server = await serve((request) => {
      if (request.apnsId !== "slow") answer(request);
    });
    const pool = open(server, { requestTimeoutMs: 200 });
    await pool.send(push(), never);
    let isOver = false;
    const slow = pool.send(push("slow"), never).finally(() => (isOver = true));
    while (!isOver) {
      await pool.send(push(), never);
      await pause(10);
    }
    expect(await slow).toMatchObject({ kind: "unanswered" });
    expect(await pool.send(push(), never)).toMatchObject({ status: 200 });
    expect(server.sessions).toHaveLength(1);
  });

  test("a request's time begins when it is sent, not while it waits", async () => {
    const server = await serve((request) => setTimeout(() => answer(request), 60), {
      settings: { maxConcurrentStreams: 2 },
    });
    const pool = open(server, { requestTimeoutMs: 400 });
    // 60 at a time of 30 ms each: the last waits for almost two seconds.
    expect(new Set(statuses(await sendMany(pool, 60)))).toEqual(new Set([200]));
  });
});

describe("connecting", () => {
  test("what waits too long is told why", async () => {
    const endpoint = `https://127.0.0.1:${await freePort()}`;
    const pool = open({ endpoint, ca: "" }, { waitMs: 200 });
    const result = await pool.send(push(), never);
    expect(result).toMatchObject({ kind: "not-sent" });
    expect((result as { why: string }).why).toMatch(/within 200 ms: .*ECONNREFUSED/);
  });

  test("a server that is not trusted gets no request", async () => {
    const server = await serve(ok);
    const pool = open({ endpoint: server.endpoint, ca: "" }, { waitMs: 300 });
    expect(await pool.send(push(), never)).toMatchObject({ kind: "not-sent", why: /TLS with 127.0.0.1/ });
    expect(server.requests).toHaveLength(0);
  });

  test("a server that is silent is given up, and tried again", async () => {
    const server = await serve(ok);
    const proxy = await startFaultProxy({ targetPort: server.port });
    cleanUps.push(proxy.stop);
    proxy.stall();
    const failures: number[] = [];
    const metrics = { opened: () => undefined, lost: () => undefined, failed: () => void failures.push(1) };
    const pool = open(
      { endpoint: `https://127.0.0.1:${proxy.port}`, ca: server.ca },
      { connectTimeoutMs: 200, metrics },
    );
    const sent = pool.send(push(), never);
    await waitFor(() => failures.length >= 2, { what: "two attempts" });
    proxy.heal();
    expect(await sent).toMatchObject({ status: 200 });
  });

  test("the name is looked up for every connection, and each address tried", async () => {
    const server = await serve((request) => {
      answer(request);
      if (request.connection === 0) request.session.goaway(0, 2 ** 31 - 1);
    });
    const asked: string[] = [];
    const lookUp = (host: string): Promise<string[]> => {
      asked.push(host);
      // Nobody listens on the first two.
      return Promise.resolve(["127.9.9.8", "127.9.9.9", "127.0.0.1"]);
    };
    const pool = open({ endpoint: `https://localhost:${server.port}`, ca: server.ca }, { lookUp });
    await pool.send(push(), never);
    await waitFor(() => pool.state.connections === 0, { what: "the first connection to go" });
    await pool.send(push(), never);
    expect(asked).toEqual(["localhost", "localhost"]);
  });

  test("one that always fails is tried with growing pauses", async () => {
    const pauses: number[] = [];
    const endpoint = `https://127.0.0.1:${await freePort()}`;
    const pool = open(
      { endpoint, ca: "" },
      {
        waitMs: 400,
        reconnectBaseMs: 4,
        reconnectCapMs: 32,
        // Full jitter: what is drawn is a share of the ceiling.
        random: () => (pauses.push(1), 0.999),
      },
    );
    await pool.send(push(), never);
    // 4, 8, 16, 32, 32 … ms: in 400 ms some fifteen at most, not hundreds.
    expect(pauses.length).toBeGreaterThan(2);
    expect(pauses.length).toBeLessThan(20);
  });

  test("a slot that pauses does not keep another from being used", async () => {
    const server = await serve(ok);
    let asked = 0;
    const lookUp = (): Promise<string[]> =>
      asked++ === 0 ? Promise.reject(new Error("no such name")) : Promise.resolve(["127.0.0.1"]);
    const pool = open(
      { endpoint: `https://localhost:${server.port}`, ca: server.ca },
      { connections: 2, lookUp, reconnectBaseMs: 60_000, reconnectCapMs: 60_000, random: () => 0.999 },
    );
    expect(await pool.send(push(), never)).toMatchObject({ status: 200 });
  });

  test("the time for waiting ends where a request is sent", async () => {
    const server = await serve((request) => setTimeout(() => answer(request), 500));
    const pool = open(server, { waitMs: 250 });
    expect(await pool.send(push(), never)).toMatchObject({ status: 200 });
  });

  test("two connections are used alike", async () => {
    const server = await serve((request) => setTimeout(() => answer(request), 5));
    const pool = open(server, { connections: 2 });
    await sendMany(pool, 10);
    await sendMany(pool, 100);
    expect(server.sessions).toHaveLength(2);
    const first = server.requests.filter(({ connection }) => connection === 0).length;
    expect(first).toBeGreaterThan(30);
    expect(first).toBeLessThan(80);
  });
});

describe("an expired token", () => {
  test("is replaced, and the request sent once more, on a new connection", async () => {
    const server = await serve((request) => {
      if (request.headers.authorization === "bearer token-0" && request.index > 0) {
        answer(request, 403, { reason: "ExpiredProviderToken" });
      } else answer(request);
    });
    const pool = open(server);
    await pool.send(push(), never);
    expect(await pool.send(push("x"), never)).toMatchObject({ status: 200 });
    expect(server.requests.map(({ connection, headers }) => [connection, headers.authorization])).toEqual([
      [0, "bearer token-0"],
      [0, "bearer token-0"],
      [1, "bearer token-1"],
    ]);
  });

  test("what waits is not sent with it, and retires no connection that was opened since", async () => {
    let isExpired = false;
    const server = await serve(
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
    const pool = open(server, { connections: 2, auth: { kind: "token", tokens } });
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

  test("where there is no other for now, the next request asks again", async () => {
    let isExpired = true;
    const server = await serve((request) =>
      isExpired ? answer(request, 403, { reason: "ExpiredProviderToken" }) : answer(request),
    );
    const same = (): Promise<string> => Promise.resolve("same");
    const pool = open(server, { auth: { kind: "token", tokens: { current: same, replace: same } } });
    expect(new Set(statuses(await sendMany(pool, 10)))).toEqual(new Set([403]));
    expect(server.requests).toHaveLength(1);
    isExpired = false;
    expect(await pool.send(push(), never)).toMatchObject({ status: 200 });
  });

  test("where the next is refused too, that is the answer", async () => {
    const server = await serve((request) => answer(request, 403, { reason: "ExpiredProviderToken" }));
    expect(await open(server).send(push(), never)).toMatchObject({ reason: "ExpiredProviderToken" });
    expect(server.requests).toHaveLength(2);
  });

  test("where there is no other token, nothing is sent twice", async () => {
    const server = await serve((request) => answer(request, 403, { reason: "ExpiredProviderToken" }));
    const same = (): Promise<string> => Promise.resolve("same");
    const pool = open(server, { auth: { kind: "token", tokens: { current: same, replace: same } } });
    expect(await pool.send(push(), never)).toMatchObject({ reason: "ExpiredProviderToken" });
    expect(server.requests).toHaveLength(1);
  });
});

describe("the end", () => {
  test("what was sent is answered, what waits is not sent, nothing is left open", async () => {
    const held: ApnsServerRequest[] = [];
    const server = await serve((request) => held.push(request));
    const pool = open(server);
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

  test("a server that was asked to close and does not is not waited for", async () => {
    const server = await serve(ok);
    // Nothing comes back any more, not even the end of its side.
    const proxy = await startFaultProxy({ targetPort: server.port });
    cleanUps.push(proxy.stop);
    const pool = open({ endpoint: `https://127.0.0.1:${proxy.port}`, ca: server.ca });
    await pool.send(push(), never);
    proxy.stall("toClient");
    await pool.close();
    proxy.heal();
    expect(pool.state).toEqual({ connections: 0, inFlight: 0, waiting: 0 });
  });

  test("while it connects", async () => {
    const server = await serve(ok);
    const pool = open(server);
    const sent = pool.send(push(), never);
    await pool.close();
    expect(await sent).toEqual({ kind: "not-sent", why: "closing" });
    await pool.close();
  });
});

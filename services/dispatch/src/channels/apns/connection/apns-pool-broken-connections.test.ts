// Tests what happens to requests when their connection ends, against a bare HTTP/2 server that behaves like real
// networks.
// Guarantees: what was certainly not processed is sent again; anything else is in doubt.
import { setTimeout as pause } from "node:timers/promises";
import { startFaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ApnsPoolBench, never, ok, push, sendMany, statuses } from "../../../testing/apns-pool-bench.js";
import { answer, type ApnsServerRequest } from "../../../testing/apns-server.js";

let bench: ApnsPoolBench;
beforeEach(() => void (bench = new ApnsPoolBench()));
afterEach(() => bench.close());

describe("GOAWAY", () => {
  test("streams above the last are sent again on a new connection; those below are answered on the old one", async () => {
    const held: ApnsServerRequest[] = [];
    const server = await bench.serve((request) => {
      if (request.connection > 0 || request.index === 0) answer(request);
      else held.push(request);
    });
    const pool = bench.open(server);
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

  test("with an error: streams below the last are in doubt, those above are sent again", async () => {
    const held: ApnsServerRequest[] = [];
    const server = await bench.serve((request) => {
      if (request.connection > 0 || request.index === 0) answer(request);
      else held.push(request);
    });
    const pool = bench.open(server);
    await pool.send(push(), never);
    const sent = sendMany(pool, 10);
    await waitFor(() => held.length === 10, { what: "ten on the first connection" });
    held[0]?.session.goaway(2, held[3]?.stream.id ?? 0);
    const kinds = statuses(await sent);
    expect(kinds.filter((kind) => kind === "unanswered")).toHaveLength(4);
    expect(kinds.filter((kind) => kind === 200)).toHaveLength(6);
  });

  test("nothing new is sent on a connection after its GOAWAY", async () => {
    const held: ApnsServerRequest[] = [];
    const server = await bench.serve((request) => {
      if (request.index === 1 && request.connection === 0) held.push(request);
      else answer(request);
    });
    const pool = bench.open(server);
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
  test("REFUSED_STREAM is sent again; another reset is in doubt", async () => {
    let refusals = 0;
    const server = await bench.serve((request) => {
      if (request.apnsId === "refused" && refusals++ < 2) request.stream.close(7);
      else if (request.apnsId === "reset") request.stream.close(2);
      else answer(request);
    });
    const pool = bench.open(server);
    expect(await pool.send(push("refused"), never)).toMatchObject({ status: 200 });
    expect(refusals).toBe(3);
    expect(await pool.send(push("reset"), never)).toMatchObject({ kind: "unanswered" });
    expect(server.requests.filter(({ apnsId }) => apnsId === "reset")).toHaveLength(1);
  });

  test("a peer that refuses everything is tried rarely, and nothing is reported as sent", async () => {
    const server = await bench.serve(({ stream }) => stream.close(7));
    const pool = bench.open(server, { waitMs: 3_000 });
    const results = await sendMany(pool, 20);
    expect(new Set(statuses(results))).toEqual(new Set(["not-sent"]));
    // Each of the pauses is at least 5 ms and grows; without them it is thousands.
    expect(server.requests.length).toBeLessThan(200);
    // It was left for others, which it refused too.
    expect(server.sessions.length).toBeGreaterThan(1);
  });

  test("one that refuses for a moment gets everything in the end, on the same connection", async () => {
    let refusals = 0;
    const inFlightAfterTheBurst: number[] = [];
    const server = await bench.serve((request) => {
      if (request.index > 20 && refusals < 23) inFlightAfterTheBurst.push(pool.state.inFlight);
      if (request.index > 0 && refusals < 23) {
        refusals++;
        request.stream.close(7);
      } else answer(request);
    });
    const pool = bench.open(server);
    await pool.send(push(), never);
    expect(new Set(statuses(await sendMany(pool, 20)))).toEqual(new Set([200]));
    expect(inFlightAfterTheBurst).toEqual([1, 1, 1]);
    expect(server.requests).toHaveLength(1 + 23 + 20);
    expect(server.sessions).toHaveLength(1);
  });

  test("one that refuses now and then, and answers in between, stays", async () => {
    const server = await bench.serve((request) => {
      if (request.index % 2 === 1) request.stream.close(7);
      else answer(request);
    });
    const pool = bench.open(server);
    for (let i = 0; i < 20; i++) expect(await pool.send(push(), never)).toMatchObject({ status: 200 });
    expect(server.sessions).toHaveLength(1);
  });

  test("one that closes midway leaves its requests in doubt and is replaced", async () => {
    const server = await bench.serve((request) => {
      if (request.connection === 0 && request.index === 5) request.session.destroy();
      else if (request.connection > 0 || request.index === 0) answer(request);
    });
    const pool = bench.open(server);
    await pool.send(push(), never);
    const results = await sendMany(pool, 5);
    expect(statuses(results)).toEqual(Array.from({ length: 5 }, () => "unanswered"));
    expect(statuses(await sendMany(pool, 3))).toEqual([200, 200, 200]);
    expect(server.sessions).toHaveLength(2);
  });

  test("an error whose reason is cut off is in doubt, 200 is not", async () => {
    const server = await bench.serve(({ apnsId, stream }) => {
      stream.respond({ ":status": apnsId === "good" ? 200 : 410 });
      stream.write('{"reason":', () => stream.session?.destroy());
    });
    const pool = bench.open(server);
    expect(await pool.send(push("bad"), never)).toMatchObject({ kind: "unanswered" });
    expect(await pool.send(push("good"), never)).toMatchObject({ kind: "answered", status: 200 });
  });

  test("a PING finds a black hole: its requests are in doubt, the connection is replaced", async () => {
    const server = await bench.serve(ok);
    const proxy = await startFaultProxy({ targetPort: server.port });
    bench.onClose(proxy.stop);
    const pool = bench.open(
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

  test("requests on a dead connection end with it, before their own timeouts", async () => {
    const server = await bench.serve(ok);
    const proxy = await startFaultProxy({ targetPort: server.port });
    bench.onClose(proxy.stop);
    const pool = bench.open(
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
    const server = await bench.serve(ok);
    const proxy = await startFaultProxy({ targetPort: server.port });
    bench.onClose(proxy.stop);
    const pool = bench.open(
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
    const server = await bench.serve((request) => {
      if (request.connection > 0 || request.index === 0) answer(request);
    });
    const pool = bench.open(server, { requestTimeoutMs: 150 });
    await pool.send(push(), never);
    expect(await pool.send(push(), never)).toMatchObject({ kind: "unanswered" });
    expect(await pool.send(push(), never)).toMatchObject({ status: 200 });
    expect(server.sessions).toHaveLength(2);
  });

  test("one slow answer among others replaces nothing", async () => {
    const server = await bench.serve((request) => {
      if (request.apnsId !== "slow") answer(request);
    });
    const pool = bench.open(server, { requestTimeoutMs: 200 });
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
    const server = await bench.serve((request) => setTimeout(() => answer(request), 60), {
      settings: { maxConcurrentStreams: 2 },
    });
    const pool = bench.open(server, { requestTimeoutMs: 400 });
    // 60 at a time of 30 ms each: the last waits for almost two seconds.
    expect(new Set(statuses(await sendMany(pool, 60)))).toEqual(new Set([200]));
  });
});

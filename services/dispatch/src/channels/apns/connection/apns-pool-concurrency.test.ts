// Tests how many requests a connection carries at a time, against a bare HTTP/2 server that changes its mind.
// Guarantees: never more than the server allows, never stuck, each request answered once.
import { randomUUID } from "node:crypto";
import type { ServerHttp2Session } from "node:http2";
import { waitFor } from "@petrel/shared/testing/wait-for";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ApnsPoolBench, never, ok, push, sendMany, statuses } from "../../../testing/apns-pool-bench.js";
import { answer, startApnsServer, type ApnsServerRequest } from "../../../testing/apns-server.js";

let bench: ApnsPoolBench;
beforeEach(() => void (bench = new ApnsPoolBench()));
afterEach(() => bench.close());

describe("the semaphore", () => {
  test("allows one request until one is answered by anything but 403", async () => {
    let isGood = false;
    const held: ApnsServerRequest[] = [];
    const server = await bench.serve((request) => {
      if (request.index < 3) answer(request, 403, { reason: "InvalidProviderToken" });
      else if (isGood) answer(request);
      else held.push(request);
    });
    const pool = bench.open(server);
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

  test("never exceeds what the server allows, even when the limit changes", async () => {
    let limit = 8;
    let most = 0;
    let open_ = 0;
    const server = await bench.serve(
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
    const pool = bench.open(server);
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

  test("while no stream is allowed, all requests wait, and none is lost", async () => {
    const server = await bench.serve(ok);
    const pool = bench.open(server);
    await pool.send(push(), never);
    const [session] = server.sessions as [ServerHttp2Session];
    await new Promise((resolve) => session.settings({ maxConcurrentStreams: 0 }, resolve));
    const sent = sendMany(pool, 10);
    await waitFor(() => pool.state.waiting === 10, { what: "all to wait" });
    session.settings({ maxConcurrentStreams: 2 });
    expect(new Set(statuses(await sent))).toEqual(new Set([200]));
    expect(server.mostAtOnce[0]).toBeLessThanOrEqual(2);
  });

  test("with any limits, latencies and faults: never above the limit, never stuck, each answered once", async () => {
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
          const pool = bench.open(server, { connections });
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

  test("an abort ends the wait, and the next one is sent", async () => {
    const held: ApnsServerRequest[] = [];
    const server = await bench.serve((request) => held.push(request));
    const pool = bench.open(server);
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

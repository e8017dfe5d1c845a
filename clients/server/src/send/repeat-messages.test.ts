// Tests what is sent again, and what becomes of a message that nobody answers, against a collect that the test plays.
// Guarantees: what resolves is stored once; what rejects as refused is not stored.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  json,
  ofError,
  openPetrel,
  stored,
  to,
  type Asked,
  type Play,
} from "../../../../test/support/clients/played-collect.js";
import type { PetrelError } from "../petrel.js";

const failed = (code: string, status: number, retryable: boolean, details?: unknown) => ({
  error: { code, message: code, retryable, status, ...(details === undefined ? {} : { details }) },
});
/** What fetch rejects with where nothing listens. */
const refusedConnection = (): Error =>
  new TypeError("fetch failed", { cause: Object.assign(new Error("connect"), { code: "ECONNREFUSED" }) });
const lostConnection = (): Error =>
  new TypeError("fetch failed", { cause: Object.assign(new Error("closed"), { code: "UND_ERR_SOCKET" }) });
const never = ({ signal }: Asked): Promise<Response> =>
  new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error));
  });

describe("repeats", () => {
  test("after a lost answer sends the same message with the same key, and reports no duplicate", async () => {
    const { petrel, requests } = openPetrel((asked, index) => {
      if (index === 0) throw lostConnection();
      return json(202, { results: asked.messages.map(() => ({ id: "m", duplicate: true })) });
    });
    expect(await petrel.send(to("a"))).toEqual({ id: "m", duplicate: false });
    expect(requests.length).toBe(2);
    expect(requests[0]?.messages).toEqual(requests[1]?.messages);
    expect(await petrel.send({ ...to("a"), idempotencyKey: "mine" })).toEqual({ id: "m", duplicate: true });
  });

  test.each([
    ["408", json(408, failed("PETREL_REQUEST_TIMEOUT", 408, true))],
    ["500", json(500, failed("PETREL_INTERNAL", 500, true))],
    ["503", json(503, failed("PETREL_UNAVAILABLE", 503, true))],
    ["a proxy's 502", new Response("<html>", { status: 502 })],
    ["half an answer", new Response('{"results":[', { status: 202 })],
    ["an answer for others", json(202, { results: [] })],
  ])("%s", async (_name, answer) => {
    const { petrel, requests } = openPetrel((asked, index) => (index === 0 ? answer : stored(asked)));
    await petrel.send(to("a"));
    expect(requests.length).toBe(2);
  });

  test.each([
    [401, "PETREL_UNAUTHENTICATED"],
    [403, "PETREL_FORBIDDEN"],
    [501, "PETREL_NOT_IMPLEMENTED"],
  ])("%i is reported at once", async (status, code) => {
    const { petrel, requests } = openPetrel(() => json(status, failed(code, status, false)));
    const error = await ofError(petrel.send(to("a")));
    expect(error).toMatchObject({ code, status, outcome: "refused", retryable: false });
    expect(error.idempotencyKey).toBe(requests[0]?.messages[0]?.idempotencyKey);
    expect(requests.length).toBe(1);
  });

  test("waits for Retry-After", async () => {
    const { petrel } = openPetrel((asked, index) =>
      index === 0
        ? json(429, failed("PETREL_RATE_LIMITED", 429, true), { "retry-after": "1" })
        : stored(asked),
    );
    const startMs = performance.now();
    await petrel.send(to("a"));
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(990);
  });

  test("fails now if the deadline comes before Retry-After", async () => {
    const { petrel, requests } = openPetrel(
      () => json(429, failed("PETREL_RATE_LIMITED", 429, true), { "retry-after": "60" }),
      { timeoutMs: 30_000 },
    );
    const error = await ofError(petrel.send(to("a")));
    expect(error).toMatchObject({ code: "PETREL_RATE_LIMITED", outcome: "refused", retryAfterMs: 60_000 });
    expect(requests.length).toBe(1);
  });

  test("a bad entry fails alone; a limited one is repeated alone; a full inbox is reported", async () => {
    const { petrel, requests } = openPetrel(({ messages }, index) =>
      json(202, {
        results: messages.map(({ to }) => {
          if (to["user"] === "bad")
            return failed("PETREL_INVALID_REQUEST", 400, false, { field: "body/data" });
          if (to["user"] === "full") return failed("PETREL_INBOX_FULL", 409, true);
          if (to["user"] === "busy" && index === 0) return failed("PETREL_RATE_LIMITED", 429, true);
          return { id: `m-${String(to["user"])}`, duplicate: false };
        }),
      }),
    );
    const [good, bad, full, busy] = await Promise.allSettled(
      ["good", "bad", "full", "busy"].map((user) => petrel.send(to(user))),
    );
    expect(good).toMatchObject({ value: { id: "m-good" } });
    expect(bad).toMatchObject({
      reason: { code: "PETREL_INVALID_REQUEST", details: { field: "body/data" } },
    });
    expect(full).toMatchObject({
      reason: { code: "PETREL_INBOX_FULL", retryable: true, outcome: "refused" },
    });
    expect(busy).toMatchObject({ value: { id: "m-busy" } });
    expect(requests.map(({ messages }) => messages.length)).toEqual([4, 1]);
  });

  test("reports a list that is stored in part", async () => {
    const { petrel } = openPetrel(({ messages }) => {
      const details = { stored: [{ user: "a", id: "m" }], full: ["b"] };
      return json(202, { results: messages.map(() => failed("PETREL_INBOX_FULL", 409, true, details)) });
    });
    const error = await ofError(petrel.send({ to: { users: ["a", "b"] }, data: 1 }));
    expect(error).toMatchObject({ outcome: "partial", details: { stored: [{ user: "a", id: "m" }] } });
  });

  test("halves what is refused as a whole until the oversized message stands alone", async () => {
    const { petrel, requests } = openPetrel((asked) =>
      asked.messages.some(({ data }) => data === 13)
        ? json(400, failed("PETREL_INVALID_JSON", 400, false))
        : stored(asked),
    );
    const all = await Promise.allSettled(Array.from({ length: 64 }, (_, i) => petrel.send(to(`u${i}`, i))));
    expect(all.flatMap(({ status }, i) => (status === "rejected" ? [i] : []))).toEqual([13]);
    expect(requests.length).toBe(1 + 2 * 6);
  });
});

describe("a message without an answer", () => {
  test("that was never sent is refused", async () => {
    const { petrel } = openPetrel(
      () => {
        throw refusedConnection();
      },
      { timeoutMs: 60 },
    );
    expect(await ofError(petrel.send(to("a")))).toMatchObject({ outcome: "refused", retryable: true });
  });

  test("that was sent is unknown, with the key to repeat it", async () => {
    const { petrel, requests } = openPetrel(never, { timeoutMs: 60 });
    const error = await ofError(petrel.send(to("a")));
    expect(error).toMatchObject({ code: "PETREL_SDK_NO_ANSWER", outcome: "unknown", retryable: true });
    expect(error.idempotencyKey).toBe(requests[0]?.messages[0]?.idempotencyKey);
    expect(error.message).toContain("unknown");
  });

  test("that may be stored by one attempt stays unknown, whatever later attempts report", async () => {
    const { petrel } = openPetrel((_asked, index) => {
      if (index === 0) throw lostConnection();
      return json(401, failed("PETREL_UNAUTHENTICATED", 401, false));
    });
    const error = await ofError(petrel.send(to("a")));
    expect(error).toMatchObject({ code: "PETREL_UNAUTHENTICATED", outcome: "unknown" });
  });

  test("that waited behind others and was never sent is refused", async () => {
    const { petrel, requests } = openPetrel(never, { timeoutMs: 60, maxRequests: 1 });
    const first = ofError(petrel.send(to("a")));
    while (requests.length === 0) await new Promise(setImmediate);
    const second = ofError(petrel.send(to("b")));
    expect((await first).outcome).toBe("unknown");
    expect(await second).toMatchObject({ code: "PETREL_SDK_NOT_SENT", outcome: "refused" });
  });
});

/** What the network does to a request: the server stores before or not at all, and the answer comes or does not. */
const fates = ["answers", "lost before", "lost after", "refuses", "503 after"] as const;

test("whatever happens to requests: resolved means stored once, refused means not stored, each recipient's order holds", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(...fates), { maxLength: 12 }),
      fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 30 }),
      async (script, users) => {
        const byKey = new Map<string, number>();
        const log: { user: unknown; data: unknown }[] = [];
        const store = (asked: Asked): void => {
          for (const { idempotencyKey, to, data } of asked.messages) {
            byKey.set(idempotencyKey, (byKey.get(idempotencyKey) ?? 0) + 1);
            if (byKey.get(idempotencyKey) === 1) log.push({ user: to["user"], data });
          }
        };
        const play: Play = (asked, index) => {
          const fate = script[index] ?? "answers";
          if (fate === "lost before") throw lostConnection();
          if (fate === "refuses") return json(403, failed("PETREL_FORBIDDEN", 403, false));
          store(asked);
          if (fate === "lost after") throw lostConnection();
          return fate === "503 after" ? json(503, failed("PETREL_UNAVAILABLE", 503, true)) : stored(asked);
        };
        const { petrel } = openPetrel(play, { attempts: 2, lingerMs: 0 });
        const results = await Promise.allSettled(
          users.map(async (user, i) => {
            // Some in one turn, some in the next.
            if (i % 3 === 0) await new Promise(setImmediate);
            return petrel.send(to(user, i));
          }),
        );
        results.forEach((result, i) => {
          const times = log.filter(({ data }) => data === i).length;
          if (result.status === "fulfilled") expect(times).toBe(1);
          else if ((result.reason as PetrelError).outcome === "refused") expect(times).toBe(0);
        });
        for (const user of ["a", "b", "c"]) {
          const sent = log.filter((one) => one.user === user).map(({ data }) => Number(data));
          const called = sent.toSorted((a, b) => orderOfCall(a) - orderOfCall(b));
          expect(sent).toEqual(called);
        }
      },
    ),
    { numRuns: 60 },
  );
});

/** Those that wait a turn come after those that don't. */
function orderOfCall(index: number): number {
  return index % 3 === 0 ? index + 1_000 : index;
}

// Tests how collect reports messages, by its application on real Redis.
import { setTimeout as sleep } from "node:timers/promises";
import { ackUsers } from "@petrel/shared/redis/inbox/ack-users";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { MessageStateAnswer } from "../contract/describe-message.js";
import { type OpenCollect, openCollect } from "../testing/open-collect.js";

let collect: OpenCollect;

beforeAll(async () => {
  collect = await openCollect();
});
afterAll(() => collect.close());

interface Accepted {
  readonly id: string;
}
interface Page {
  readonly items: readonly { readonly seq: number; readonly id: string; readonly data: unknown }[];
  readonly epoch: string | null;
  readonly nextAfter: number | null;
}

async function send(user: string, data: unknown, rest: Record<string, unknown> = {}): Promise<string> {
  const answer = await collect.ask("POST", "/v1/messages", { body: { to: { user }, data, ...rest } });
  expect(answer.status).toBe(202);
  return (answer.body as Accepted).id;
}

async function read(id: string): Promise<MessageStateAnswer> {
  const answer = await collect.ask("GET", `/v1/messages/${id}`);
  expect(answer.status).toBe(200);
  return answer.body as MessageStateAnswer;
}

async function ack(userId: string, seq: number): Promise<void> {
  const { epoch } = (await collect.ask("GET", `/v1/users/${userId}/messages`)).body as Page;
  await ackUsers(collect.store.scripts, collect.keysOf(userId), [{ userId, epoch: epoch ?? "", seq }], 1_000);
}

describe("a message's state", () => {
  test("is queued until it is acknowledged, then delivered", async () => {
    const first = await send("ada", 1, { ttlSeconds: 60 });
    const second = await send("ada", 2);
    const queued = await read(first);
    expect(queued).toEqual({
      id: first,
      to: { user: "ada" },
      state: "queued",
      seq: 1,
      epoch: queued.epoch,
      acceptedAt: queued.acceptedAt,
      expiresAt: new Date(Date.parse(queued.acceptedAt) + 60_000).toISOString(),
      timeline: [{ at: queued.acceptedAt, event: "accepted" }],
    });
    expect(Math.abs(Date.parse(queued.acceptedAt) - Date.now())).toBeLessThan(30_000);

    await ack("ada", 2);
    const [delivered, last] = [await read(first), await read(second)];
    expect(delivered.state).toBe("delivered");
    expect(delivered.timeline.map(({ event }) => event)).toEqual(["accepted", "delivered"]);
    // The ack named the second message, so the first one's time is only an upper bound.
    expect(delivered.timeline[1]?.approximate).toBe(true);
    expect(last.timeline[1]).toEqual({ at: delivered.timeline[1]?.at, event: "delivered" });
  });

  test("is expired after its TTL", async () => {
    const id = await send("eve", 1, { ttlSeconds: 1 });
    const expired = await waitFor(
      async () => {
        const message = await read(id);
        return message.state === "expired" && message;
      },
      { what: "the message to expire", everyMs: 100 },
    );
    expect(expired.timeline.map(({ event }) => event)).toEqual(["accepted", "expired"]);
  });

  describe("whose fallback was tried", () => {
    const keys = () => collect.keysOf("fay");
    const attempt = (id: string, at: number, rest: string) =>
      collect.store.redis.rpush(
        keys().attempts(id),
        `{"at":${at},"event":"attempt","channel":"webhook",${rest}}`,
      );
    const end = (id: string, text: string) => collect.store.redis.append(keys().record(id), `\t${text}`);
    const at = (ms: number) => new Date(ms).toISOString();

    test("shows the attempts, and which channel took it", async () => {
      const id = await send("fay", 1);
      const first = Date.parse((await read(id)).acceptedAt) + 1_000;
      await attempt(id, first, '"outcome":"retry","reason":"HTTP 503"');
      await attempt(id, first + 1_000, '"outcome":"taken","details":{"requestId":"r1"}');
      await collect.store.redis.rpush(keys().attempts(id), "nonsense", '{"at":1}');
      await end(id, `pushed ${first + 1_000} webhook`);
      const found = await read(id);
      expect(found).toMatchObject({ state: "pushed" });
      expect(found).not.toHaveProperty("reason");
      expect(found.timeline).toEqual([
        { at: found.acceptedAt, event: "accepted" },
        { at: at(first), event: "attempt", channel: "webhook", outcome: "retry", reason: "HTTP 503" },
        {
          at: at(first + 1_000),
          event: "attempt",
          channel: "webhook",
          outcome: "taken",
          details: { requestId: "r1" },
        },
        { at: at(first + 1_000), event: "pushed", channel: "webhook" },
      ]);
    });

    test("never shows an attempt beside the state before it", async () => {
      const id = await send("fay", 1);
      const atMs = Date.parse((await read(id)).acceptedAt) + 1_000;
      const redis = Object.getPrototypeOf(collect.store.redis) as typeof collect.store.redis;
      const lrange = redis.lrange.bind(collect.store.redis);
      const spy = vi.spyOn(redis, "lrange").mockImplementationOnce(async (...args) => {
        await attempt(id, atMs, '"outcome":"taken"');
        await end(id, `pushed ${atMs} webhook`);
        return lrange(...args);
      });
      const found = await read(id);
      spy.mockRestore();
      expect(found.state).toBe("pushed");
      expect(found.timeline.map(({ event }) => event)).toEqual(["accepted", "attempt", "pushed"]);
    });

    test.each([
      ["rejected", "The fallback channel refused the message. Last: HTTP 422"],
      ["attempts-exhausted", "Every attempt of the fallback failed. Last: HTTP 422"],
      ["misconfigured", "The fallback channel is misconfigured. Last: HTTP 422"],
    ])("shows why it failed: %s", async (code, message) => {
      const id = await send("fay", 1);
      const failedAt = Date.parse((await read(id)).acceptedAt) + 1_000;
      await attempt(id, failedAt, '"outcome":"failed","reason":"HTTP 422"');
      await end(id, `failed ${failedAt} ${code}`);
      expect(await read(id)).toMatchObject({
        state: "failed",
        reason: { code, message },
        timeline: [{ event: "accepted" }, { event: "attempt" }, { event: "failed", at: at(failedAt) }],
      });
    });

    test.each(["pushed 1 webhook", "failed 1 rejected"])(
      "may still be delivered after it was %s: both are shown",
      async (text) => {
        const id = await send("gus", 1);
        const [state = ""] = text.split(" ");
        const { acceptedAt, seq = 0 } = await read(id);
        const ended = text.replace("1", String(Date.parse(acceptedAt)));
        await collect.store.redis.append(collect.keysOf("gus").record(id), `\t${ended}`);
        expect((await read(id)).state).toBe(state);
        await ack("gus", seq);
        const found = await read(id);
        expect(found.state).toBe("delivered");
        expect(found).not.toHaveProperty("reason");
        expect(found.timeline.map(({ event }) => event)).toEqual(["accepted", state, "delivered"]);
      },
    );
  });

  test.each(["p0_aaaaaaaaaaaaaaaaaaaaaa", "p9999_aaaaaaaaaaaaaaaaaaaaaa", "order-1", "p0_short"])(
    "of an unknown id, %s: 404",
    async (id) => {
      for (const method of ["GET", "DELETE"] as const) {
        expect(await collect.ask(method, `/v1/messages/${id}`)).toMatchObject({
          status: 404,
          body: { error: { code: "PETREL_NOT_FOUND" } },
        });
      }
    },
  );

  test.each(["a%20b", "a.b", "%7Bp0%7D", "a".repeat(65), "a%0A"])(
    "of a malformed id, %s: 400",
    async (id) => {
      for (const method of ["GET", "DELETE"] as const) {
        expect(await collect.ask(method, `/v1/messages/${id}`)).toMatchObject({
          status: 400,
          body: { error: { code: "PETREL_INVALID_REQUEST" } },
        });
      }
    },
  );
});

describe("a user's messages", () => {
  const page = async (user: string, query = ""): Promise<Page> => {
    const answer = await collect.ask("GET", `/v1/users/${encodeURIComponent(user)}/messages${query}`);
    expect(answer.status).toBe(200);
    expect(answer.headers["content-type"]).toMatch(/^application\/json/);
    return answer.body as Page;
  };

  test("come in order, page by page, each once", async () => {
    const user = "p|a~g=e+d@x:1.0";
    const ids: string[] = [];
    for (let i = 1; i <= 7; i++) ids.push(await send(user, { n: i, text: 'quote " and \n newline' }));
    const seen: string[] = [];
    let after: number | null = 0;
    let pages = 0;
    while (after !== null && pages < 10) {
      const next: Page = await page(user, `?after=${after}&limit=3`);
      seen.push(...next.items.map(({ id }) => id));
      after = next.nextAfter;
      pages++;
    }
    expect(seen).toEqual(ids);
    expect(pages).toBe(3);
    const all = await page(user);
    expect(all.nextAfter).toBeNull();
    expect(all.epoch).toBe((await read(ids[0] ?? "")).epoch);
    expect(all.items[6]).toEqual({
      id: ids[6],
      seq: 7,
      epoch: all.epoch,
      acceptedAt: (await read(ids[6] ?? "")).acceptedAt,
      expiresAt: (await read(ids[6] ?? "")).expiresAt,
      priority: "normal",
      fallback: "offline",
      data: { n: 7, text: 'quote " and \n newline' },
    });
  });

  test("a page that ends with the last message says so", async () => {
    for (let i = 1; i <= 3; i++) await send("even", i);
    expect((await page("even", "?limit=3")).nextAfter).toBeNull();
    expect((await page("even", "?limit=2")).nextAfter).toBe(2);
    expect(await page("even", "?after=3")).toMatchObject({ items: [], nextAfter: null });
  });

  test("has 50 by default, and a page ends when it gets large", async () => {
    const messages = Array.from({ length: 60 }, (_, n) => ({ to: { user: "fifty" }, data: n }));
    await collect.ask("POST", "/v1/messages/batch", { body: { messages } });
    expect((await page("fifty")).items).toHaveLength(50);
    expect((await page("fifty")).nextAfter).toBe(50);

    const large = Array.from({ length: 40 }, () => ({ to: { user: "large" }, data: "x".repeat(60_000) }));
    await collect.ask("POST", "/v1/messages/batch", { body: { messages: large } });
    const first = await page("large", "?limit=1000");
    expect(first.items.length).toBeLessThan(40);
    expect(first.nextAfter).toBe(first.items.length);
  });

  test("leaves out an expired message, and its end is written", async () => {
    const short = await send("short", 1, { ttlSeconds: 1 });
    const long = await send("short", 2);
    await sleep(Math.max(0, Date.parse((await read(short)).expiresAt) - Date.now()) + 20);
    expect((await page("short")).items.map(({ id }) => id)).toEqual([long]);
    const record = await collect.store.redis.get(collect.keysOf("short").record(short));
    expect(record).toMatch(/\texpired \d+$/);
  });

  test.each([-2, 2])("uses Redis' clock: a machine whose own is %i h off answers the same", async (hours) => {
    const user = `clock${hours}`;
    const short = await send(user, 1, { ttlSeconds: 1 });
    const long = await send(user, 2, { ttlSeconds: 60 });
    await sleep(Math.max(0, Date.parse((await read(short)).expiresAt) - Date.now()) + 20);
    const real = Date.now;
    vi.spyOn(Date, "now").mockImplementation(() => real() + hours * 3_600_000);
    try {
      expect((await page(user)).items.map(({ id }) => id)).toEqual([long]);
      // Long enough to be read before it expires, even on a busy machine.
      const other = await send(`other${hours}`, 1, { ttlSeconds: 4 });
      expect((await read(other)).state).toBe("queued");
      await waitFor(async () => (await read(other)).state === "expired", {
        what: "its end",
        deadlineMs: 20_000,
      });
      expect((await read(long)).state).toBe("queued");
    } finally {
      vi.restoreAllMocks();
    }
  });

  test("a page of only expired messages still leads on", async () => {
    const short = await send("gone", 1, { ttlSeconds: 1 });
    await send("gone", 2);
    await sleep(Math.max(0, Date.parse((await read(short)).expiresAt) - Date.now()) + 20);
    expect(await page("gone", "?limit=1")).toMatchObject({ items: [], nextAfter: 1 });
  });

  test("are empty for an unknown user", async () => {
    expect(await page("stranger")).toEqual({ items: [], epoch: null, nextAfter: null });
  });

  test.each([
    "limit=0",
    "limit=1001",
    "limit=-1",
    "limit=ten",
    "after=-1",
    "after=1.5",
    "after=",
    "limit=1&limit=2",
    "before=3",
  ])("?%s: 400", async (query) => {
    expect(await collect.ask("GET", `/v1/users/ada/messages?${query}`)).toMatchObject({
      status: 400,
      body: { error: { code: "PETREL_INVALID_REQUEST" } },
    });
  });

  test.each(["ada%20l", "a%2Fb", "a".repeat(129), "%C3%A9"])("of a malformed user, %s: 400", async (user) => {
    for (const what of ["messages", "presence"]) {
      expect((await collect.ask("GET", `/v1/users/${user}/${what}`)).status).toBe(400);
    }
    expect((await collect.ask("POST", `/v1/users/${user}/disconnect`)).status).toBe(400);
  });
});

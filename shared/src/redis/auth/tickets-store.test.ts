// Tests one-use tickets on a real Redis, with real races.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { TicketsStore } from "./tickets-store.js";

interface Token {
  readonly userId: string;
  readonly jti: string;
}

let store: OpenStore;
let tickets: TicketsStore<Token>;
beforeAll(async () => {
  store = await openStore();
  tickets = new TicketsStore(store.scripts);
});
beforeEach(() => store.clear());
afterAll(() => store.close());

const token = { userId: "alice", jti: "j1" };

test("a ticket gives its token, once", async () => {
  const ticket = await tickets.issue(token, 30_000);
  expect(await tickets.redeem(ticket)).toEqual(token);
  expect(await tickets.redeem(ticket)).toBeUndefined();
  expect(await store.redis.dbsize()).toBe(0);
});

test("of many that present it at once, one gets in", async () => {
  const ticket = await tickets.issue(token, 30_000);
  const all = await Promise.all(Array.from({ length: 50 }, () => tickets.redeem(ticket)));
  expect(all.filter((one) => one !== undefined)).toEqual([token]);
});

test("expires, and is not readable in Redis", async () => {
  const ticket = await tickets.issue(token, 30_000);
  const [key = ""] = await store.redis.keys("*");
  expect(key).toMatch(/^petrel:ticket:[A-Za-z0-9_-]{43}$/);
  expect(key).not.toContain(ticket.slice(3));
  expect(await store.redis.get(key)).not.toContain(ticket.slice(3));
  expect(await store.redis.pttl(key)).toBeLessThanOrEqual(30_000);
  const short = await tickets.issue(token, 1);
  await waitFor(async () => (await store.redis.dbsize()) === 1, { what: "the ticket's end" });
  expect(await tickets.redeem(short)).toBeUndefined();
});

test.each(["", "pt_", "x", `pt_${"a".repeat(43)}`, `pt_${"a".repeat(44)}`, "*", "pt_../../../../etc"])(
  "%j is not a ticket",
  async (text) => {
    await tickets.issue(token, 30_000);
    expect(await tickets.redeem(text)).toBeUndefined();
    expect(await store.redis.dbsize()).toBe(1);
  },
);

test("issues a ticket when Redis is out of memory: whoever connects with it frees some", async () => {
  await store.redis.config("SET", "maxmemory", "1");
  try {
    expect(await tickets.redeem(await tickets.issue(token, 60_000))).toEqual(token);
  } finally {
    await store.redis.config("SET", "maxmemory", "0");
  }
});

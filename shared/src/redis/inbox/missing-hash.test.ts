// Tests how a user's hash is rebuilt when it is gone and the inbox is not.
// Guarantees: no number is given twice; what was open is delivered again and reaches its end.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { message, openStore, routeLimits, type OpenStore } from "../../testing/redis/open-store.js";
import { ackUsers } from "./ack-users.js";
import { readInbox } from "./read-inbox.js";
import { readMessage } from "./read-message.js";
import { connectRoute } from "../routes/connect-routes.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const page = { maxEntries: 1_000, maxBytes: 1_000_000 };

async function accept(id?: string) {
  const result = await store.accepter().accept(message(id === undefined ? {} : { id }));
  if (result.outcome !== "stored") throw new Error(`not stored: ${result.outcome}`);
  return result;
}

async function connect() {
  const route = { userId: "u1", node: "n1", connection: "c1", platform: "web" };
  const result = await connectRoute(store.scripts, store.keys, route, routeLimits);
  if (result.outcome !== "connected") throw new Error("refused");
  return result;
}

const ack = (epoch: string, seq: number, history = 100) =>
  ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq }], history);

test("accept rebuilds it with a new epoch, and seq continues from the inbox's last id", async () => {
  const first = await accept();
  await accept();
  await store.redis.del(store.keys.user("u1"));
  const third = await accept();
  expect(third.seq).toBe(3);
  expect(third.epoch).not.toBe(first.epoch);
  expect((await accept()).epoch).toBe(third.epoch);
});

test("connect rebuilds it the same way", async () => {
  const first = await accept();
  await accept();
  await store.redis.del(store.keys.user("u1"));
  const connected = await connect();
  expect(connected).toMatchObject({ seq: 2, after: 0, acked: 0, resumed: false });
  expect(connected.epoch).not.toBe(first.epoch);
  expect(await accept()).toMatchObject({ seq: 3, epoch: connected.epoch });
});

test.each(["accept", "connect"])("open messages are delivered again, and watched: by %s", async (by) => {
  await accept();
  await accept();
  await store.redis.del(store.keys.user("u1"), store.keys.due);
  if (by === "accept") await accept();
  const { after, seq } = await connect();
  expect(after).toBe(0);
  const { messages } = await readInbox(store.scripts, store.keys, "u1", after, page);
  expect(messages.map((one) => one.seq)).toEqual(Array.from({ length: seq }, (_, i) => i + 1));
  expect(await store.redis.zscore(store.keys.due, "u1")).not.toBeNull();
});

test("a completely trimmed inbox still has its last number", async () => {
  const { epoch } = await accept();
  await accept();
  await ack(epoch, 2);
  await store.redis.xtrim(store.keys.inbox("u1"), "MAXLEN", 0);
  await store.redis.del(store.keys.user("u1"));
  expect(await connect()).toMatchObject({ seq: 2, acked: 2, after: 2 });
  expect((await accept()).seq).toBe(3);
});

test("a partly trimmed inbox: what is left is open", async () => {
  for (let i = 0; i < 3; i++) await accept();
  await store.redis.xtrim(store.keys.inbox("u1"), "MINID", "3-0");
  await store.redis.del(store.keys.user("u1"));
  expect(await connect()).toMatchObject({ seq: 3, acked: 2, after: 2 });
});

test("a new user without an inbox begins at 0", async () => {
  expect(await connect()).toMatchObject({ seq: 0, acked: 0, after: 0 });
  expect((await accept()).seq).toBe(1);
});

test("a message that was open when the hash went missing reads delivered once it is acked", async () => {
  await accept("open");
  await store.redis.del(store.keys.user("u1"));
  const { epoch } = await connect();
  expect((await readMessage(store.scripts, store.keys, "open"))?.state).toBe("queued");
  await ack(epoch, 1);
  expect((await readMessage(store.scripts, store.keys, "open"))?.state).toBe("delivered");
});

test.each(["accept", "connect"])("the next wake looks for what has expired meanwhile: by %s", async (by) => {
  await accept();
  const nextExpiry = Number(await store.redis.hget(store.keys.user("u1"), "nextExpiry"));
  await store.redis.del(store.keys.user("u1"));
  if (by === "accept") await store.accepter().accept(message({ ttlMs: 86_400_000 }));
  else await connect();
  const rebuilt = await store.redis.hget(store.keys.user("u1"), "nextExpiry");
  expect(rebuilt).not.toBeNull();
  expect(Number(rebuilt)).toBeLessThanOrEqual(nextExpiry);
});

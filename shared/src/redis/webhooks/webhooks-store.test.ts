// Tests webhooks, their progress and their attempts, on a real Redis.
// Guarantees covered: changes at the same time lose nothing; only the owner moves progress; what was removed stays so.
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import {
  beginWebhookProgress,
  dropWebhookProgress,
  endWebhookProgress,
  readWebhookProgress,
  stepWebhookProgress,
  type WebhookProgress,
} from "./webhook-progress.js";
import { WebhookAttempts } from "./webhook-attempts.js";
import type { WebhookRecord } from "./webhook-record.js";
import { MAX_WEBHOOKS, WebhooksStore } from "./webhooks-store.js";

let store: OpenStore;
let webhooks: WebhooksStore;
beforeAll(async () => {
  store = await openStore();
  webhooks = new WebhooksStore(store.scripts);
});
beforeEach(() => store.clear());
afterAll(() => store.close());

const record = (id: string, createdAtMs = 1): WebhookRecord => ({
  id,
  url: "https://shop.example/",
  types: ["message.failed"],
  description: null,
  paused: false,
  pausedReason: null,
  createdAtMs,
  sealedSecret: "s",
  former: [],
  era: 0,
  replay: null,
});
const progress: WebhookProgress = { after: 5, failures: 0, era: 0, replayed: 0 };

test("a webhook is stored, listed by creation, changed, and removed; each change is noticed", async () => {
  expect(await webhooks.readVersion()).toBe("");
  await webhooks.create(record("wh_b", 1));
  await webhooks.create(record("wh_a", 2));
  const { records, version } = await webhooks.list();
  expect(records).toEqual([record("wh_b", 1), record("wh_a", 2)]);
  expect(version).toBe(await webhooks.readVersion());
  await webhooks.change("wh_a", (one) => ({ ...one, paused: true }));
  expect((await webhooks.find("wh_a"))?.paused).toBe(true);
  expect(await webhooks.readVersion()).not.toBe(version);
  expect(await webhooks.remove("wh_a")).toBe(true);
  expect(await webhooks.remove("wh_a")).toBe(false);
  expect(await webhooks.find("wh_a")).toBeUndefined();
  expect(await webhooks.find("version")).toBeUndefined();
  expect(await webhooks.change("wh_a", (one) => one)).toBeUndefined();
});

test("concurrent changes lose nothing", async () => {
  await webhooks.create(record("wh_a"));
  await Promise.all(
    Array.from({ length: 8 }, () => webhooks.change("wh_a", (one) => ({ ...one, era: one.era + 1 }))),
  );
  expect((await webhooks.find("wh_a"))?.era).toBe(8);
});

test("an empty change writes nothing", async () => {
  await webhooks.create(record("wh_a"));
  const version = await webhooks.readVersion();
  expect(await webhooks.change("wh_a", () => undefined)).toEqual(record("wh_a"));
  expect(await webhooks.readVersion()).toBe(version);
});

test("allows at most a hundred", async () => {
  for (let i = 0; i < MAX_WEBHOOKS; i++) expect(await webhooks.create(record(`wh_${i}`))).toBe("created");
  expect(await webhooks.create(record("wh_more"))).toBe("full");
  await webhooks.remove("wh_7");
  expect(await webhooks.create(record("wh_more"))).toBe("created");
});

test("progress belongs to the owner alone, begins once, and does not come back after its removal", async () => {
  const { scripts, keys, partitions } = store;
  const token = await store.own();
  const later = { ...progress, failures: 2 };
  expect(await beginWebhookProgress(scripts, keys, "stale", "wh_a", progress)).toBe("stale");
  expect(await readWebhookProgress(scripts, keys, "wh_a")).toBeUndefined();
  expect(await stepWebhookProgress(scripts, keys, token, "wh_a", later)).toBe("left");
  expect(await beginWebhookProgress(scripts, keys, token, "wh_a", progress)).toBe("written");
  expect(await beginWebhookProgress(scripts, keys, token, "wh_a", later)).toBe("left");
  expect(await readWebhookProgress(scripts, keys, "wh_a")).toEqual(progress);
  expect(await stepWebhookProgress(scripts, keys, "stale", "wh_a", later)).toBe("stale");
  expect(await stepWebhookProgress(scripts, keys, token, "wh_a", later)).toBe("written");
  expect(await readWebhookProgress(scripts, keys, "wh_a")).toEqual(later);
  expect(await endWebhookProgress(scripts, keys, "stale", "wh_a")).toBe("stale");
  await dropWebhookProgress(scripts, partitions, "wh_a");
  expect(await stepWebhookProgress(scripts, keys, token, "wh_a", later)).toBe("left");
  expect(await store.redis.keys("*webhook*")).toEqual([]);
});

test("keeps the last thousand attempts, newest first, in pages", async () => {
  const attempts = new WebhookAttempts(store.redis);
  const one = (atMs: number) => ({ atMs, webhookId: "msg_1", durationMs: 5, status: 200 });
  await Promise.all(Array.from({ length: 1_010 }, (_, i) => attempts.append("wh_a", one(i))));
  const first = await attempts.list("wh_a", undefined, 1_000);
  expect(first.items).toHaveLength(1_000);
  expect(first.items[0]).toEqual(one(1_009));
  expect(first.nextCursor).toBeUndefined();
  const page = await attempts.list("wh_a", undefined, 3);
  const next = await attempts.list("wh_a", page.nextCursor, 3);
  expect([...page.items, ...next.items]).toEqual([1_009, 1_008, 1_007, 1_006, 1_005, 1_004].map(one));
  await attempts.remove("wh_a");
  expect((await attempts.list("wh_a", undefined, 3)).items).toEqual([]);
});

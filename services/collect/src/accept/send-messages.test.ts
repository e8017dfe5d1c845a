// Tests sending by collect's application on real Redis: single messages, lists, batches.
// Guarantees: a message answered with 202 is in the inbox, in order, once.
import { splitNotification } from "@petrel/shared/protocol/messages/notification-text";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type OpenCollect, openCollect } from "../testing/open-collect.js";

let collect: OpenCollect;

beforeAll(async () => {
  collect = await openCollect({ accept: { inboxCap: 20 } });
});
afterAll(() => collect.close());

const send = (body: unknown, as?: string) =>
  collect.ask("POST", "/v1/messages", { body, ...(as === undefined ? {} : { as }) });
const sendBatch = (messages: unknown[]) => collect.ask("POST", "/v1/messages/batch", { body: { messages } });

describe("one message", () => {
  test("is stored with all its fields", async () => {
    const notification = {
      title: "Hi",
      body: "there",
      badge: 2,
      sound: "ping",
      apns: { data: { x: [1] } },
      wechat: {},
    };
    const answer = await send({
      to: { user: "ada" },
      data: { text: "tab\t newline\n ünïcode \ud83d\ude00", __proto__: undefined },
      ttlSeconds: 60,
      priority: "high",
      fallback: "never",
      notification,
    });
    expect(answer).toMatchObject({ status: 202, body: { duplicate: false } });
    expect(Object.keys(answer.body as object)).toEqual(["id", "duplicate"]);
    const [stored, ...more] = await collect.inboxOf("ada");
    expect(more).toEqual([]);
    expect(stored).toMatchObject({
      seq: 1,
      id: (answer.body as { id: string }).id,
      priority: "high",
      fallback: "never",
    });
    expect((stored?.expiresAtMs ?? 0) - (stored?.atMs ?? 0)).toBe(60_000);
    expect(JSON.parse(stored?.notification ?? "")).toEqual(notification);
    expect(JSON.parse(stored?.data ?? "")).toEqual({ text: "tab\t newline\n ünïcode \ud83d\ude00" });
  });

  test("stores its collapse key beside its notification, whose text stays the sender's", async () => {
    const notification = { title: "t", body: "b" };
    await send({ to: { user: "goal" }, data: 1, notification, collapseKey: "score 3" });
    await send({ to: { user: "goal" }, data: 1, collapseKey: "nothing to collapse" });
    const [stored, without] = await collect.inboxOf("goal");
    expect(splitNotification(stored?.notification ?? "")).toEqual({
      notification: JSON.stringify(notification),
      collapseKey: "score 3",
    });
    expect(without?.notification).toBe("");
  });

  test("has the contract's defaults", async () => {
    await send({ to: { user: "default" }, data: 1 });
    const [stored] = await collect.inboxOf("default");
    expect(stored).toMatchObject({ priority: "normal", fallback: "offline", notification: "" });
    expect((stored?.expiresAtMs ?? 0) - (stored?.atMs ?? 0)).toBe(604_800_000);
  });

  test.each(["null", "false", "0", '""', "[]", '{"__proto__":{"a":1}}', '"\\ud800"'])(
    "data may be %s",
    async (json) => {
      const userId = `json.${Buffer.from(json).toString("hex")}`;
      const answer = await collect.ask("POST", "/v1/messages", {
        raw: `{"to":{"user":"${userId}"},"data":${json}}`,
      });
      expect(answer.status).toBe(202);
      expect((await collect.inboxOf(userId))[0]?.data).toBe(JSON.stringify(JSON.parse(json)));
    },
  );

  test("data may have exactly 64 KiB as UTF-8", async () => {
    const data = "é".repeat((65_536 - 2) / 2);
    expect((await send({ to: { user: "large" }, data })).status).toBe(202);
    expect(await send({ to: { user: "larger" }, data: `${data}x` })).toMatchObject({
      status: 413,
      body: { error: { code: "PETREL_PAYLOAD_TOO_LARGE", details: { field: "body/data" } } },
    });
    expect(await collect.inboxOf("larger")).toEqual([]);
  });

  test("may be packed with gzip", async () => {
    const raw = gzipSync(JSON.stringify({ to: { user: "packed" }, data: "x".repeat(60_000) }));
    const answer = await collect.ask("POST", "/v1/messages", {
      raw,
      headers: { "content-encoding": "gzip" },
    });
    expect(answer.status).toBe(202);
    expect(await collect.inboxOf("packed")).toHaveLength(1);
  });

  test("the content type may name its charset", async () => {
    const answer = await collect.ask("POST", "/v1/messages", {
      body: { to: { user: "charset" }, data: 1 },
      headers: { "content-type": "application/json; charset=utf-8" },
    });
    expect(answer.status).toBe(202);
  });
});

describe("a list", () => {
  test("is answered for each user, in order, over all partitions", async () => {
    const users = Array.from({ length: 1_000 }, (_, i) => `list.${i}`);
    const answer = await send({ to: { users }, data: { n: 1 } });
    expect(answer.status).toBe(202);
    const { results } = answer.body as { results: { user: string; id: string; duplicate: boolean }[] };
    expect(results.map(({ user }) => user)).toEqual(users);
    expect(new Set(results.map(({ id }) => id)).size).toBe(1_000);
    expect(results.every(({ duplicate }) => !duplicate)).toBe(true);
    for (const user of ["list.0", "list.499", "list.999"]) {
      const [stored] = await collect.inboxOf(user);
      expect(stored?.id).toBe(results.find((one) => one.user === user)?.id);
    }
  });

  test("of one is a list too", async () => {
    expect(await send({ to: { users: ["lone"] }, data: 1 })).toMatchObject({
      status: 202,
      body: { results: [{ user: "lone", duplicate: false }] },
    });
  });

  test("names the full inboxes and what is stored", async () => {
    await sendBatch(Array.from({ length: 20 }, (_, i) => ({ to: { user: "list-full" }, data: i })));
    const answer = await send({ to: { users: ["list-ok", "list-full"] }, data: 1, idempotencyKey: "k" });
    expect(answer).toMatchObject({
      status: 409,
      body: {
        error: {
          code: "PETREL_INBOX_FULL",
          retryable: true,
          details: { full: ["list-full"], stored: [{ user: "list-ok" }] },
        },
      },
    });
    const [stored] = await collect.inboxOf("list-ok");
    expect(answer.body).toMatchObject({ error: { details: { stored: [{ id: stored?.id }] } } });
  });

  test("names the users whose key had other content", async () => {
    await send({ to: { user: "list-2" }, data: 1, idempotencyKey: "k" });
    expect(await send({ to: { users: ["list-1", "list-2"] }, data: 2, idempotencyKey: "k" })).toMatchObject({
      status: 422,
      body: { error: { details: { mismatched: ["list-2"], stored: [{ user: "list-1" }] } } },
    });
  });
});

describe("a full inbox", () => {
  test("refuses the new message, and stores nothing", async () => {
    await sendBatch(Array.from({ length: 20 }, (_, i) => ({ to: { user: "full" }, data: i })));
    expect(await send({ to: { user: "full" }, data: 20 })).toMatchObject({
      status: 409,
      body: { error: { code: "PETREL_INBOX_FULL", retryable: true } },
    });
    expect(await collect.inboxOf("full")).toHaveLength(20);
  });
});

describe("a batch", () => {
  test("keeps the order of a user's messages, over many", async () => {
    const messages = Array.from({ length: 18 }, (_, i) => [
      { to: { user: "batch.a" }, data: i },
      { to: { user: "batch.b" }, data: i },
    ]).flat();
    const answer = await sendBatch(messages);
    expect(answer.status).toBe(202);
    const { results } = answer.body as { results: { id: string }[] };
    for (const [user, offset] of [
      ["batch.a", 0],
      ["batch.b", 1],
    ] as const) {
      const inbox = await collect.inboxOf(user);
      expect(inbox.map(({ data }) => Number(data))).toEqual(Array.from({ length: 18 }, (_, i) => i));
      expect(inbox.map(({ id }) => id)).toEqual(
        results.filter((_, i) => i % 2 === offset).map(({ id }) => id),
      );
    }
  });

  test("a bad entry fails alone, as it would by itself", async () => {
    const answer = await sendBatch([
      { to: { user: "batch.c" }, data: 1 },
      { to: { user: "batch c" }, data: 1 },
      { to: { user: "batch.c" }, data: 1, colour: "red" },
      { to: { user: "batch.c" }, data: 1, deliverAt: "9999-01-01T00:00:00Z" },
      { to: { user: "batch.c" }, data: "x".repeat(70_000) },
      { to: {}, data: 1 },
      "nonsense",
      null,
      { to: { users: ["batch.c", "batch.d"] }, data: 2 },
    ]);
    expect(answer.status).toBe(202);
    expect(answer.body).toMatchObject({
      results: [
        { duplicate: false },
        { error: { status: 400, code: "PETREL_INVALID_REQUEST", details: { field: "body/to/user" } } },
        { error: { status: 400, code: "PETREL_INVALID_REQUEST", details: { field: "body/colour" } } },
        { error: { status: 400, code: "PETREL_INVALID_REQUEST", details: { field: "body/deliverAt" } } },
        { error: { status: 413, code: "PETREL_PAYLOAD_TOO_LARGE" } },
        { error: { status: 400, details: { field: "body/to" } } },
        { error: { status: 400, code: "PETREL_INVALID_REQUEST" } },
        { error: { status: 400, code: "PETREL_INVALID_REQUEST" } },
        { results: [{ user: "batch.c" }, { user: "batch.d" }] },
      ],
    });
    expect((await collect.inboxOf("batch.c")).map(({ data }) => data)).toEqual(["1", "2"]);
  });

  test("of only bad entries is answered too", async () => {
    expect(await sendBatch([1, 2])).toMatchObject({
      status: 202,
      body: { results: [{ error: { status: 400 } }, { error: { status: 400 } }] },
    });
  });

  test("may have 1000 recipients in all, not 1001", async () => {
    const users = Array.from({ length: 999 }, (_, i) => `many.${i}`);
    const good = [
      { to: { user: "many" }, data: 1 },
      { to: { users }, data: 1 },
    ];
    expect((await sendBatch(good)).status).toBe(202);
    const bad = [...good, { to: { user: "many-2" }, data: 1 }];
    expect(await sendBatch(bad)).toMatchObject({
      status: 400,
      body: { error: { code: "PETREL_INVALID_REQUEST" } },
    });
    expect(await collect.inboxOf("many-2")).toEqual([]);
  });
});

test("counts outcomes of messages", async () => {
  const { Registry } = await import("@petrel/shared/kernel/metrics/metrics");
  const registry = new Registry();
  collect.counts.register(registry);
  const read = async (outcome: string): Promise<number> =>
    Number(
      new RegExp(`petrel_collect_messages_total\\{outcome="${outcome}"\\} (\\d+)`).exec(
        await registry.metrics(),
      )?.[1],
    );
  const before = [await read("stored"), await read("duplicate")];
  const body = { to: { user: "counted" }, data: 1, idempotencyKey: "count" };
  await send(body);
  await send(body);
  expect([await read("stored"), await read("duplicate")]).toEqual(before.map((n) => n + 1));
});

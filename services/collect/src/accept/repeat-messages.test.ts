// Tests idempotency keys by collect's application on real Redis.
// Guarantees: whoever sends the same message again gets the same id, and nothing is stored twice.
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

describe("an idempotency key", () => {
  const message = { to: { user: "ida" }, data: { a: 1, b: [2] }, idempotencyKey: "order-1" };

  test("used twice: one message, the same id", async () => {
    const first = await send(message);
    expect(first).toMatchObject({ status: 202, body: { duplicate: false } });
    const { id } = first.body as { id: string };
    const again = { ...message, data: { b: [2], a: 1 }, ttlSeconds: 604_800, priority: "normal" };
    expect(await send(again)).toMatchObject({ status: 202, body: { id, duplicate: true } });
    expect(await collect.inboxOf("ida")).toHaveLength(1);
  });

  test.each([
    ["data", { data: { a: 2, b: [2] } }],
    ["ttlSeconds", { ttlSeconds: 60 }],
    ["priority", { priority: "low" }],
    ["fallback", { fallback: "always" }],
    ["notification", { notification: { title: "t", body: "b" } }],
  ])("with other %s: 422, and nothing is stored", async (_field, change) => {
    await send(message);
    expect(await send({ ...message, ...change })).toMatchObject({
      status: 422,
      body: { error: { code: "PETREL_IDEMPOTENCY_MISMATCH", retryable: false } },
    });
    expect(await collect.inboxOf("ida")).toHaveLength(1);
  });

  test("belongs to the business system and the user", async () => {
    const other = await collect.producer("bank", ["send"]);
    const body = { to: { user: "idb" }, data: 1, idempotencyKey: "same" };
    const answers = await Promise.all([
      send(body),
      send(body, other),
      send({ ...body, to: { user: "idc" } }),
    ]);
    expect(answers.map((answer) => answer.status)).toEqual([202, 202, 202]);
    expect(answers.map((answer) => (answer.body as { duplicate: boolean }).duplicate)).toEqual([
      false,
      false,
      false,
    ]);
    expect(new Set(answers.map((answer) => (answer.body as { id: string }).id)).size).toBe(3);
  });

  test("is shared by the keys of one owner", async () => {
    const second = await collect.producer("shop", ["send"]);
    const body = { to: { user: "idd" }, data: 1, idempotencyKey: "same" };
    await send(body);
    expect(await send(body, second)).toMatchObject({ body: { duplicate: true } });
  });

  test("used by many at once: one id, stored once, exactly one answer says so", async () => {
    const body = { to: { user: "ide" }, data: 1, idempotencyKey: "race" };
    const answers = await Promise.all(Array.from({ length: 20 }, () => send(body)));
    const bodies = answers.map((answer) => answer.body as { id: string; duplicate: boolean });
    expect(new Set(bodies.map(({ id }) => id)).size).toBe(1);
    expect(bodies.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
    expect(await collect.inboxOf("ide")).toHaveLength(1);
  });

  test("twice in one batch: the second is the duplicate; with other content it fails alone", async () => {
    const entry = { to: { user: "idf" }, data: 1, idempotencyKey: "batch" };
    const answer = await sendBatch([entry, entry, { ...entry, data: 2 }]);
    expect(answer.body).toMatchObject({
      results: [{ duplicate: false }, { duplicate: true }, { error: { status: 422 } }],
    });
    expect(await collect.inboxOf("idf")).toHaveLength(1);
  });

  test("a full inbox does not hide a duplicate", async () => {
    const keyed = { to: { user: "idg" }, data: "k", idempotencyKey: "first" };
    await send(keyed);
    await sendBatch(Array.from({ length: 19 }, (_, i) => ({ to: { user: "idg" }, data: i })));
    expect(await send(keyed)).toMatchObject({ status: 202, body: { duplicate: true } });
  });
});

// Tests repeated, batched and counted messages to topics by collect's application on real Redis.
// Guarantees: a repeated message is stored once; an entry of a batch fails alone.
import { Registry } from "@petrel/shared/kernel/metrics/metrics";
import { describe, expect, test } from "vitest";
import { useCollectWithTopics } from "../testing/collect-with-topics.js";

const { collect, logOf, send } = useCollectWithTopics();

describe("an idempotency key", () => {
  test("stores once per owner and kind of recipient", async () => {
    const shop = await collect().producer("shop-2", ["send"]);
    const sameShop = await collect().producer("shop-2", ["send", "read"]);
    const other = await collect().producer("other", ["send"]);
    const body = { to: { topic: "alice" }, data: { a: 1, b: 2 }, idempotencyKey: "k" };
    const first = await send(body, shop);
    expect(first).toMatchObject({ status: 202, body: { duplicate: false } });
    const { id } = first.body as { id: string };
    expect(await send({ ...body, data: { b: 2, a: 1 } }, sameShop)).toMatchObject({
      status: 202,
      body: { id, duplicate: true },
    });
    for (const [to, as] of [
      [{ user: "alice" }, shop],
      [{ topic: "alice" }, other],
      [{ topic: "bob" }, shop],
    ] as const) {
      const answer = await send({ ...body, to }, as);
      expect(answer).toMatchObject({ status: 202, body: { duplicate: false } });
      expect((answer.body as { id: string }).id).not.toBe(id);
    }
    expect((await logOf("alice")).items).toHaveLength(2);
    expect(await collect().inboxOf("alice")).toHaveLength(1);
  });

  test("of a broadcast has a scope of its own", async () => {
    const body = { data: "all", idempotencyKey: "broadcast" };
    const first = await send({ ...body, to: { all: true } });
    expect(first).toMatchObject({ body: { duplicate: false } });
    expect(await send({ ...body, to: { all: true } })).toMatchObject({
      body: { id: (first.body as { id: string }).id, duplicate: true },
    });
    expect(await send({ ...body, to: { topic: "all" } })).toMatchObject({ body: { duplicate: false } });
    expect(await send({ ...body, to: { user: "all" } })).toMatchObject({ body: { duplicate: false } });
  });

  test.each([
    ["data", { data: 2 }],
    ["ttlSeconds", { ttlSeconds: 61 }],
    ["priority", { priority: "low" }],
  ])("with other %s: 422, and nothing is published", async (name, other) => {
    const body = { to: { topic: `mismatch.${name}` }, data: 1, idempotencyKey: "k" };
    await send(body);
    expect(await send({ ...body, ...other })).toMatchObject({
      status: 422,
      body: { error: { code: "PETREL_IDEMPOTENCY_MISMATCH", retryable: false } },
    });
    expect((await logOf(`mismatch.${name}`)).items).toHaveLength(1);
  });

  test("stores once for many requests at once", async () => {
    const body = { to: { topic: "crowd" }, data: 1, idempotencyKey: "k" };
    const answers = await Promise.all(Array.from({ length: 20 }, () => send(body)));
    expect(new Set(answers.map(({ body }) => (body as { id: string }).id)).size).toBe(1);
    expect(answers.filter(({ body }) => !(body as { duplicate: boolean }).duplicate)).toHaveLength(1);
    expect((await logOf("crowd")).items).toHaveLength(1);
  });
});

describe("a batch", () => {
  const sendBatch = (messages: unknown[], as?: string) =>
    collect().ask("POST", "/v1/messages/batch", { body: { messages }, ...(as === undefined ? {} : { as }) });

  test("mixes users, lists, topics and all; answers in order, and each keeps its own order", async () => {
    const messages = Array.from({ length: 30 }, (_, i) => [
      { to: { topic: "mixed" }, data: i },
      { to: { user: "mixed" }, data: i },
      { to: { users: ["mixed.a", "mixed.b"] }, data: i },
    ]).flat();
    const answer = await sendBatch([...messages, { to: { all: true }, data: "batch" }]);
    expect(answer.status).toBe(202);
    const { results } = answer.body as {
      results: { id?: string; duplicate?: boolean; results?: { user: string; id: string }[] }[];
    };
    expect(results).toHaveLength(91);
    const { items } = await logOf("mixed", "?limit=100");
    expect(items.map(({ data }) => data)).toEqual(Array.from({ length: 30 }, (_, i) => i));
    expect(items.map(({ id }) => id)).toEqual(
      results.filter((_, i) => i % 3 === 0 && i < 90).map(({ id }) => id),
    );
    const inbox = await collect().inboxOf("mixed");
    expect(inbox.map(({ id }) => id)).toEqual(results.filter((_, i) => i % 3 === 1).map(({ id }) => id));
    expect(results[2]?.results?.map(({ user }) => user)).toEqual(["mixed.a", "mixed.b"]);
    expect((await collect().inboxOf("mixed.b")).map(({ id }) => id)).toEqual(
      results.filter((_, i) => i % 3 === 2).map(({ results: list }) => list?.[1]?.id),
    );
    expect((await logOf("$all")).items.at(-1)).toMatchObject({ id: results[90]?.id, data: "batch" });
  });

  test("a bad entry fails alone, and so does `all` without its scope", async () => {
    const as = await collect().producer("batcher", ["send"]);
    const answer = await sendBatch(
      [
        { to: { topic: "entries" }, data: 1 },
        { to: { all: true }, data: 2 },
        { to: { topic: "bad topic" }, data: 3 },
        { to: { topic: "entries" }, data: 4, fallback: "offline" },
        { to: { topic: "entries" }, data: "x".repeat(65 * 1024) },
        { to: { topic: "entries" }, data: 6 },
      ],
      as,
    );
    expect(answer).toMatchObject({
      status: 202,
      body: {
        results: [
          { duplicate: false },
          { error: { status: 403, code: "PETREL_FORBIDDEN", retryable: false, details: { scope: "admin" } } },
          { error: { status: 400, details: { field: "body/to/topic" } } },
          { error: { status: 400, details: { field: "body/fallback" } } },
          { error: { status: 413, details: { field: "body/data" } } },
          { duplicate: false },
        ],
      },
    });
    expect((await logOf("entries")).items.map(({ data }) => data)).toEqual([1, 6]);
  });

  test("a topic counts as one of its thousand recipients", async () => {
    const users = Array.from({ length: 999 }, (_, i) => `thousand.${i}`);
    const good = [
      { to: { users }, data: 1 },
      { to: { topic: "thousand" }, data: 1 },
    ];
    expect((await sendBatch(good)).status).toBe(202);
    expect((await sendBatch([...good, { to: { topic: "thousand" }, data: 1 }])).status).toBe(400);
    expect((await logOf("thousand")).items).toHaveLength(1);
  });
});

test("a topic counts as one message of the key's limit, however many listen", async () => {
  const as = await collect().producer("limited", ["send", "admin"], 1);
  const statuses: number[] = [];
  for (let i = 0; i < 11; i++) {
    const to = i % 2 === 0 ? { topic: "limited" } : { all: true };
    statuses.push((await send({ to, data: i }, as)).status);
  }
  expect(statuses).toEqual([...Array.from({ length: 10 }, () => 202), 429]);
});

test("counts outcomes of messages, by kind", async () => {
  const registry = new Registry();
  collect().counts.register(registry);
  const count = async (name: string): Promise<number> =>
    Number(new RegExp(`^${name} (\\d+)`, "m").exec(await registry.metrics())?.[1]);
  const names = [
    'petrel_collect_messages_total\\{outcome="stored"\\}',
    'petrel_collect_published_messages_total\\{to="topic",outcome="stored"\\}',
    'petrel_collect_published_messages_total\\{to="topic",outcome="duplicate"\\}',
    'petrel_collect_published_messages_total\\{to="topic",outcome="mismatch"\\}',
    'petrel_collect_published_messages_total\\{to="all",outcome="stored"\\}',
  ];
  const all = (): Promise<number[]> => Promise.all(names.map(count));
  const before = await all();
  const body = { to: { topic: "counted" }, data: 1, idempotencyKey: "k" };
  await send(body);
  await send(body);
  await send({ ...body, data: 2 });
  await send({ to: { all: true }, data: 1 });
  await send({ to: { user: "counted" }, data: 1 });
  const more = [3, 1, 1, 1, 1];
  expect(await all()).toEqual(before.map((n, i) => n + (more[i] ?? 0)));
});

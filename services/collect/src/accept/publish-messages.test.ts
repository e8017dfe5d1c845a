// Tests sending to topics and to all by collect's application on real Redis.
// Guarantees: a message answered with 202 is in the topic's log, in order, once; its state says where.
import { partitionOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import { describe, expect, test } from "vitest";
import { openCollect } from "../testing/open-collect.js";
import { type TopicPage, useCollectWithTopics } from "../testing/collect-with-topics.js";

const { collect, logOf, read, send } = useCollectWithTopics();

const sendTo = async (topic: string, data: unknown, rest: Record<string, unknown> = {}): Promise<string> => {
  const answer = await send({ to: { topic }, data, ...rest });
  expect(answer).toMatchObject({ status: 202, body: { duplicate: false } });
  return (answer.body as { id: string }).id;
};
const stateOf = (id: string) => read(`/v1/messages/${id}`) as Promise<Record<string, unknown>>;

describe("one message to a topic", () => {
  test("is answered like one to a user, is in the log, and is published", async () => {
    const answer = await send({
      to: { topic: "news" },
      data: { text: "tab\t ü \ud83d\ude00" },
      priority: "high",
    });
    expect(answer).toMatchObject({ status: 202, body: { duplicate: false } });
    expect(Object.keys(answer.body as object)).toEqual(["id", "duplicate"]);
    const { id } = answer.body as { id: string };
    const page = await logOf("news");
    expect(page).toEqual({
      items: [{ id, offset: 1, at: expect.any(String) as string, data: { text: "tab\t ü \ud83d\ude00" } }],
      epoch: expect.any(String) as string,
      oldest: 1,
      nextAfter: null,
    });
    const at = page.items[0]?.at ?? "";
    expect(await stateOf(id)).toEqual({
      id,
      to: { topic: "news" },
      state: "published",
      topic: "news",
      epoch: page.epoch,
      offset: 1,
      acceptedAt: at,
      // A day: what the rule keeps, though the message's own time is a week.
      expiresAt: new Date(Date.parse(at) + 86_400_000).toISOString(),
      timeline: [
        { at, event: "accepted" },
        { at, event: "published" },
      ],
    });
    expect(await read("/v1/topics/news")).toEqual({
      topic: "news",
      epoch: page.epoch,
      offset: 1,
      oldest: 1,
      messages: 1,
      users: null,
      connections: null,
    });
  });

  test("cannot be recalled", async () => {
    const id = await sendTo("news.deleted", 1);
    expect(await collect().ask("DELETE", `/v1/messages/${id}`)).toMatchObject({
      status: 409,
      body: { error: { code: "PETREL_CONFLICT", details: { state: "published" } } },
    });
  });

  test("its state is kept for 25 hours, whatever its TTL", async () => {
    const id = await sendTo("news.record", 1, { ttlSeconds: 1 });
    const { redis, partitions } = collect().store;
    const keys = partitions[partitionOfTopic("news.record", partitions.length)];
    const leftMs = await redis.pttl(keys?.record(id) ?? "");
    expect(leftMs).toBeGreaterThan(24.9 * 3_600_000);
    expect(leftMs).toBeLessThanOrEqual(25 * 3_600_000);
  });

  test.each(["null", "false", '""', "[]", '"\\ud800"', '{"__proto__":{"a":1}}'])(
    "data may be %s",
    async (json) => {
      const topic = `json.${Buffer.from(json).toString("hex")}`;
      const answer = await collect().ask("POST", "/v1/messages", {
        raw: `{"to":{"topic":"${topic}"},"data":${json}}`,
      });
      expect(answer.status).toBe(202);
      expect(JSON.stringify((await logOf(topic)).items[0]?.data)).toBe(JSON.stringify(JSON.parse(json)));
    },
  );

  test("data may have exactly 64 KiB as UTF-8", async () => {
    await sendTo("large", "é".repeat((65_536 - 2) / 2));
    expect((await logOf("large")).items).toHaveLength(1);
  });
});

describe("a message to all", () => {
  test("goes to the topic $all, whose state says all", async () => {
    const answer = await send({ to: { all: true }, data: "hear" });
    expect(answer).toMatchObject({ status: 202, body: { duplicate: false } });
    const { id } = answer.body as { id: string };
    const { items, epoch } = await logOf("$all");
    expect(items).toMatchObject([{ id, offset: 1, data: "hear" }]);
    expect(await stateOf(id)).toMatchObject({
      to: { all: true },
      state: "published",
      topic: "$all",
      epoch,
      offset: 1,
    });
    // Unencoded too.
    expect(await read("/v1/topics/$all")).toMatchObject({ topic: "$all", offset: 1, oldest: 1 });
  });
});

describe("retention", () => {
  test("uses the lesser of the message's TTL and the rule's", async () => {
    const short = await sendTo("short.1", 1, { ttlSeconds: 30 });
    const long = await sendTo("short.1", 1, { ttlSeconds: 3_600 });
    const lifeOf = async (id: string): Promise<number> => {
      const { acceptedAt, expiresAt } = (await stateOf(id)) as Record<string, string>;
      return Date.parse(expiresAt ?? "") - Date.parse(acceptedAt ?? "");
    };
    expect([await lifeOf(short), await lifeOf(long)]).toEqual([30_000, 60_000]);
  });

  test("leaves out an expired message and its offset", async () => {
    for (let i = 1; i <= 3; i++) await sendTo("expiring", i, { ttlSeconds: i === 2 ? 1 : 600 });
    const { redis } = collect().store;
    const from = Number((await redis.time())[0]);
    await expect
      .poll(async () => Number((await redis.time())[0]), { timeout: 20_000 })
      .toBeGreaterThan(from + 1);
    const { items, nextAfter } = await logOf("expiring");
    expect(items.map(({ offset, data }) => [offset, data])).toEqual([
      [1, 1],
      [3, 3],
    ]);
    expect(nextAfter).toBeNull();
  });

  test("the first matching rule bounds the log; the state of trimmed messages stays", async () => {
    const ids: string[] = [];
    for (let i = 1; i <= 5; i++) ids.push(await sendTo("short.2", i));
    expect(await logOf("short.2")).toMatchObject({ items: [{ offset: 4 }, { offset: 5 }], oldest: 4 });
    expect(await read("/v1/topics/short.2")).toMatchObject({ offset: 5, oldest: 4, messages: 2 });
    expect(await stateOf(ids[0] ?? "")).toMatchObject({ state: "published", offset: 1 });
  });

  test("history 0 keeps nothing, and the numbers go on", async () => {
    await sendTo("none", 1);
    const id = await sendTo("none", 2);
    expect(await logOf("none")).toMatchObject({ items: [], oldest: 3, nextAfter: null });
    expect(await read("/v1/topics/none")).toMatchObject({ offset: 2, oldest: 3, messages: 0 });
    expect(await stateOf(id)).toMatchObject({ state: "published", offset: 2 });
  });
});

test.each(["unused", "$all"])(
  "the topic %s that was never used is not an error, and reading creates nothing",
  async (topic) => {
    const fresh = await openCollect();
    try {
      const ask = async (path: string): Promise<unknown> =>
        (await fresh.ask("GET", `/v1/topics/${encodeURIComponent(topic)}${path}`)).body;
      const unused = {
        topic,
        epoch: null,
        offset: 0,
        oldest: 1,
        messages: 0,
        users: null,
        connections: null,
      };
      expect(await ask("")).toEqual(unused);
      expect(await ask("/messages")).toEqual({ items: [], epoch: null, oldest: 1, nextAfter: null });
      expect(await ask("")).toEqual(unused);
    } finally {
      await fresh.close();
    }
  },
);

describe("pages of a log", () => {
  test("begin above `after`, hold at most `limit`, and lead to one another", async () => {
    for (let i = 1; i <= 7; i++) await sendTo("paged", i);
    const seen: number[] = [];
    const pages: number[] = [];
    let after: number | null = 0;
    while (after !== null) {
      const page: TopicPage = await logOf("paged", `?after=${after}&limit=3`);
      seen.push(...page.items.map(({ offset }) => offset));
      pages.push(page.items.length);
      after = page.nextAfter;
    }
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(pages).toEqual([3, 3, 1]);
    expect(await logOf("paged", "?after=7")).toMatchObject({ items: [], nextAfter: null });
    expect(await logOf("paged", "?after=999999999999999")).toMatchObject({ items: [], nextAfter: null });
    expect((await logOf("paged", "?after=6&limit=1")).nextAfter).toBeNull();
  });

  test("name the publisher if it was a client", async () => {
    const { TopicPublisher } = await import("@petrel/shared/redis/topics/topic-publisher");
    const { scripts, partitions } = collect().store;
    await sendTo("chat", "from the server");
    await new TopicPublisher({ scripts, partitions, maxInFlight: 1 }).publish({
      topic: "chat",
      partition: partitionOfTopic("chat", partitions.length),
      id: "p0_bbbbbbbbbbbbbbbbbbbbbb",
      ttlMs: 60_000,
      history: { size: 100, ageMs: 60_000, bytes: 1e6 },
      from: "alice",
      data: '"from a client"',
    });
    const { items } = await logOf("chat");
    expect(items.map(({ from, data }) => [from, data])).toEqual([
      [undefined, "from the server"],
      ["alice", "from a client"],
    ]);
    expect(items[0]).not.toHaveProperty("from");
  });
});

// Tests the scripts of topics on a real Redis, where the property test of the log does not reach.
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { decodeMessageRecord } from "../../protocol/messages/stored-message.js";
import { decodeNodeMessage } from "../../protocol/messages/node-messages.js";
import { decodeTopicText } from "../../protocol/topics/topic-messages.js";
import { connectRoute } from "../routes/connect-routes.js";
import { dropTopic, keepTopic, listKeptTopics, MAX_KEPT_TOPICS } from "./kept-topics.js";
import { lookAtTopics } from "./look-at-topics.js";
import { isRecoverable, readTopic } from "./read-topic.js";
import { TopicPublisher, type TopicMessageToPublish } from "./topic-publisher.js";

let store: OpenStore;
beforeAll(async () => {
  store = await openStore();
});
beforeEach(() => store.clear());
afterAll(() => store.close());

const open = () =>
  new TopicPublisher({ scripts: store.scripts, partitions: store.partitions, maxInFlight: 1 });

function news(parts: Partial<TopicMessageToPublish> = {}): TopicMessageToPublish {
  return {
    topic: "news",
    partition: 0,
    id: `p0_${randomBytes(16).toString("base64url")}`,
    ttlMs: 60_000,
    history: { size: 100, ageMs: 3_600_000, bytes: 1_000_000 },
    from: "",
    data: '{"n":1}',
    ...parts,
  };
}

describe("publishing", () => {
  test("reaches listeners in order, one message for each topic of a turn", async () => {
    const { keys } = store;
    const heard = await store.listen(`${keys.topicChannel}news`, `${keys.topicChannel}sport`);
    const publisher = open();
    const results = await Promise.all([
      publisher.publish(news({ data: "1" })),
      publisher.publish(news({ topic: "sport", data: "2", from: "alice" })),
      publisher.publish(
        news({ data: "3", trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }),
      ),
    ]);
    expect(results.map((result) => result.outcome === "published" && result.offset)).toEqual([1, 1, 2]);
    await waitFor(() => heard.length === 2, { what: "both texts" });
    const [first, second] = heard.map(decodeTopicText);
    expect(first).toMatchObject({
      kind: "messages",
      messages: [
        { offset: 1, data: "1", from: "" },
        { offset: 2, data: "3" },
      ],
    });
    expect(first?.kind === "messages" && first.messages[1]?.trace).toMatch(/^00-0af7/);
    expect(second).toMatchObject({ messages: [{ offset: 1, data: "2", from: "alice" }] });
  });

  test("a repeat changes nothing and returns the record", async () => {
    const { keys, redis } = store;
    const publisher = open();
    const message = news({ record: { fingerprint: "f", attempt: "a" } });
    const first = await publisher.publish(message);
    const again = await publisher.publish({ ...message, record: { fingerprint: "f", attempt: "b" } });
    if (first.outcome !== "published" || again.outcome !== "exists") throw new Error(again.outcome);
    expect(again.record).toMatchObject({ seq: 1, userId: "#news", attempt: "a", epoch: first.epoch });
    expect(await redis.xlen(keys.topicLog("news"))).toBe(1);
    const record = decodeMessageRecord((await redis.get(keys.record(message.id))) ?? "");
    expect(record.expiresAtMs - record.atMs).toBe(60_000);
  });

  test("a message without a record leaves none", async () => {
    const message = news();
    await open().publish(message);
    expect(await store.redis.exists(store.keys.record(message.id))).toBe(0);
  });

  test("without history nothing is kept, and numbers continue", async () => {
    const history = { size: 0, ageMs: 3_600_000, bytes: 1_000 };
    await open().publish(news({ history }));
    await open().publish(news({ history }));
    const page = await readTopic(store.scripts, store.keys, "news", { after: 0, takesPart: true });
    expect(page).toMatchObject({ offset: 2, oldest: 3, messages: [], length: 0 });
  });

  test("a reduced history is reached in small steps", async () => {
    const publisher = open();
    for (let i = 0; i < 40; i++) await publisher.publish(news());
    const length = async () => store.redis.xlen(store.keys.topicLog("news"));
    await publisher.publish(news({ history: { size: 3, ageMs: 3_600_000, bytes: 1_000_000 } }));
    expect(await length()).toBe(41 - 8);
    for (let i = 0; i < 5; i++)
      await publisher.publish(news({ history: { size: 3, ageMs: 3_600_000, bytes: 1_000_000 } }));
    expect(await length()).toBe(3);
  });
});

describe("reading", () => {
  test("creates an unused topic only for those who take part", async () => {
    const { scripts, keys, redis } = store;
    expect(await readTopic(scripts, keys, "new", { takesPart: false })).toBeUndefined();
    expect(await redis.keys("*topic*")).toEqual([]);
    const page = await readTopic(scripts, keys, "new", { after: 0, takesPart: true });
    expect(page).toMatchObject({ offset: 0, oldest: 1, messages: [], isComplete: true });
    expect(await redis.pttl(keys.topic("new"))).toBeGreaterThan(24 * 3_600_000);
    const again = await readTopic(scripts, keys, "new", { takesPart: true });
    expect(again?.epoch).toBe(page?.epoch);
  });

  test("a page ends where its bounds say, and says that more follows", async () => {
    const { scripts, keys } = store;
    const publisher = open();
    for (let i = 0; i < 5; i++) await publisher.publish(news());
    const some = await readTopic(scripts, keys, "news", { after: 1, maxEntries: 2, takesPart: true });
    expect(some?.messages.map(({ offset }) => offset)).toEqual([2, 3]);
    expect(some?.isComplete).toBe(false);
    const bytes = await readTopic(scripts, keys, "news", { after: 0, maxBytes: 1, takesPart: true });
    expect(bytes?.messages).toHaveLength(1);
    const rest = await readTopic(scripts, keys, "news", { after: 3, maxEntries: 2, takesPart: true });
    expect(rest?.messages.map(({ offset }) => offset)).toEqual([4, 5]);
    expect(rest?.isComplete).toBe(true);
  });

  test("an offset beyond the newest is evidence of loss", () => {
    const page = { epoch: "a.1", offset: 5, oldest: 3, previous: { epoch: "a.0", offset: 4 } };
    expect(isRecoverable(page, { epoch: "a.1", offset: 6 })).toBe(false);
    expect(isRecoverable(page, { epoch: "a.1", offset: 5 })).toBe(true);
    expect(isRecoverable(page, { epoch: "a.1", offset: 2 })).toBe(true);
    expect(isRecoverable(page, { epoch: "a.1", offset: 1 })).toBe(false);
    expect(isRecoverable(page, { epoch: "a.0", offset: 4 })).toBe(true);
    expect(isRecoverable(page, { epoch: "a.0", offset: 5 })).toBe(false);
  });
});

describe("checking", () => {
  test("returns each topic's newest number, and a new epoch if the master has changed", async () => {
    const { scripts, keys, redis } = store;
    await open().publish(news());
    const [before, unknown] = await lookAtTopics(scripts, keys, ["news", "unknown"]);
    expect([before?.offset, unknown]).toEqual([1, undefined]);
    await redis.hincrby(keys.generation, "n", 1);
    const [after] = await lookAtTopics(scripts, keys, ["news"]);
    expect(after?.offset).toBe(1);
    expect(after?.epoch).not.toBe(before?.epoch);
    const page = await readTopic(scripts, keys, "news", { takesPart: true });
    expect([page?.epoch, page?.previous]).toEqual([after?.epoch, before]);
  });

  test("keeps a quiet topic's epoch alive, and is no write otherwise", async () => {
    const { scripts, keys, redis } = store;
    await open().publish(news());
    const snapshot = await store.snapshot();
    await lookAtTopics(scripts, keys, ["news"]);
    expect(await store.snapshot()).toEqual(snapshot);
    await redis.pexpire(keys.topic("news"), 60_000);
    await lookAtTopics(scripts, keys, ["news"]);
    expect(await redis.pttl(keys.topic("news"))).toBeGreaterThan(24 * 3_600_000);
  });
});

describe("kept topics", () => {
  const limits = {
    leaseMs: 30_000,
    maxConnectionsPerUser: 5,
    whenFull: "evict",
    ackTimeoutMs: 10_000,
  } as const;

  test("each change reaches the nodes that hold the user", async () => {
    const { scripts, keys } = store;
    await connectRoute(
      scripts,
      keys,
      { userId: "u1", node: "n1", connection: "c1", platform: "web" },
      limits,
    );
    const heard = await store.listen(`${keys.channel}n1`);
    expect(await keepTopic(scripts, keys, "u1", "news")).toBe("kept");
    expect(await keepTopic(scripts, keys, "u1", "news")).toBe("known");
    expect((await listKeptTopics(scripts, keys, "u1")).map(({ topic }) => topic)).toEqual(["news"]);
    await dropTopic(scripts, keys, "u1", "news");
    expect(await listKeptTopics(scripts, keys, "u1")).toEqual([]);
    await waitFor(() => heard.length === 3, { what: "three texts" });
    expect(heard.map(decodeNodeMessage)).toEqual(
      [true, true, false].map((isKept) => ({
        kind: "topics",
        changes: [{ userId: "u1", topic: "news", isKept }],
      })),
    );
  });

  test("refuses one too many, but not an existing one", async () => {
    const { scripts, keys } = store;
    for (let i = 0; i < MAX_KEPT_TOPICS; i++) await keepTopic(scripts, keys, "u1", `t${i}`);
    expect(await keepTopic(scripts, keys, "u1", "more")).toBe("full");
    expect(await keepTopic(scripts, keys, "u1", "t0")).toBe("known");
    expect(await listKeptTopics(scripts, keys, "u1")).toHaveLength(MAX_KEPT_TOPICS);
  });
});

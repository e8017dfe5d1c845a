// Tests topics whose history is the message archive, on real Redis and a real server that speaks MongoDB's protocol.
// Guarantees: a message answered with 202 is in the list, beyond what the log keeps, page by page; topics without the
// rule have only their log.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openArchive } from "@petrel/shared/archive/open-archive";
import type { MessageArchive } from "@petrel/shared/archive/message-archive";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { partitionOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { hasFerretDb, startFerretDb, type TestFerretDb } from "@petrel/shared/testing/archive/start-ferretdb";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readCollectSettings } from "../config.js";
import { type OpenCollect, openCollect } from "../testing/open-collect.js";

const rules = [
  { topics: "kept.*", historySize: 2, archive: true },
  { topics: "short.*", historySize: 2 },
  { topics: "$all", archive: true },
];
const DAY_MS = 86_400_000;

interface Page {
  readonly items: readonly { readonly id: string; readonly offset: number; readonly data: unknown }[];
  readonly epoch: string | null;
  readonly oldest: number;
  readonly nextAfter: number | null;
}

describe.skipIf(!hasFerretDb())("a topic whose history is the archive", () => {
  let directory: string;
  let server: TestFerretDb;
  let archive: MessageArchive;
  let collect: OpenCollect;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "petrel-topics-"));
    const topicsFile = join(directory, "topics.json");
    writeFileSync(topicsFile, JSON.stringify({ rules }));
    server = await startFerretDb();
    const settings = { messageArchiveUrl: server.url(), archiveDays: 90, archiveTimeoutMs: 10_000 };
    const opened = await openArchive(settings, createLogger({ service: "test", level: "silent" }));
    if (opened === undefined) throw new Error("no archive");
    archive = opened;
    collect = await openCollect({
      environment: {
        MESSAGE_ARCHIVE_URL: server.url(),
        ARCHIVE_TIMEOUT_MS: "10000",
        TOPICS_FILE: topicsFile,
      },
    });
  });
  afterAll(async () => {
    await collect?.close();
    await archive?.close();
    await server?.stop();
    rmSync(directory, { recursive: true });
  });

  const publish = async (to: unknown, data: unknown, more: object = {}): Promise<string> => {
    const { status, body } = await collect.ask("POST", "/v1/messages", { body: { to, data, ...more } });
    expect(status).toBe(202);
    return (body as { id: string }).id;
  };
  const list = async (topic: string, query = ""): Promise<Page> =>
    (await collect.ask("GET", `/v1/topics/${encodeURIComponent(topic)}/messages?${query}`)).body as Page;
  const offsets = ({ items }: Page): number[] => items.map(({ offset }) => offset);
  const keysOf = (topic: string): PartitionKeys => {
    const keys = collect.store.partitions[partitionOfTopic(topic, collect.store.partitions.length)];
    if (keys === undefined) throw new Error("no partition");
    return keys;
  };

  test("is listed beyond its log, page by page, as soon as it was answered", async () => {
    for (let n = 1; n <= 7; n++) await publish({ topic: "kept.a" }, { n });
    const all = await list("kept.a");
    expect(all.items.map(({ data }) => data)).toEqual([1, 2, 3, 4, 5, 6, 7].map((n) => ({ n })));
    expect(offsets(all)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    // Subscribers can recover only from the log.
    expect(all).toMatchObject({ oldest: 6, nextAfter: null });
    expect(offsets(await list("kept.a", "limit=3"))).toEqual([1, 2, 3]);
    expect(await list("kept.a", "after=3&limit=3")).toMatchObject({ nextAfter: 6 });
    expect(offsets(await list("kept.a", "after=3&limit=3"))).toEqual([4, 5, 6]);
    expect(offsets(await list("kept.a", "after=5"))).toEqual([6, 7]);
    expect(offsets(await list("kept.a", "after=7"))).toEqual([]);
    // The message has expired in the log, but not in the archive.
    await collect.store.redis.del(keysOf("kept.a").topicLog("kept.a"));
    expect(offsets(await list("kept.a", "after=2&limit=5"))).toEqual([3, 4, 5, 6, 7]);
    expect(await list("kept.a", "after=2&limit=5")).toMatchObject({ nextAfter: 7 });
    expect(await list("kept.a", "after=7")).toMatchObject({ items: [], nextAfter: null });
  });

  test("gives each message's position without waiting for an owner's check", async () => {
    const id = await publish({ topic: "kept.b" }, 1);
    const { epoch } = await list("kept.b");
    expect(await archive.find(id)).toMatchObject({
      recipient: "#kept.b",
      state: "published",
      seq: 1,
      epoch,
      lookAtMs: undefined,
    });
  });

  test("a repeated request finds the position that the first one did not record", async () => {
    const key = { idempotencyKey: "again" };
    const id = await publish({ topic: "kept.c" }, 1, key);
    await archive.update([{ id, state: "pending" }]);
    expect(await publish({ topic: "kept.c" }, 1, key)).toBe(id);
    expect(await archive.find(id)).toMatchObject({ state: "published", seq: 1 });
  });

  test("a message past its own TTL stays in the history, in the log and beyond", async () => {
    for (let n = 1; n <= 3; n++) await publish({ topic: "kept.d" }, n, { ttlSeconds: 1 });
    await expect
      .poll(async () => (await collect.store.nowMs()) - (await lastPublishedMs("kept.d")))
      .toBeGreaterThan(1_000);
    expect(offsets(await list("kept.d"))).toEqual([1, 2, 3]);
  });

  async function lastPublishedMs(topic: string): Promise<number> {
    const [entry] = await collect.store.redis.xrevrange(keysOf(topic).topicLog(topic), "+", "-", "COUNT", 1);
    return Number(entry?.[1][1]?.split("\t")[1]);
  }

  test("its numbers outlive its last message as long as the archive keeps that", async () => {
    await publish({ topic: "kept.e" }, 1);
    await publish({ topic: "short.e" }, 1);
    const leftMs = (topic: string): Promise<number> => collect.store.redis.pttl(keysOf(topic).topic(topic));
    expect(await leftMs("kept.e")).toBeGreaterThan(90 * DAY_MS);
    expect(await leftMs("short.e")).toBeLessThan(4 * DAY_MS);
  });

  test("without the rule there is only the log; `$all` has the archive if a rule names it", async () => {
    for (let n = 1; n <= 4; n++) await publish({ topic: "short.a" }, n);
    expect(offsets(await list("short.a"))).toEqual([3, 4]);
    await publish({ all: true }, "all");
    await collect.store.redis.del(keysOf("$all").topicLog("$all"));
    expect((await list("$all")).items.map(({ data }) => data)).toEqual(["all"]);
  });

  test("while the archive is away the log is read if it is enough, and the rest gets 503", async () => {
    for (let n = 1; n <= 3; n++) await publish({ topic: "kept.f" }, n);
    server.signal("SIGKILL");
    expect(offsets(await list("kept.f", "after=1"))).toEqual([2, 3]);
    const { status } = await collect.ask("GET", "/v1/topics/kept.f/messages");
    expect(status).toBe(503);
    const refused = await collect.ask("POST", "/v1/messages", { body: { to: { topic: "kept.f" }, data: 4 } });
    expect(refused.status).toBe(503);
  });

  test("collect does not start with such a rule and no archive", () => {
    const topicsFile = join(directory, "topics.json");
    expect(() => readCollectSettings({ TOPICS_FILE: topicsFile })).toThrow(
      'TOPICS_FILE cannot be used: line 1: "archive" needs MESSAGE_ARCHIVE_URL',
    );
  });
});

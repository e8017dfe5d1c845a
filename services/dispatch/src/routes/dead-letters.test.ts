// Tests the dead letters over dispatch's API, on a real Redis.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import type { DeadLetterCause } from "@petrel/shared/protocol/fallback/dead-letter-causes";
import type { MessageToAccept } from "@petrel/shared/redis/accept/accept-batch";
import { ackUsers } from "@petrel/shared/redis/inbox/ack-users";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { readFallback } from "@petrel/shared/redis/fallback/fallback-queue";
import { partitionKeys, type PartitionKeys } from "@petrel/shared/redis/keys";
import { readAttempts, readMessage } from "@petrel/shared/redis/inbox/read-message";
import { settleFallback } from "@petrel/shared/redis/fallback/settle-fallback";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Caller, headersOf, openApp } from "../testing/open-app.js";
import { enterFallback, type EnteredMessage } from "../testing/enter-fallback.js";

interface Letter {
  readonly id: string;
  readonly messageId: string;
  readonly cause: string;
  readonly at: string;
}
interface Page {
  readonly items: readonly Letter[];
  readonly nextCursor: string | null;
}

let store: OpenStore;
let keys: PartitionKeys;
let app: HttpApp;
let pokes: number;
beforeAll(async () => {
  store = await openStore();
  ({ keys } = store);
  app = await openApp(store, {
    readAttempts: ({ partition, message }) => readAttempts(store.redis, partitionKeys(partition), message.id),
    onReplayed: () => void pokes++,
  });
});
beforeEach(async () => {
  pokes = 0;
  await store.clear();
});
afterAll(async () => {
  await app.close();
  await store.close();
});

async function ask(method: "GET" | "POST" | "DELETE", url: string, as: Caller = "operator") {
  const answer = await app.inject({ method, url, headers: headersOf(as) });
  return {
    status: answer.statusCode,
    body: answer.body === "" ? undefined : (JSON.parse(answer.body) as unknown),
  };
}

async function list(query = ""): Promise<Page> {
  const answer = await ask("GET", `/v1/dead-letters${query}`);
  expect(answer.status).toBe(200);
  return answer.body as Page;
}

/** A message whose fallback has failed. */
async function fail(
  cause: DeadLetterCause = "rejected",
  parts: Partial<MessageToAccept> = {},
  within: PartitionKeys = keys,
): Promise<EnteredMessage> {
  const entered = await enterFallback(store, { partition: within.partition, ...parts }, within);
  const source = { keys: within, priority: parts.priority ?? "normal" } as const;
  const [entry] = await readFallback(store.scripts, source, "w", 1);
  if (entry === undefined) throw new Error("no entry");
  await settleFallback(
    store.scripts,
    entry,
    { outcome: "failed", cause, reason: "HTTP 422" },
    {
      attempts: 3,
      notes: [{ channel: "webhook", outcome: "failed", reason: "HTTP 422" }],
      deadLettersCap: 1_000,
    },
  );
  return entered;
}

const stateOf = async (id: string) => (await readMessage(store.scripts, keys, id))?.state;

describe("listed", () => {
  test("newest first, over all partitions and causes, page by page, each once", async () => {
    const ids: string[] = [];
    const causes = ["rejected", "attempts-exhausted", "misconfigured"] as const;
    for (let i = 0; i < 23; i++) {
      const entered = await fail(causes[i % 3], {}, store.partitions[i % 2]);
      ids.push(entered.id);
    }
    const seen: Letter[] = [];
    let cursor: string | null = "";
    let pages = 0;
    while (cursor !== null && pages < 20) {
      const page: Page = await list(`?limit=5${cursor === "" ? "" : `&cursor=${cursor}`}`);
      seen.push(...page.items);
      cursor = page.nextCursor;
      pages++;
    }
    expect(pages).toBe(5);
    expect(new Set(seen.map(({ messageId }) => messageId))).toEqual(new Set(ids));
    expect(seen).toHaveLength(23);
    const times = seen.map(({ at }) => Date.parse(at));
    expect(times).toEqual([...times].sort((a, b) => b - a));
  });

  test("each once even if many failed at the same time", async () => {
    const text = (i: number) => `u1\t1\te.0\t1\t2\tm${i}\ton\t{}`;
    for (const partition of store.partitions) {
      for (const cause of ["rejected", "misconfigured"] as const) {
        for (let i = 0; i < 30; i++) {
          await store.redis.xadd(partition.deadLetters(cause), `1000-${i}`, "m", text(i), "n", "1", "r", "x");
        }
      }
    }
    const seen: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const page: Page = await list(`?limit=7${cursor === "" ? "" : `&cursor=${cursor}`}`);
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.nextCursor;
    }
    expect(seen).toHaveLength(120);
    expect(new Set(seen).size).toBe(120);
  });

  test("of one cause only, if requested", async () => {
    const { id } = await fail("misconfigured");
    await fail("rejected");
    expect((await list("?cause=misconfigured")).items).toMatchObject([
      { messageId: id, cause: "misconfigured" },
    ]);
    expect((await list("?cause=attempts-exhausted")).items).toEqual([]);
  });

  test("50 by default, and a page that ends with the last says so", async () => {
    for (let i = 0; i < 51; i++) await fail();
    const page = await list();
    expect(page.items).toHaveLength(50);
    expect(page.nextCursor).not.toBeNull();
    expect((await list("?limit=51")).nextCursor).toBeNull();
    expect((await list(`?cursor=${page.nextCursor}`)).items).toHaveLength(1);
  });
});

describe("one", () => {
  test("is shown with its notification and its attempts", async () => {
    const { id, seq, epoch } = await fail("rejected", {
      priority: "high",
      notification: '{"title":"t","badge":2}',
    });
    const [item] = (await list()).items;
    const answer = await ask("GET", `/v1/dead-letters/${item?.id}`);
    expect(answer).toMatchObject({
      status: 200,
      body: {
        ...item,
        messageId: id,
        user: "u1",
        seq,
        epoch,
        cause: "rejected",
        reason: "HTTP 422",
        attempts: 3,
        priority: "high",
        notification: { title: "t", badge: 2 },
        timeline: [{ channel: "webhook", outcome: "failed", reason: "HTTP 422" }],
      },
    });
  });

  test("is removed, once; its message stays failed", async () => {
    const { id } = await fail();
    const [item] = (await list()).items;
    expect((await ask("DELETE", `/v1/dead-letters/${item?.id}`)).status).toBe(204);
    expect(await stateOf(id)).toBe("failed");
    for (const method of ["GET", "DELETE"] as const) {
      expect(await ask(method, `/v1/dead-letters/${item?.id}`)).toMatchObject({
        status: 404,
        body: { error: { code: "PETREL_NOT_FOUND" } },
      });
    }
  });
});

describe("purged", () => {
  test("of one cause; the others stay", async () => {
    for (let i = 0; i < 3; i++) await fail("rejected");
    await fail("misconfigured", {}, store.partitions[1]);
    expect(await ask("DELETE", "/v1/dead-letters?cause=rejected")).toEqual({
      status: 200,
      body: { purged: 3 },
    });
    expect((await list()).items).toHaveLength(1);
    expect(await ask("DELETE", "/v1/dead-letters")).toEqual({ status: 200, body: { purged: 1 } });
    expect((await list()).items).toEqual([]);
  });

  test("many, in several steps", async () => {
    const stream = keys.deadLetters("rejected");
    for (let i = 0; i < 1_201; i++) await store.redis.xadd(stream, "*", "m", "x", "n", "1", "r", "y");
    expect((await ask("DELETE", "/v1/dead-letters?cause=rejected")).body).toEqual({ purged: 1_201 });
  });
});

describe("replayed", () => {
  async function replay(): Promise<{ status: number; body: unknown }> {
    const [item] = (await list()).items;
    return ask("POST", `/v1/dead-letters/${item?.id}/replay`);
  }

  test("is queued again and sent, from its first attempt on; the letter is removed", async () => {
    const { id } = await fail("rejected", { priority: "low" });
    const ttl = await store.redis.pexpiretime(keys.record(id));
    expect(await replay()).toEqual({ status: 202, body: { id } });
    expect(await stateOf(id)).toBe("queued");
    expect(await store.redis.pexpiretime(keys.record(id))).toBe(ttl);
    expect((await list()).items).toEqual([]);
    const [entry] = await readFallback(store.scripts, { keys, priority: "low" }, "w", 5);
    expect(entry).toMatchObject({ attempts: 0, message: { id, priority: "low" } });
    expect(pokes).toBe(1);
  });

  test("once: the second time there is no such letter", async () => {
    await fail();
    const [item] = (await list()).items;
    const both = await Promise.all([1, 2].map(() => ask("POST", `/v1/dead-letters/${item?.id}/replay`)));
    expect(both.map(({ status }) => status).sort((a, b) => a - b)).toEqual([202, 404]);
    expect(await store.redis.xlen(keys.fallback("normal"))).toBe(1);
  });

  const endings: Record<string, (entered: EnteredMessage) => Promise<unknown>> = {
    delivered: ({ epoch, seq }) => ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq }], 100),
    expired: async ({ id }) => {
      const record = (await store.redis.get(keys.record(id))) ?? "";
      const fields = record.split("\t");
      fields[3] = "1";
      await store.redis.set(keys.record(id), fields.join("\t"), "KEEPTTL");
    },
    pushed: async ({ id }) => {
      const record = (await store.redis.get(keys.record(id))) ?? "";
      await store.redis.set(keys.record(id), record.replace(/\tfailed .*$/, "\tpushed 5 webhook"), "KEEPTTL");
    },
    cancelled: async ({ id }) => {
      const record = (await store.redis.get(keys.record(id))) ?? "";
      await store.redis.set(keys.record(id), record.replace(/\tfailed .*$/, "\tcancelled 5"), "KEEPTTL");
    },
    forgotten: ({ id }) => store.redis.del(keys.record(id)),
  };
  test.each(Object.keys(endings))("not if the message is %s by now: 409", async (state) => {
    const entered = await fail();
    await endings[state]?.(entered);
    const before = await store.snapshot();
    expect(await replay()).toMatchObject({
      status: 409,
      body: { error: { code: "PETREL_CONFLICT", details: { state } } },
    });
    expect(await store.snapshot()).toEqual(before);
    expect(pokes).toBe(0);
  });
});

describe("refused", () => {
  const calls = [
    ["GET", "/v1/dead-letters"],
    ["DELETE", "/v1/dead-letters"],
    ["GET", "/v1/dead-letters/p0_rejected_1-0"],
    ["DELETE", "/v1/dead-letters/p0_rejected_1-0"],
    ["POST", "/v1/dead-letters/p0_rejected_1-0/replay"],
  ] as const;

  test.each(calls)("%s %s: without a key, without the scope", async (method, url) => {
    await fail();
    const before = await store.snapshot();
    expect((await ask(method, url, "")).status).toBe(401);
    expect((await ask(method, url, "sender")).status).toBe(403);
    expect(await store.snapshot()).toEqual(before);
  });

  test.each(["p0_rejected_1-0", "p1_misconfigured_99-9", "p7_rejected_1-0"])(
    "%s of an unknown id: 404",
    async (id) => {
      for (const [method, end] of [
        ["GET", ""],
        ["DELETE", ""],
        ["POST", "/replay"],
      ] as const) {
        expect((await ask(method, `/v1/dead-letters/${id}${end}`)).status).toBe(404);
      }
    },
  );

  test.each(["1-0", "p0_unknown_1-0", "p0_rejected_1", "p_rejected_1-0", "x", "p0_rejected_1-0%20"])(
    "a malformed id, %s: 400",
    async (id) => {
      for (const [method, end] of [
        ["GET", ""],
        ["DELETE", ""],
        ["POST", "/replay"],
      ] as const) {
        expect((await ask(method, `/v1/dead-letters/${id}${end}`)).status).toBe(400);
      }
    },
  );

  test.each([
    "cause=unknown",
    "cause=",
    "cursor=1-0",
    "cursor=",
    "limit=0",
    "limit=1001",
    "limit=ten",
    "more=1",
    "limit=1&limit=2",
  ])("GET ?%s: 400", async (query) => {
    expect(await ask("GET", `/v1/dead-letters?${query}`)).toMatchObject({
      status: 400,
      body: { error: { code: "PETREL_INVALID_REQUEST" } },
    });
  });

  test.each(["cause=unknown", "all=true"])("DELETE ?%s: 400, and nothing is purged", async (query) => {
    await fail();
    expect((await ask("DELETE", `/v1/dead-letters?${query}`)).status).toBe(400);
    expect((await list()).items).toHaveLength(1);
  });
});

test("audits what an operator does to dead letters", async () => {
  const logger = createLogger({ service: "test", level: "silent" });
  const audit = new AuditLog({ scripts: store.scripts, logger, maxEntries: 1_000, keepDays: 30 });
  const replayed = await fail("rejected");
  await fail("misconfigured");
  const [first, second] = (await list()).items;
  const toReplay = first?.messageId === replayed.id ? first : second;
  const toDelete = first?.messageId === replayed.id ? second : first;
  expect((await ask("POST", `/v1/dead-letters/${toReplay?.id}/replay`)).status).toBe(202);
  expect((await ask("DELETE", `/v1/dead-letters/${toDelete?.id}`)).status).toBe(204);
  expect((await ask("DELETE", `/v1/dead-letters/${toDelete?.id}`)).status).toBe(404);
  await fail("rejected");
  expect((await ask("DELETE", "/v1/dead-letters?cause=rejected")).status).toBe(200);
  const acts = (await audit.list({ limit: 10 })).items.map(({ id: _id, atMs: _at, ...act }) => act);
  expect(acts).toEqual([
    { actor: "key:operator", action: "dead-letter.purge", target: "rejected", details: { purged: 1 } },
    { actor: "key:operator", action: "dead-letter.delete", target: toDelete?.id, details: {} },
    {
      actor: "key:operator",
      action: "dead-letter.replay",
      target: toReplay?.id,
      details: { message: replayed.id, cause: "rejected" },
    },
  ]);
});

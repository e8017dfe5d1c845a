// Tests who is in a topic and which users are connected, by collect's application on real Redis.
// Guarantees: a topic's rule decides what is shown; pages go by name; users are answered in the order of the query.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { partitionOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { connectRoute } from "@petrel/shared/redis/routes/connect-routes";
import { removeRoute } from "@petrel/shared/redis/routes/route-store";
import { renewHolder, reportPresence } from "@petrel/shared/redis/presence/report-presence";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type OpenCollect, openCollect } from "../testing/open-collect.js";

let collect: OpenCollect;
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-presence-"));
  const file = join(directory, "topics.json");
  const rules = [
    { topics: "list.*", presence: "list" },
    { topics: "count.*", presence: "count" },
  ];
  await writeFile(file, JSON.stringify({ rules }));
  collect = await openCollect({ environment: { TOPICS_FILE: file } });
});
afterAll(async () => {
  await collect?.close();
  await rm(directory, { recursive: true, force: true });
});
beforeEach(async () => {
  for (const keys of collect.store.partitions) {
    await renewHolder(collect.store.scripts, keys, { holder, leaseMs: 3_600_000, begins: true });
  }
});

const holder = { node: "n1", number: 1 };
let version = 0;

function keysOf(topic: string): PartitionKeys {
  const keys = collect.store.partitions[partitionOfTopic(topic, collect.store.partitions.length)];
  if (keys === undefined) throw new Error("no partition");
  return keys;
}

function says(topic: string, users: Readonly<Record<string, number | undefined>>): Promise<string> {
  const topics = [{ topic, users: Object.entries(users) }];
  const report = { holder, version: ++version, former: undefined, topics };
  return reportPresence(collect.store.scripts, keysOf(topic), report);
}

async function read(url: string): Promise<Readonly<Record<string, unknown>>> {
  const { status, body } = await collect.ask("GET", url);
  expect(status, JSON.stringify(body)).toBe(200);
  return body as Readonly<Record<string, unknown>>;
}

interface Page {
  readonly items: readonly { readonly user: string; readonly since: string }[];
  readonly nextCursor: string | null;
}

describe("a topic", () => {
  test("with the rule list shows users, their connections, and since when", async () => {
    const from = await collect.store.nowMs();
    await says("list.1", { bob: 2, alice: 1 });
    const body = await read("/v1/topics/list.1/presence");
    const since = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string;
    expect(body).toEqual({
      users: 2,
      connections: 3,
      items: [
        { user: "alice", connections: 1, since },
        { user: "bob", connections: 2, since },
      ],
      nextCursor: null,
    });
    for (const item of (body as unknown as Page).items) {
      expect(Date.parse(item.since)).toBeGreaterThanOrEqual(from);
      expect(Date.parse(item.since)).toBeLessThanOrEqual(await collect.store.nowMs());
    }
    expect(await read("/v1/topics/list.1")).toMatchObject({ epoch: null, users: 2, connections: 3 });
  });

  test("with the rule count shows numbers", async () => {
    await says("count.1", { bob: 2, alice: 1 });
    expect(await read("/v1/topics/count.1/presence")).toEqual({
      users: 2,
      connections: 3,
      items: [],
      nextCursor: null,
    });
    expect(await read("/v1/topics/count.1")).toMatchObject({ users: 2, connections: 3 });
  });

  test("without such a rule shows nothing, whatever is in Redis; nor does a broadcast", async () => {
    await says("other", { bob: 2, alice: 1 });
    await says("$all", { bob: 2, alice: 1 });
    for (const topic of ["other", "%24all"]) {
      expect(await read(`/v1/topics/${topic}/presence`)).toEqual({
        users: null,
        connections: null,
        items: [],
        nextCursor: null,
      });
      expect(await read(`/v1/topics/${topic}`)).toMatchObject({ users: null, connections: null });
    }
  });

  test("without users, now or ever, shows zeros", async () => {
    for (const topic of ["list.nobody", "count.nobody"]) {
      expect(await read(`/v1/topics/${topic}/presence`)).toEqual({
        users: 0,
        connections: 0,
        items: [],
        nextCursor: null,
      });
    }
  });

  test("is listed in pages, each user once, even if one of them leaves between two pages", async () => {
    const names = Array.from({ length: 130 }, (_, i) => `u${String(i).padStart(3, "0")}`);
    await says("list.2", Object.fromEntries(names.map((name) => [name, 1])));
    const first = (await read("/v1/topics/list.2/presence")) as unknown as Page;
    expect(first.items.map(({ user }) => user)).toEqual(names.slice(0, 50));
    expect(first.nextCursor).toBe("u049");
    await says("list.2", { u049: undefined });
    const found: string[] = [];
    for (let cursor: string | null = "u049"; cursor !== null;) {
      const url: string = `/v1/topics/list.2/presence?limit=40&cursor=${cursor}`;
      const page = (await read(url)) as unknown as Page;
      found.push(...page.items.map(({ user }) => user));
      cursor = page.nextCursor;
    }
    expect(found).toEqual(names.slice(50));
    const all = (await read("/v1/topics/list.2/presence?limit=1000")) as unknown as Page;
    expect(all.items).toHaveLength(129);
  });
});

describe("users", () => {
  const limits = { leaseMs: 30_000, maxConnectionsPerUser: 5, whenFull: "evict", ackTimeoutMs: 1 } as const;

  async function connect(userId: string): Promise<string> {
    const route = { userId, node: "n1", connection: "c1", platform: "web" };
    const result = await connectRoute(collect.store.scripts, collect.keysOf(userId), route, limits);
    if (result.outcome !== "connected") throw new Error(result.outcome);
    return result.member;
  }

  test("are answered in the requested order, over all partitions", async () => {
    const names = Array.from({ length: 200 }, (_, i) => `user.${199 - i}`);
    for (let i = 0; i < 200; i += 2) await connect(`user.${i}`);
    const { items } = await read(`/v1/presence?users=${names.join(",")}`);
    expect(items).toEqual(names.map((user, i) => ({ user, online: (199 - i) % 2 === 0, lastSeenAt: null })));
  });

  test("who have left were last seen then; names are percent-encoded", async () => {
    const userId = "ada+b|c@example.test";
    const member = await connect(userId);
    const from = await collect.store.nowMs();
    await removeRoute(collect.store.scripts, collect.keysOf(userId), userId, member, 3_000);
    const { items } = await read(`/v1/presence?users=${encodeURIComponent(userId)},nobody`);
    const [ada, nobody] = items as { user: string; online: boolean; lastSeenAt: string }[];
    expect(nobody).toEqual({ user: "nobody", online: false, lastSeenAt: null });
    expect(ada).toMatchObject({ user: userId, online: false });
    expect(Date.parse(ada?.lastSeenAt ?? "")).toBeGreaterThanOrEqual(from);
    expect(Date.parse(ada?.lastSeenAt ?? "")).toBeLessThanOrEqual(await collect.store.nowMs());
  });

  test("200 of the longest names fit in a request", async () => {
    const names = Array.from({ length: 200 }, (_, i) => `${"u".repeat(125)}${String(i).padStart(3, "0")}`);
    const answer = await fetch(`${collect.address}/v1/presence?users=${names.join(",")}`, {
      headers: { authorization: await collect.producer("long", ["read"]) },
    });
    expect(answer.status, await answer.clone().text()).toBe(200);
    expect(((await answer.json()) as { items: unknown[] }).items).toHaveLength(200);
  });
});

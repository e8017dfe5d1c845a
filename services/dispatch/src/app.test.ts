// Tests what operators see over HTTP.
// Guarantees: every route of the contract answers; nobody without the scope gets an answer.
import { ArchiveError } from "@petrel/shared/archive/message-archive";
import { systemClock } from "@petrel/shared/kernel/clock";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { DeadLettersStore } from "@petrel/shared/redis/fallback/dead-letters-store";
import { InvalidationsStore } from "@petrel/shared/redis/devices/invalidations-store";
import { allPartitionKeys, partitionKeys } from "@petrel/shared/redis/keys";
import { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { hashProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { ArchiveView, type ArchiveViewDeps } from "./archive/archive-view.js";
import { buildApp, type DispatchDeps } from "./app.js";
import { webhookDeps } from "./testing/webhook-deps.js";
import { HeldPartition } from "./own/held-partition.js";

const secret = "s".repeat(43);
const admin = { authorization: `Bearer operator.${secret}` };
const sender = { authorization: `Bearer sender.${secret}` };

let away = false;
let asked: readonly number[] = [];
/** Returns something different for each partition. */
const archiveStandIn: ArchiveViewDeps["archive"] = {
  status: async () => {
    if (away) throw new ArchiveError("gone");
    return { version: "7.0.1", ttlIndex: true, rows: 12, erasuresOpen: 1, partitions: [] };
  },
  countOpen: async (partition) => 4 + partition,
  lag: async (partition) => ({ rows: partition, oldestMs: partition * 1_500 }),
  progress: async (partition) =>
    partition === 0
      ? undefined
      : {
          partition,
          generation: "1:x",
          isUnderWay: partition === 1,
          looked: 9,
          driven: 5,
          changedAtMs: 1_700_000_000_000,
        },
  askRedrive: async (partitions) => {
    if (away) throw new ArchiveError("gone");
    asked = partitions;
  },
};

let app: HttpApp;
let bare: HttpApp;
let store: OpenStore;
let member: boolean;
let redisAnswers: boolean;
beforeAll(async () => {
  store = await openStore();
  const owned = allPartitionKeys(3).map(
    (keys) =>
      new HeldPartition(
        keys,
        `${keys.partition + 7}.x`,
        { endsAtMs: systemClock.monotonicMs() + 60_000, serverUntilMs: 1_700_000_000_000 },
        systemClock,
      ),
  );
  const deps: DispatchDeps = {
    ...webhookDeps(store),
    version: "0.0.0",
    logger: createLogger({ service: "test", level: "silent" }),
    metrics: createRegistry("dispatch"),
    authenticator: new ProducerAuthenticator({
      findKey: async (id) => ({
        id,
        owner: "o",
        scopes: id === "operator" ? ["admin"] : ["send"],
        secretSha256: hashProducerSecret(secret),
      }),
    }),
    dispatcherId: "d.1",
    ownedPartitions: () => owned,
    readReadyLengths: async (partitions) => partitions.map(({ partition }) => partition * 10),
    deadLetters: new DeadLettersStore(store.scripts, store.partitions),
    audit: new AuditLog({
      scripts: store.scripts,
      logger: createLogger({ service: "test", level: "silent" }),
      maxEntries: 1_000,
      keepDays: 30,
    }),
    readAttempts: async () => [],
    onReplayed: () => undefined,
    invalidations: new InvalidationsStore(store.redis, store.partitions),
    readyWithoutRedisMs: 0,
    clock: systemClock,
    pingRedis: async () => {
      if (!redisAnswers) throw new Error("no answer");
    },
    isMember: () => member,
  };
  const { scripts } = store;
  const archive = new ArchiveView({ archive: archiveStandIn, scripts, partitions: allPartitionKeys(3) });
  app = await buildApp({ ...deps, archive });
  await app.ready();
  bare = await buildApp({ ...deps, metrics: createRegistry("dispatch") });
  await bare.ready();
});
beforeEach(() => {
  member = true;
  redisAnswers = true;
});
afterAll(async () => {
  await app.close();
  await bare.close();
  await store.close();
});

test("serves its metrics to operators only, like the whole listener", async () => {
  const answer = await app.inject("/metrics");
  expect(answer.statusCode).toBe(200);
  expect(answer.body).toContain("process_cpu_user_seconds_total");
});

test("lists the owned partitions, page by page", async () => {
  const first = await app.inject({ url: "/v1/partitions?limit=2", headers: admin });
  expect(first.json()).toEqual({
    dispatcher: "d.1",
    items: [
      { partition: 0, token: "7.x", leaseEndsAt: "2023-11-14T22:13:20.000Z", ready: 0 },
      { partition: 1, token: "8.x", leaseEndsAt: "2023-11-14T22:13:20.000Z", ready: 10 },
    ],
    nextCursor: "1",
  });
  const second = await app.inject({ url: "/v1/partitions?limit=2&cursor=1", headers: admin });
  expect(second.json()).toMatchObject({ items: [{ partition: 2, ready: 20 }], nextCursor: null });
});

test("requires the scope admin, and valid parameters", async () => {
  expect((await app.inject({ url: "/v1/partitions" })).statusCode).toBe(401);
  expect((await app.inject({ url: "/v1/partitions", headers: sender })).statusCode).toBe(403);
  expect((await app.inject({ url: "/v1/partitions?limit=0", headers: admin })).statusCode).toBe(400);
  expect((await app.inject({ url: "/v1/partitions?more=1", headers: admin })).statusCode).toBe(400);
  expect((await app.inject({ url: "/v1/invalidations", headers: sender })).statusCode).toBe(403);
});

test("shows the archive's state, page by page", async () => {
  await store.redis.hset(partitionKeys(2).generation, "n", "1", "replid", "x");
  const first = await app.inject({ url: "/v1/archive?limit=2", headers: admin });
  const redrive = { looked: 9, driven: 5, changedAt: "2023-11-14T22:13:20.000Z" };
  expect(first.json()).toEqual({
    server: "7.0.1",
    rows: 12,
    erasuresOpen: 1,
    items: [
      {
        partition: 0,
        open: 4,
        overdue: 0,
        lagSeconds: 0,
        spooled: 0,
        redrive: { state: "due", looked: 0, driven: 0, changedAt: null },
      },
      {
        partition: 1,
        open: 5,
        overdue: 1,
        lagSeconds: 1.5,
        spooled: 0,
        redrive: { state: "running", ...redrive },
      },
    ],
    nextCursor: "1",
  });
  const done = async () =>
    (await app.inject({ url: "/v1/archive?cursor=1", headers: admin })).json<unknown>();
  expect(await done()).toMatchObject({
    items: [{ partition: 2, redrive: { state: "done" } }],
    nextCursor: null,
  });
  await store.redis.hset(partitionKeys(2).generation, "n", "2");
  expect(await done()).toMatchObject({ items: [{ redrive: { state: "due" } }] });
});

test("a redrive covers all partitions, requires admin, and is audited", async () => {
  const ask = (headers: Record<string, string>, by = app) =>
    by.inject({ method: "POST", url: "/v1/archive/redrive", headers });
  expect((await ask(sender)).statusCode).toBe(403);
  expect(asked).toEqual([]);
  const answer = await ask(admin);
  expect([answer.statusCode, answer.json()]).toEqual([202, { partitions: 3 }]);
  expect(asked).toEqual([0, 1, 2]);
  expect(JSON.stringify(await store.redis.xrange("petrel:audit", "-", "+"))).toContain("archive.redrive");
  away = true;
  expect((await ask(admin)).statusCode).toBe(503);
  expect((await app.inject({ url: "/v1/archive", headers: admin })).statusCode).toBe(503);
  away = false;
  expect((await ask(admin, bare)).statusCode).toBe(404);
  expect((await bare.inject({ url: "/v1/archive", headers: admin })).statusCode).toBe(404);
});

test("is ready while Redis answers and its membership is current", async () => {
  expect((await app.inject("/health/ready")).statusCode).toBe(200);
  member = false;
  const stale = await app.inject("/health/ready");
  expect(stale.statusCode).toBe(503);
  expect(stale.json()).toMatchObject({ checks: { redis: "ok", membership: "not renewed in time" } });
  member = true;
  redisAnswers = false;
  expect((await app.inject("/health/ready")).json()).toMatchObject({ checks: { redis: "no answer" } });
});

test("the OpenAPI document names every route", async () => {
  const { paths } = (await app.inject("/docs/json")).json<{ paths: Record<string, unknown> }>();
  expect(Object.keys(paths).sort()).toEqual([
    "/v1/archive",
    "/v1/archive/redrive",
    "/v1/channels",
    "/v1/channels/{channel}/pause",
    "/v1/channels/{channel}/resume",
    "/v1/dead-letters",
    "/v1/dead-letters/{id}",
    "/v1/dead-letters/{id}/replay",
    "/v1/invalidations",
    "/v1/nodes",
    "/v1/nodes/{node}/drain",
    "/v1/partitions",
    "/v1/webhooks",
    "/v1/webhooks/{id}",
    "/v1/webhooks/{id}/attempts",
    "/v1/webhooks/{id}/replay",
    "/v1/webhooks/{id}/rotate",
    "/v1/webhooks/{id}/test",
  ]);
});

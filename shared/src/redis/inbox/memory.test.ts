// Tests that docs/operate/sizing.md is right about the memory that Redis needs: measures each kind on the present
// server, and simulates a day on a stepped clock.
// Guarantees: used_memory of a real server, at the settings that the page names, is within a fifth (and 25 B) of what
// it says, and below the bounds it promises.
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { inSlices } from "../../kernel/in-slices.js";
import { formatMessageId } from "../../protocol/messages/ids.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { openShiftedClock, type ShiftedClock } from "../../testing/faults/shifted-clock.js";
import { waitFor } from "../../testing/wait-for.js";
import { sized } from "../../../../test/support/sizes.js";
import { ackUsers } from "./ack-users.js";
import { DevicesStore } from "../devices/devices-store.js";
import { keepRecords } from "./keep-records.js";
import { takePartition } from "../partitions/partition-lease.js";
import { reconcileUsers } from "../wake/reconcile-users.js";
import { connectRoute } from "../routes/connect-routes.js";
import { SessionsStore } from "../auth/sessions-store.js";
import { TopicPublisher } from "../topics/topic-publisher.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const WEEK_MS = 7 * DAY_MS;
/** Either fills hash tables to the same degree. */
const COUNT = sized(3_000, 1_500);
const HISTORY = 100;

/** How far the page may be off: hash tables grow in steps, each twice the one before. */
const TOLERANCE = 0.2;
const TOLERANCE_BYTES = 25;

let directory: string;
let clock: ShiftedClock | undefined;
let store: OpenStore;
let token: string;
/** Kind -> bytes, as the page says for the server at hand; empty where it does not name that server. */
let told: ReadonlyMap<string, number>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-memory-"));
  clock = await openShiftedClock(directory, process.env);
  store = await openStore({ environment: clock?.environment ?? {} });
  await store.redis.config("SET", "stream-node-max-bytes", "1024");
  told = await readPage(await nameServer());
  // Creates what is made once only, such as buffers for large calls, before anything is measured.
  await send(users(COUNT), 1, 1_000);
});
beforeEach(async () => {
  await store.clear();
  const lease = await takePartition(store.scripts, store.keys, "a", WEEK_MS);
  if (lease.outcome !== "held") throw new Error("not taken");
  ({ token } = lease);
  await send(["warm"], 1);
  await reconcile(["warm"]);
});
afterAll(async () => {
  await store.close();
  await rm(directory, { recursive: true, force: true });
});

async function nameServer(): Promise<string> {
  const info = await store.redis.info("server");
  const valkey = /valkey_version:(\d+\.\d+)/.exec(info);
  const redis = /redis_version:(\d+\.\d+)/.exec(info);
  return valkey === null ? `Redis ${redis?.[1] ?? ""}` : `Valkey ${valkey[1] ?? ""}`;
}

async function readPage(server: string): Promise<ReadonlyMap<string, number>> {
  const page = await readFile(new URL("../../../../docs/operate/sizing.md", import.meta.url), "utf8");
  const rows = page.split("\n").filter((line) => /^\| (?:`[a-z0-9-]+`|what) \|/.test(line));
  const cells = rows.map((row) => row.split("|").map((cell) => cell.trim().replaceAll("`", "")));
  const column = cells[0]?.indexOf(server) ?? -1;
  if (column === -1) return new Map();
  return new Map(cells.slice(1).map((row) => [row[1] ?? "", Number(row[column]?.replaceAll(",", ""))]));
}

/** Once it stands still: tables are moved step by step, and unlinked keys are freed in the background. */
async function usedMemory(): Promise<number> {
  let last = 0;
  return waitFor(
    async () => {
      const before = last;
      // Some servers count what scripts have left behind, until Lua collects it.
      await store.redis.eval("collectgarbage() return 1", 0);
      const info = await store.redis.info("memory");
      const value = (name: string): number => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1]);
      // Buffers of our own connection come and go.
      last = value("used_memory") - value("mem_clients_normal");
      return Math.abs(last - before) < 2_048 ? last : undefined;
    },
    { what: "memory to stand still", everyMs: 150, deadlineMs: 20_000 },
  );
}

const users = (count: number, name = "user"): string[] =>
  Array.from({ length: count }, (_, i) => `${name}-${String(i).padStart(7, "0")}`);

/** Many beside each other. */
async function forEach(userIds: readonly string[], act: (userId: string) => Promise<unknown>): Promise<void> {
  for (const some of inSlices(userIds, 100)) await Promise.all(some.map(act));
}

/** Messages as collect makes them, of so many bytes each, acknowledged at once. */
async function send(userIds: readonly string[], each: number, bytes = 100, isAcked = true): Promise<void> {
  const accepter = store.accepter({ handOver: "accept" });
  const data = JSON.stringify("x".repeat(bytes - 2));
  for (let n = 0; n < each; n++) {
    const results = await Promise.all(
      userIds.map((userId) => {
        const id = formatMessageId(0, randomBytes(16).toString("base64url"));
        return accepter.accept(message({ userId, id, data, ttlMs: WEEK_MS }));
      }),
    );
    if (isAcked) {
      const acks = results.flatMap((result, i) =>
        result.outcome === "stored"
          ? [{ userId: userIds[i] ?? "", epoch: result.epoch, seq: result.seq }]
          : [],
      );
      for (let i = 0; i < acks.length; i += 200) {
        await ackUsers(store.scripts, store.keys, acks.slice(i, i + 200), HISTORY);
      }
    }
    // As a dispatcher trims it.
    await store.redis.del(store.keys.ready);
  }
}

async function reconcile(userIds: readonly string[], idleMs = 0): Promise<void> {
  for (let i = 0; i < userIds.length; i += 200) {
    const some = userIds.slice(i, i + 200);
    const rules = { overdueMs: WEEK_MS, idleMs } as const;
    const result = await reconcileUsers(store.scripts, store.keys, token, rules, some);
    if (result === "stale") throw new Error("refused");
    const unkept = result.unkept.map((userId) => ({ userId, minAgeMs: 0 }));
    await keepRecords(store.scripts, store.keys, unkept);
  }
}

async function forgetRecords(): Promise<void> {
  let cursor = "0";
  do {
    const [next, names] = await store.redis.scan(
      cursor,
      "MATCH",
      `${store.keys.record("")}*`,
      "COUNT",
      5_000,
    );
    cursor = next;
    if (names.length > 0) await store.redis.del(...names);
  } while (cursor !== "0");
}

const sizeOfInbox = async (userId: string): Promise<number> =>
  Number(await store.redis.call("MEMORY", "USAGE", store.keys.inbox(userId), "SAMPLES", "0"));

function isAsTold(kind: string, bytes: number): void {
  if (process.env["PETREL_PRINT_SIZES"] === "1") process.stdout.write(`${kind} ${Math.round(bytes)}\n`);
  const expected = told.get(kind);
  if (told.size === 0) return;
  expect(expected, `docs/operate/sizing.md on ${kind}`).toBeDefined();
  const range = `${kind}: ${Math.round(bytes)} B measured, ${expected} B told`;
  const slack = (expected ?? 0) * TOLERANCE + TOLERANCE_BYTES;
  expect(Math.abs(bytes - (expected ?? 0)), range).toBeLessThan(slack);
}

test("record: the cost of a delivered message once its inbox has its full length", async () => {
  const few = users(sized(10, 3));
  // An inbox is trimmed at every 64th number: measured right after that, at both ends.
  await send(few, 4 * 64);
  await forgetRecords();
  const before = await usedMemory();
  await send(few, 5 * 64);
  const bytes = ((await usedMemory()) - before) / (5 * 64 * few.length);
  isAsTold("record", bytes);
  // 25 hours of 1,000 a second are 90 million.
  expect(bytes * 90_000_000).toBeLessThan(25e9);
});

test("idle: a user without messages for a day; and inbox: one with one message since", async () => {
  const before = await usedMemory();
  const names = users(COUNT);
  for (let i = 0; i < COUNT; i += 200) {
    const some = names.slice(i, i + 200);
    await send(some, 1);
    await reconcile(some);
    await forgetRecords();
  }
  const idle = ((await usedMemory()) - before) / COUNT;
  isAsTold("idle", idle);
  expect(idle).toBeLessThan(300);

  for (const bytes of [100, 1_000]) {
    await send(names, 1, bytes);
    const withInbox = await usedMemory();
    await reconcile(names);
    isAsTold(bytes === 100 ? "inbox" : "inbox-1k", (withInbox - (await usedMemory())) / COUNT);
    await forgetRecords();
  }
});

test("history: each further message in an inbox", async () => {
  for (const [userId, bytes] of [
    ["small", 100],
    ["large", 1_000],
  ] as const) {
    await send([userId], 1, bytes);
    const one = await sizeOfInbox(userId);
    await send([userId], HISTORY - 1, bytes);
    isAsTold(bytes === 100 ? "history" : "history-1k", ((await sizeOfInbox(userId)) - one) / (HISTORY - 1));
  }
});

test("topic: one with its first message; topic-message: each further one in its log", async () => {
  const { scripts, partitions } = store;
  const publisher = new TopicPublisher({ scripts, partitions, maxInFlight: 2 });
  const history = { size: HISTORY, ageMs: DAY_MS, bytes: 1_048_576 };
  const data = JSON.stringify("x".repeat(98));
  const publish = async (topic: string): Promise<void> => {
    const id = formatMessageId(0, randomBytes(16).toString("base64url"));
    await publisher.publish({ topic, partition: 0, id, ttlMs: DAY_MS, history, from: "", data });
  };
  await publish("warm");
  const names = users(COUNT, "room");
  const before = await usedMemory();
  await Promise.all(names.map(publish));
  isAsTold("topic", ((await usedMemory()) - before) / COUNT);
  const few = names.slice(0, 20);
  const withFirst = await usedMemory();
  for (let n = 1; n < HISTORY; n++) await Promise.all(few.map(publish));
  isAsTold("topic-message", ((await usedMemory()) - withFirst) / (few.length * (HISTORY - 1)));
});

test("device, session, connection", async () => {
  const names = users(COUNT);
  const { scripts, partitions, keys } = store;
  const ofPartition = partitions.map(() => keys);
  let before = await usedMemory();
  const devices = new DevicesStore(scripts, ofPartition);
  await forEach(names, (userId) => {
    const phone = { token: randomBytes(32).toString("hex"), topic: "com.example.app" } as const;
    return devices.register(userId, { platform: "ios", environment: "production", ...phone }, 1);
  });
  isAsTold("device", ((await usedMemory()) - before) / COUNT);

  before = await usedMemory();
  const sessions = new SessionsStore({
    scripts,
    partitions: ofPartition,
    leewayMs: 10_000,
    idleMs: WEEK_MS,
    absoluteMs: 4 * WEEK_MS,
    maxPerUser: 10,
  });
  await forEach(names, (userId) => {
    const sessionId = randomBytes(16).toString("base64url");
    const hash = randomBytes(32).toString("base64url");
    return sessions.open({ userId, sessionId, hash, content: { ttlSeconds: 3_600 } });
  });
  isAsTold("session", ((await usedMemory()) - before) / COUNT);

  await send(names, 1);
  await reconcile(names);
  before = await usedMemory();
  const rules = { leaseMs: DAY_MS, maxConnectionsPerUser: 5, whenFull: "evict", ackTimeoutMs: 1 } as const;
  await forEach(names, (userId) => {
    const connection = randomBytes(9).toString("base64url");
    const route = { userId, node: "push-node-1.lz4k2abc", connection, platform: "web" } as const;
    return connectRoute(scripts, keys, route, rules);
  });
  isAsTold("connection", ((await usedMemory()) - before) / COUNT);
});

test("over a day and more, scaled down: memory matches the formula", async (context) => {
  if (clock === undefined) return context.skip("left out: no C compiler (`cc`) for the clock's library");
  // In full 0.4 messages a second, in steps of half an hour; one in fifty goes to users who are away.
  const stepMs = HOUR_MS / 2;
  const perStep = sized(720, 64);
  const present = users(sized(20, 6));
  const away = users(sized(15, 4), "away");
  const before = await usedMemory();
  const steps = 56;
  for (let step = 0; step < steps; step++) {
    await send(present, (perStep - away.length) / present.length);
    await send(away, 1, 100, false);
    await reconcile([...present, ...away], DAY_MS);
    await clock.step(stepMs);
  }
  // Expired keys are removed bit by bit, and Redis leaves up to a tenth of them.
  const perDay = (25 * HOUR_MS) / stepMs;
  const keptRecords = perDay * (perStep - away.length) + steps * away.length;
  await waitFor(async () => (await store.redis.dbsize()) < 1.12 * keptRecords + 200, {
    what: "records to go",
    deadlineMs: 60_000,
    everyMs: 200,
  });
  const bytes = (kind: string): number => told.get(kind) ?? 0;
  const formula =
    1.05 * keptRecords * bytes("record") +
    (present.length + away.length) * (bytes("idle") + bytes("inbox")) +
    (present.length * HISTORY + away.length * steps) * bytes("history");
  const used = (await usedMemory()) - before;
  if (process.env["PETREL_PRINT_SIZES"] === "1") process.stdout.write(`day ${used} formula ${formula}\n`);
  if (told.size === 0) return;
  expect(used).toBeLessThan(1.25 * formula);
  expect(used).toBeGreaterThan(0.75 * formula);
}, 120_000);

// Tests the erasure of a user on a real Redis: all their data goes, nobody else's does, whatever dies meanwhile.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { fallbackChannels } from "../../protocol/fallback/fallback-channels.js";
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import type { MessageToAccept } from "../accept/accept-batch.js";
import { ackUsers } from "../inbox/ack-users.js";
import { DevicesStore } from "../devices/devices-store.js";
import { keepDeviceSends } from "../fallback/device-sends-store.js";
import { UserEraser } from "./erase-user.js";
import { FALLBACK_GROUP, readFallback, type TakenEntry } from "../fallback/fallback-queue.js";
import { invalidateDevices } from "../devices/invalidate-devices.js";
import { readMessage } from "../inbox/read-message.js";
import { connectRoute } from "../routes/connect-routes.js";
import { ScriptRunner } from "../scripts/script-runner.js";
import { settleFallback, type Settlement } from "../fallback/settle-fallback.js";
import { MessageScheduler } from "../schedules/schedule-messages.js";
import { keepTopic } from "../topics/kept-topics.js";
import { noteRefusal } from "../wechat/wechat-notes.js";
import { takeCollapseTurn } from "../fallback/take-collapse-turn.js";

const HOUR_MS = 3_600_000;
const how = {
  attempts: 1,
  notes: [{ channel: "c", outcome: "failed", reason: "of tabitha" }],
  deadLettersCap: 100,
} as const;

let store: OpenStore;
let devices: DevicesStore;
let eraser: UserEraser;
beforeAll(async () => {
  store = await openStore();
  devices = new DevicesStore(store.scripts, store.partitions);
  eraser = new UserEraser({ scripts: store.scripts, partitions: store.partitions, devices });
});
beforeEach(() => store.clear());
afterAll(() => store.close());

/** Users of the first partition with ids that begin and end alike: a careless comparison takes one for another. */
const alike = (text: string): string[] =>
  Array.from({ length: 40 }, (_, i) => [`tabitha${i}`, `x:tabitha${i}`, `tabitha${i}:x`, `tabitha${i}0`])
    .find((names) => names.every((name) => partitionOfUser(name, 2) === 0))
    ?.map((name) => name + text) ?? [];
const [person = "", ...neighbours] = alike("");

async function accept(userId: string, parts: Partial<MessageToAccept> = {}) {
  const given = message({ userId, data: `{"for":"${userId}"}`, ...parts });
  const result = await store.accepter().accept(given);
  if (result.outcome !== "stored") throw new Error(result.outcome);
  return { ...given, ...result };
}

/** Writes everything that there can be of a user, everywhere. */
async function fill(userId: string): Promise<void> {
  const { keys, scripts, redis } = store;
  const notification = `{"title":"for ${userId}"}`;
  await connectRoute(
    scripts,
    keys,
    { userId, node: "n1", connection: "c1", platform: "web" },
    { leaseMs: HOUR_MS, maxConnectionsPerUser: 5, whenFull: "evict", ackTimeoutMs: 10_000 },
  );
  const acked = await accept(userId);
  await ackUsers(scripts, keys, [{ userId, epoch: acked.epoch, seq: acked.seq }], 100);
  // A record that nothing names any more.
  await redis.xtrim(keys.inbox(userId), "MAXLEN", 0);
  for (const settlement of [
    { outcome: "retry", delayMs: HOUR_MS },
    { outcome: "failed", cause: "rejected", reason: `for ${userId}` },
    { outcome: "failed", cause: "misconfigured", reason: "no" },
  ] as const) {
    await settle(await enter(userId, notification), settlement);
  }
  await enter(userId, notification);
  const held = await accept(userId, { fallback: "always", notification, priority: "high" });
  const expiresAtMs = (await store.nowMs()) + HOUR_MS;
  await keepDeviceSends(scripts, keys, { ...held, expiresAtMs }, new Set(["d1"]));
  const turn = { userId, collapseKey: "k", epoch: held.epoch, seq: held.seq };
  const options = { holder: "h", leaseMs: 1_000, keepUntilMs: (await store.nowMs()) + HOUR_MS };
  await takeCollapseTurn(scripts, keys, turn, options);
  const phone = { platform: "wechat", openid: `openid-of-${userId}`, appid: "w" } as const;
  await devices.register(userId, phone, 1);
  await devices.register(userId, { ...phone, openid: `second-of-${userId}` }, 1);
  const [{ id: deviceId } = { id: "" }] = await devices.list(userId);
  const verdict = { userId, deviceId, tokenEnd: "abcdef", topic: "w", beforeMs: 2 } as const;
  await invalidateDevices(scripts, keys, [{ ...verdict, what: "forget", reason: "unregistered" }], 100);
  await redis.hset(keys.sessions(userId), "s1", "0\thash");
  await keepTopic(scripts, keys, userId, "room.7");
  await noteRefusal(scripts, keys, userId, { id: "d_1", registeredAtMs: 1 }, "T1");
  await schedule(userId, 1);
}

async function schedule(userId: string, count: number): Promise<string[]> {
  const scheduler = new MessageScheduler({ ...store, maxInFlight: 1, cap: 10_000 });
  const deliverAtMs = (await store.nowMs()) + HOUR_MS;
  const all = Array.from({ length: count }, () => message({ userId }));
  await Promise.all(all.map((one) => scheduler.schedule({ ...one, deliverAtMs })));
  return all.map(({ id }) => id);
}

let entered = 0;
async function enter(userId: string, notification: string): Promise<TakenEntry> {
  const { keys, scripts } = store;
  await accept(userId, { fallback: "always", notification, collapseKey: `${userId} ${entered++}` });
  let found: TakenEntry | undefined;
  for (;;) {
    const [entry] = await readFallback(scripts, { keys, priority: "normal" }, "w1", 1);
    if (entry === undefined) break;
    if (entry.message.userId === userId) found = entry;
  }
  if (found === undefined) throw new Error("no entry");
  return found;
}

async function settle(entry: TakenEntry, settlement: Settlement): Promise<void> {
  expect((await settleFallback(store.scripts, entry, settlement, how)).outcome).toBe("settled");
}

/** The keys that have the text in their name or value. */
async function keysThatHold(text: string): Promise<string[]> {
  const all = await store.snapshot();
  return Object.keys(all).filter(
    (name) => name.includes(text) || JSON.stringify(all[name]?.value).includes(text),
  );
}

/** The keys that have the text as a whole id, not as a part of a neighbour's. */
async function keysThatName(userId: string): Promise<string[]> {
  const exact = new RegExp(`(?<![\\w:])${userId}(?![\\w:])`);
  const all = await store.snapshot();
  return Object.entries(all)
    .filter(([name, { value }]) => {
      const tail = name.replace(/^petrel:\{p\d\}:(collapse-turn:)?[^:]*:/, "");
      return tail === userId || exact.test(JSON.stringify(value));
    })
    .map(([name]) => name);
}

test("leaves nothing of the person but the generation of their tokens; the neighbours keep everything", async () => {
  for (const neighbour of neighbours) await fill(neighbour);
  const before = await store.snapshot();
  await fill(person);
  expect((await keysThatName(person)).length).toBeGreaterThan(12);
  const heard = await store.listen(store.keys.control);

  const nowMs = await store.nowMs();
  const erased = await eraser.erase(person);
  expect(erased).toMatchObject({ messages: 5, records: 6, notes: 1 });
  expect(erased.entries).toBeGreaterThanOrEqual(11);

  expect(await keysThatName(person)).toEqual([store.keys.tokenGeneration(person)]);
  expect(Number(await store.redis.get(store.keys.tokenGeneration(person)))).toBeGreaterThanOrEqual(nowMs);
  expect(await store.redis.pttl(store.keys.tokenGeneration(person))).toBeGreaterThan(366 * 24 * HOUR_MS);
  const generation = await store.redis.get(store.keys.tokenGeneration(person));
  expect(heard).toEqual([`erase-user\n${person}\n\t${generation}`]);

  const after = await store.snapshot();
  for (const neighbour of neighbours) {
    expect((await devices.list(neighbour)).length).toBe(1);
    expect(await keysThatName(neighbour)).toEqual(
      Object.keys(before).filter(
        (name) => Object.keys(after).includes(name) && names(before, name, neighbour),
      ),
    );
  }
  // Shared keys have lost the user's entries, and nothing else.
  const { [store.keys.tokenGeneration(person)]: _generation, ...others } = after;
  expect(others).toEqual(before);
});

function names(all: Awaited<ReturnType<OpenStore["snapshot"]>>, name: string, userId: string): boolean {
  const exact = new RegExp(`(?<![\\w:])${userId}(?![\\w:])`);
  const tail = name.replace(/^petrel:\{p\d\}:(collapse-turn:)?[^:]*:/, "");
  return tail === userId || exact.test(JSON.stringify(all[name]?.value));
}

test("erases an unknown user like any other, and twice", async () => {
  expect(await eraser.erase(person)).toEqual({ messages: 0, records: 0, entries: 0, notes: 0 });
  const first = Number(await store.redis.get(store.keys.tokenGeneration(person)));
  await eraser.erase(person);
  expect(Number(await store.redis.get(store.keys.tokenGeneration(person)))).toBeGreaterThan(first);
  // Also where Redis' clock was set back.
  await store.redis.set(store.keys.tokenGeneration(person), String(first + 3_600_000));
  await eraser.erase(person);
  expect(Number(await store.redis.get(store.keys.tokenGeneration(person)))).toBe(first + 3_600_001);
});

test("erases more than one call takes: thousands of records and entries, among those of others", async () => {
  const accepter = store.accepter();
  const others = neighbours[0] ?? "";
  const sent = await Promise.all(
    Array.from({ length: 1_500 }, (_, i) =>
      Promise.all([
        accepter.accept(message({ userId: person, id: `p${i}` })),
        accepter.accept(message({ userId: others, id: `o${i}` })),
      ]),
    ),
  );
  expect(sent.length).toBe(1_500);
  const retries = Array.from({ length: 700 }, (_, i) => `1\t${person}\t${i}\te.1\t1\t2\tp${i}\ton\t{}`);
  await store.redis.zadd(store.keys.retries, ...retries.flatMap((text) => [1, text]));
  // Each channel has a queue of its own.
  for (const channel of fallbackChannels) {
    await store.redis.zadd(store.keys.retriesOf(channel), 1, retries[0] ?? "");
    await store.redis.xadd(store.keys.fallback("low", channel), "*", "m", `${person}\t1\te.1\t`, "n", "0");
  }
  expect(await eraser.erase(person)).toMatchObject({ messages: 1_500, records: 1_500, entries: 2_208 });
  expect(await keysThatName(person)).toEqual([store.keys.tokenGeneration(person)]);
  expect(await store.redis.xlen(store.keys.ready)).toBe(1_500);
  expect((await store.redis.keys(store.keys.record("*"))).length).toBe(1_500);
});

test("erases scheduled messages first, however many; the neighbours' stay", async () => {
  const { redis, keys, partitions } = store;
  await schedule(person, 450);
  await schedule(neighbours[0] ?? "", 3);
  let left = -1;
  const watching = new PausingRunner(redis, "erase-entries.v1", async () => {
    left = await redis.zcard(keys.schedulesOf(person));
  });
  await new UserEraser({ scripts: watching, partitions, devices }).erase(person);
  expect(left).toBe(0);
  expect(await redis.exists(keys.schedulesOf(person))).toBe(0);
  expect(await redis.zcard(keys.scheduled)).toBe(3);
  expect(await redis.zcard(keys.schedulesOf(neighbours[0] ?? ""))).toBe(3);
  expect((await redis.keys(keys.record("*"))).length).toBe(3);
  expect(await redis.exists(keys.user(person))).toBe(0);
});

describe("messages that are accepted while their user is being erased", () => {
  test("stay if they are scheduled: the walk over all records leaves them", async () => {
    const { redis, keys, scripts, partitions } = store;
    await schedule(person, 1);
    let later: string[] = [];
    const pausing = new PausingRunner(redis, "erase-entries.v1", async () => {
      if (later.length === 0) later = await schedule(person, 1);
    });
    await new UserEraser({ scripts: pausing, partitions, devices }).erase(person);
    expect(await readMessage(scripts, keys, later[0] ?? "")).toMatchObject({ state: "scheduled" });
    expect(await redis.zcard(keys.scheduled)).toBe(1);
  });

  test("start a new history and stay complete", async () => {
    const former = await accept(person);
    let later: Awaited<ReturnType<typeof accept>> | undefined;
    const scripts = new PausingRunner(store.redis, "erase-entries.v1", async () => {
      later ??= await accept(person, { fallback: "always", notification: '{"title":"t"}' });
    });
    const { partitions, keys } = store;
    await new UserEraser({ scripts, partitions, devices }).erase(person);
    if (later === undefined) throw new Error("none was accepted");
    expect(later.seq).toBe(1);
    expect(later.epoch).not.toBe(former.epoch);
    expect(await readMessage(store.scripts, keys, former.id)).toBeUndefined();
    expect(await readMessage(store.scripts, keys, later.id)).toMatchObject({ state: "queued" });
    expect(await store.redis.xlen(keys.inbox(person))).toBe(1);
    expect(await store.redis.xlen(keys.ready)).toBe(1);
    expect(await store.redis.xlen(keys.fallback("normal"))).toBe(1);
    expect(await store.redis.zscore(keys.due, person)).not.toBeNull();
  });
});

describe.each([
  "erase-user.v5",
  "erase-entries.v1",
  "erase-retries.v1",
  "release-device.v1",
  "remove-device.v1",
  "erase-records.v3",
] as const)("dying at %s", (name) => {
  test("leaves nothing reachable, and the next call finishes it", async () => {
    await fill(person);
    const scripts = new PausingRunner(store.redis, name, () => {
      throw new Error("killed");
    });
    const { partitions } = store;
    const dying = new UserEraser({ scripts, partitions, devices: new DevicesStore(scripts, partitions) });
    await expect(dying.erase(person)).rejects.toThrow();
    expect(await store.redis.exists(store.keys.inbox(person))).toBe(0);
    expect(await store.redis.exists(store.keys.routes(person))).toBe(0);
    expect(await store.redis.exists(store.keys.keptTopics(person))).toBe(0);
    await eraser.erase(person);
    expect(await keysThatName(person)).toEqual([store.keys.tokenGeneration(person)]);
    expect(await keysThatHold(`of-${person}`)).toEqual([]);
  });
});

test("a worker that holds their entry finds it settled, and taking it leaves nothing", async () => {
  const entry = await enter(person, '{"title":"t"}');
  await eraser.erase(person);
  expect(await store.redis.xpending(store.keys.fallback("normal"), FALLBACK_GROUP)).toEqual([
    0,
    null,
    null,
    null,
  ]);
  const settled = await settleFallback(store.scripts, entry, { outcome: "taken", channel: "c" }, how);
  expect(settled.outcome).toBe("gone");
  expect(await keysThatName(person)).toEqual([store.keys.tokenGeneration(person)]);
});

test("removes the owner record that a dead process left behind; a device registered meanwhile stays theirs", async () => {
  const { redis, partitions } = store;
  await redis.set("petrel:device-token:d_stray", `${person}\told`);
  const scripts = new PausingRunner(redis, "erase-retries.v1", () =>
    devices.register(person, { platform: "wechat", openid: "o", appid: "w" }, 1),
  );
  const nobodys = { forgetUser: async () => undefined };
  await new UserEraser({ scripts, partitions, devices: nobodys }).erase(person);
  expect(await redis.exists("petrel:device-token:d_stray")).toBe(0);
  expect((await devices.list(person)).length).toBe(1);
});

test("their broken keys do not keep it from finishing", async () => {
  await store.redis.set(store.keys.inbox(person), "no stream");
  await store.redis.set(store.keys.user(person), "no hash");
  await store.redis.hset(store.keys.record("strange"), "no", "string");
  await eraser.erase(person);
  expect(await keysThatName(person)).toEqual([store.keys.tokenGeneration(person)]);
});

/** Does something after each call of one script. */
class PausingRunner extends ScriptRunner {
  readonly #name: string;
  readonly #then: () => Promise<void> | void;

  constructor(
    redis: ConstructorParameters<typeof ScriptRunner>[0],
    name: string,
    then: () => Promise<void> | void,
  ) {
    super(redis);
    this.#name = name;
    this.#then = then;
  }

  override async run(...call: Parameters<ScriptRunner["run"]>): Promise<string> {
    const answer = await super.run(...call);
    if (call[0] === this.#name) await this.#then();
    return answer;
  }
}

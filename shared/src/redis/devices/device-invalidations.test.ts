// Tests how devices are forgotten and quarantined, on a real Redis.
// Guarantees: a device that was registered after the provider's verdict stays; everything is recorded, counted, and
// bounded; a burst takes few calls.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { createLogger } from "../../kernel/logging/logging.js";
import { tokenEndOf, type NewDevice } from "../../protocol/fallback/device.js";
import type { InvalidationOutcome } from "../../protocol/fallback/invalidation-reasons.js";
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { connectRedis, type Redis } from "../connection/connect.js";
import { deviceIdOf } from "./device-id.js";
import {
  DeviceInvalidations,
  type DeviceInvalidationsOptions,
  type Invalidation,
} from "./device-invalidations.js";
import { DevicesStore } from "./devices-store.js";
import { InvalidationsStore } from "./invalidations-store.js";
import { clusterKeys } from "../keys.js";
import type { ScriptName } from "../scripts/script-catalogue.js";
import { ScriptRunner } from "../scripts/script-runner.js";

const T0 = Date.UTC(2026, 0, 1);
const logger = createLogger({ service: "test", level: "silent" });

let store: OpenStore;
let devices: DevicesStore;
let audit: InvalidationsStore;
let counted: [InvalidationOutcome | "dropped", string, number][];
const running: DeviceInvalidations[] = [];
beforeAll(async () => {
  store = await openStore();
  store.redis.setMaxListeners(100);
});
beforeEach(async () => {
  await store.clear();
  devices = new DevicesStore(store.scripts, store.partitions);
  audit = new InvalidationsStore(store.redis, store.partitions);
  counted = [];
});
afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
});
afterAll(() => store.close());

function open(options: Partial<DeviceInvalidationsOptions> = {}): DeviceInvalidations {
  const invalidations = new DeviceInvalidations({
    scripts: store.scripts,
    partitions: store.partitions,
    logger,
    onCounted: (...one) => void counted.push(one),
    ...options,
  });
  running.push(invalidations);
  return invalidations;
}

function phone(n: number): Extract<NewDevice, { platform: "ios" }> {
  const token = n.toString(16).padStart(64, "0");
  return { platform: "ios", token, topic: "com.example.app", environment: "production" };
}

function invalid(userId: string, n: number, parts: Partial<Invalidation> = {}): Invalidation {
  return {
    userId,
    deviceId: deviceIdOf(phone(n)),
    tokenEnd: tokenEndOf(phone(n)),
    topic: "com.example.app",
    environment: "production",
    reason: "unregistered",
    registeredAtMs: T0,
    ...parts,
  };
}

/** Some of the first partition, some of the second. */
const users = ["alice", "bob", "carol", "dave", "erin", "frank"];
const userOf = (partition: number): string =>
  users.find((name) => partitionOfUser(name, 2) === partition) ?? "";

describe("a device that the provider reports as gone", () => {
  test("registered before the provider's time: removed, recorded, counted", async () => {
    await devices.register("alice", phone(1), T0);
    await devices.register("alice", phone(2), T0);
    const invalidations = open();
    invalidations.forget(invalid("alice", 1, { providerTimestampMs: T0 + 1 }));
    await invalidations.drained();
    expect((await devices.list("alice")).map(({ id }) => id)).toEqual([deviceIdOf(phone(2))]);
    expect(await store.redis.exists(clusterKeys.deviceOwner(deviceIdOf(phone(1))))).toBe(0);
    expect(counted).toEqual([["forgotten", "unregistered", 1]]);
    const { items } = await audit.list(undefined, undefined, 10);
    expect(items).toEqual([
      {
        id: expect.stringMatching(/^p\d_\d+-\d+$/),
        atMs: expect.any(Number),
        outcome: "forgotten",
        reason: "unregistered",
        userId: "alice",
        deviceId: deviceIdOf(phone(1)),
        tokenEnd: "000001",
        topic: "com.example.app",
        environment: "production",
        providerTimestampMs: T0 + 1,
        registeredAtMs: T0,
      },
    ]);
    expect(Math.abs((items[0]?.atMs ?? 0) - (await store.nowMs()))).toBeLessThan(60_000);
  });

  test.each([0, 1, 60_000])(
    "registered %i ms after the provider's time, to the millisecond: kept, recorded, counted",
    async (laterMs) => {
      await devices.register("alice", phone(1), T0 + laterMs);
      const before = await devices.list("alice");
      const invalidations = open();
      invalidations.forget(invalid("alice", 1, { providerTimestampMs: T0, reason: "expired-token" }));
      await invalidations.drained();
      expect(await devices.list("alice")).toEqual(before);
      expect(counted).toEqual([["kept", "expired-token", 1]]);
      expect((await audit.list(undefined, undefined, 10)).items).toMatchObject([
        { outcome: "kept", reason: "expired-token", registeredAtMs: T0 + laterMs },
      ]);
    },
  );

  test("registered again while the report waited: kept, though it was sent to before", async () => {
    await devices.register("alice", phone(1), T0);
    const invalidations = open({ lingerMs: 200 });
    invalidations.forget(invalid("alice", 1, { providerTimestampMs: T0 + 10 }));
    await devices.register("alice", phone(1), T0 + 20);
    await invalidations.drained();
    expect(await devices.list("alice")).toMatchObject([{ registeredAtMs: T0 + 20 }]);
  });

  test("without a provider's time: kept if registered since it was read", async () => {
    await devices.register("alice", phone(1), T0);
    await devices.register("alice", phone(2), T0 + 1);
    const invalidations = open();
    invalidations.forget(invalid("alice", 1));
    invalidations.forget(invalid("alice", 2));
    await invalidations.drained();
    expect((await devices.list("alice")).map(({ id }) => id)).toEqual([deviceIdOf(phone(2))]);
  });

  test("that is gone already, or another's by now: nothing is changed, recorded or counted", async () => {
    await devices.register("alice", phone(1), T0);
    await devices.register("bob", phone(1), T0);
    const before = await store.snapshot();
    const invalidations = open();
    invalidations.forget(invalid("alice", 1, { providerTimestampMs: T0 + 1 }));
    invalidations.forget(invalid("carol", 7, { providerTimestampMs: T0 + 1 }));
    await invalidations.drained();
    expect(await store.snapshot()).toEqual(before);
    expect(counted).toEqual([]);
  });

  test("reported twice: recorded once", async () => {
    await devices.register("alice", phone(1), T0);
    const invalidations = open();
    for (let i = 0; i < 3; i++) {
      invalidations.forget(invalid("alice", 1, { providerTimestampMs: T0 + 1 }));
    }
    await invalidations.drained();
    expect((await audit.list(undefined, undefined, 10)).items).toHaveLength(1);
    expect(counted).toEqual([["forgotten", "unregistered", 1]]);
  });

  test("and registered again right after: it exists, whatever arrives late", async () => {
    await devices.register("alice", phone(1), T0);
    let registered: Promise<void> | undefined;
    class SlowRelease extends ScriptRunner {
      override async run(...[name, keys, args]: Parameters<ScriptRunner["run"]>): Promise<string> {
        if (name === "release-device.v1") {
          registered ??= devices.register("alice", phone(1), T0 + 50);
          await registered;
        }
        return super.run(name, keys, args);
      }
    }
    const invalidations = open({ scripts: new SlowRelease(store.redis) });
    invalidations.forget(invalid("alice", 1, { providerTimestampMs: T0 + 1 }));
    await invalidations.drained();
    expect(registered).toBeDefined();
    expect(await devices.list("alice")).toMatchObject([{ registeredAtMs: T0 + 50 }]);
  });
});

describe("a device in quarantine", () => {
  test("stays, shows its end, and is recorded and counted; registering it ends that", async () => {
    await devices.register("alice", phone(1), T0);
    const invalidations = open();
    invalidations.quarantine(invalid("alice", 1, { reason: "bad-device-token" }), T0 + 500);
    await invalidations.drained();
    expect(await devices.list("alice")).toMatchObject([
      { registeredAtMs: T0, lastSeenAtMs: T0, quarantinedUntilMs: T0 + 500 },
    ]);
    expect(counted).toEqual([["quarantined", "bad-device-token", 1]]);
    expect((await audit.list(undefined, undefined, 10)).items).toMatchObject([{ outcome: "quarantined" }]);
    await devices.register("alice", phone(1), T0 + 1);
    expect((await devices.list("alice"))[0]).not.toHaveProperty("quarantinedUntilMs");
  });

  test("is not quarantined if it was registered again since it was read", async () => {
    await devices.register("alice", phone(1), T0 + 1);
    const invalidations = open();
    invalidations.quarantine(invalid("alice", 1, { reason: "bad-device-token" }), T0 + 500);
    await invalidations.drained();
    expect((await devices.list("alice"))[0]).not.toHaveProperty("quarantinedUntilMs");
    expect(counted).toEqual([["kept", "bad-device-token", 1]]);
  });
});

describe("many at once", () => {
  const count = sized(5_000, 1_000);

  test(`${count} in one burst: removed in a few calls, recorded and counted, while others are answered`, async () => {
    const names = Array.from({ length: count }, (_, n) => `u${n}`);
    await Promise.all(names.map((userId, n) => devices.register(userId, phone(n), T0)));
    const calls: ScriptName[] = [];
    class CountingRunner extends ScriptRunner {
      override run(...[name, keys, args]: Parameters<ScriptRunner["run"]>): Promise<string> {
        calls.push(name);
        return super.run(name, keys, args);
      }
    }
    const invalidations = open({ scripts: new CountingRunner(store.redis) });
    const startMs = performance.now();
    for (const [n, userId] of names.entries()) {
      invalidations.forget(invalid(userId, n, { providerTimestampMs: T0 + 1 }));
    }
    const queuedMs = performance.now() - startMs;
    let longestMs = 0;
    let isOver = false;
    const done = invalidations.drained().then(() => (isOver = true));
    while (!isOver) {
      const askedMs = performance.now();
      await devices.list("u1");
      longestMs = Math.max(longestMs, performance.now() - askedMs);
    }
    await done;
    const tookMs = performance.now() - startMs;
    process.stdout.write(
      `${count} devices forgotten in ${tookMs.toFixed(0)} ms (${queuedMs.toFixed(1)} ms to queue them); ` +
        `the longest look-up beside it took ${longestMs.toFixed(1)} ms\n`,
    );
    expect(calls.filter((name) => name === "invalidate-devices.v2").length).toBeLessThanOrEqual(
      count / 100 + 10,
    );
    expect(counted.reduce((sum, [, , n]) => sum + n, 0)).toBe(count);
    const { items } = await audit.list("unregistered", undefined, 10_000);
    expect(new Set(items.map(({ userId }) => userId)).size).toBe(count);
    expect(await store.redis.keys("petrel:*devices:*")).toEqual([]);
    expect(await store.redis.keys("petrel:device-token:*")).toEqual([]);
  }, 60_000);

  test("beyond the bound they are dropped and counted", async () => {
    const invalidations = open({ maxWaiting: 3 });
    for (let n = 0; n < 5; n++) invalidations.forget(invalid("alice", n));
    expect(counted).toEqual([
      ["dropped", "unregistered", 1],
      ["dropped", "unregistered", 1],
    ]);
    await invalidations.drained();
    await devices.register("alice", phone(1), T0);
    invalidations.forget(invalid("alice", 1));
    await invalidations.drained();
    expect(await devices.list("alice")).toEqual([]);
  });

  test("a user with a broken key does not block others", async () => {
    const [a, b] = [userOf(0), users.filter((name) => partitionOfUser(name, 2) === 0)[1] ?? ""];
    await devices.register(b, phone(2), T0);
    await store.redis.set(store.keys.devices(a), "x");
    const invalidations = open();
    invalidations.forget(invalid(a, 1));
    invalidations.forget(invalid(b, 2));
    await invalidations.drained();
    expect(await devices.list(b)).toEqual([]);
  });

  test("records are bounded: the oldest are removed", async () => {
    const user = userOf(0);
    const invalidations = open({ auditCap: 3 });
    for (let n = 0; n < 5; n++) {
      await devices.register(user, phone(n), T0);
      invalidations.forget(invalid(user, n));
    }
    await invalidations.drained();
    const { items } = await audit.list(undefined, undefined, 10);
    expect(items.map(({ tokenEnd }) => tokenEnd)).toEqual(["000004", "000003", "000002"]);
  });
});

describe("if Redis does not answer", () => {
  let redis: Redis;
  beforeEach(async () => {
    redis = await connectRedis({ url: store.server.url, role: "lost", logger });
    redis.setMaxListeners(100);
  });
  afterEach(() => redis.disconnect());

  test("they wait, and are applied when it is back", async () => {
    await devices.register("alice", phone(1), T0);
    let tries = 0;
    class CountingRunner extends ScriptRunner {
      override run(...[name, keys, args]: Parameters<ScriptRunner["run"]>): Promise<string> {
        tries++;
        return super.run(name, keys, args);
      }
    }
    const invalidations = open({ scripts: new CountingRunner(redis), lingerMs: 0 });
    redis.disconnect();
    await waitFor(() => redis.status === "end", { what: "the link to end" });
    invalidations.forget(invalid("alice", 1));
    await waitFor(() => tries > 1, { what: "a second try" });
    await redis.connect();
    await waitFor(async () => (await devices.list("alice")).length === 0, { what: "the device to go" });
    await invalidations.drained();
    expect(counted).toEqual([["forgotten", "unregistered", 1]]);
  });

  test("a stop does not wait for it", async () => {
    const invalidations = open({ scripts: new ScriptRunner(redis) });
    redis.disconnect();
    await waitFor(() => redis.status === "end", { what: "the link to end" });
    invalidations.forget(invalid("alice", 1));
    await invalidations.stop();
    expect(counted).toEqual([]);
  });
});

describe("the records", () => {
  test("are listed page by page, newest first, over all partitions; filtered by reason if requested", async () => {
    const invalidations = open();
    const reasons = ["unregistered", "expired-token"] as const;
    for (let n = 0; n < 30; n++) {
      const userId = users[n % users.length] ?? "";
      await devices.register(userId, phone(n), T0);
      invalidations.forget(invalid(userId, n, { reason: reasons[n % 2] ?? "unregistered" }));
      if (n % 7 === 0) await invalidations.drained();
    }
    await invalidations.drained();
    for (const reason of [undefined, ...reasons]) {
      const seen: string[] = [];
      let after: string | undefined;
      do {
        const page = await audit.list(reason, after, 4);
        expect(page.items.length).toBeLessThanOrEqual(4);
        expect(page.items.every((item) => reason === undefined || item.reason === reason)).toBe(true);
        seen.push(...page.items.map(({ id }) => id));
        after = page.nextAfter;
      } while (after !== undefined);
      const { items } = await audit.list(reason, undefined, 1_000);
      expect(seen).toEqual(items.map(({ id }) => id));
      expect(new Set(seen).size).toBe(reason === undefined ? 30 : 15);
      expect(items.map(({ atMs }) => atMs)).toEqual(items.map(({ atMs }) => atMs).sort((a, b) => b - a));
    }
  });

  test("are empty at first", async () => {
    expect(await audit.list(undefined, undefined, 10)).toEqual({ items: [], nextAfter: undefined });
  });
});

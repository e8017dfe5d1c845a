// Tests that devices move between users as a simple model says, in any order, and on a real Redis Cluster.
// Guarantees: after each step every device is listed for the user whom the model says, and for nobody else. With
// concurrent steps it is listed for at most one user, and for exactly one where all steps were registrations.
import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { createLogger } from "../../kernel/logging/logging.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { startRedisCluster } from "../../testing/redis/start-redis-cluster.js";
import { waitFor } from "../../testing/wait-for.js";
import { pingRedis } from "../connection/cluster-nodes.js";
import { connectRedis } from "../connection/connect.js";
import { deviceIdOf } from "./device-id.js";
import { DeviceInvalidations, type Invalidation } from "./device-invalidations.js";
import { DevicesStore } from "./devices-store.js";
import { allPartitionKeys } from "../keys.js";
import { readRedisTarget } from "../connection/redis-target.js";
import { ScriptRunner } from "../scripts/script-runner.js";

const logger = createLogger({ service: "test", level: "silent" });
const USERS = ["alice", "bob", "carol"] as const;
const DEVICES = 3;
const MAX_PER_USER = 2;

type Step =
  | { readonly does: "register" | "remove" | "dead"; readonly user: number; readonly device: number }
  | { readonly does: "forget"; readonly user: number };

let store: OpenStore;
beforeAll(async () => {
  store = await openStore();
});
beforeEach(() => store.clear());
afterAll(() => store.close());

const phone = (n: number) =>
  ({ platform: "ios", token: String(n).repeat(64), topic: "t", environment: "production" }) as const;
const idOf = (n: number): string => deviceIdOf(phone(n));
const userOf = (n: number): string => USERS[n] ?? "";

const aUser = fc.integer({ min: 0, max: USERS.length - 1 });
const aDevice = fc.integer({ min: 0, max: DEVICES - 1 });
const aRegistration = fc.record({ does: fc.constant("register" as const), user: aUser, device: aDevice });
const aStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: aRegistration },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constantFrom("remove" as const, "dead" as const),
      user: aUser,
      device: aDevice,
    }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("forget" as const), user: aUser }) },
);

function invalidation(user: number, device: number, atMs: number): Invalidation {
  return {
    userId: userOf(user),
    deviceId: idOf(device),
    tokenEnd: "000000",
    topic: "t",
    environment: "production",
    reason: "unregistered",
    registeredAtMs: 0,
    providerTimestampMs: atMs,
  };
}

/** device -> its user, and since when */
class Model {
  readonly owners = new Map<number, { readonly user: number; readonly atMs: number }>();

  apply(step: Step, atMs: number): void {
    if (step.does === "forget") {
      for (const [device, { user }] of this.owners) if (user === step.user) this.owners.delete(device);
    } else if (step.does === "register") {
      this.owners.set(step.device, { user: step.user, atMs });
      const own = [...this.owners].filter(([, { user }]) => user === step.user);
      own.sort(([, a], [, b]) => a.atMs - b.atMs);
      for (const [device] of own.slice(0, Math.max(0, own.length - MAX_PER_USER))) this.owners.delete(device);
    } else if (this.owners.get(step.device)?.user === step.user) {
      this.owners.delete(step.device);
    }
  }
}

async function run(
  of: { devices: DevicesStore; invalidations: DeviceInvalidations },
  step: Step,
  atMs: number,
) {
  const { devices, invalidations } = of;
  if (step.does === "forget") return devices.forgetUser(userOf(step.user));
  if (step.does === "register") return devices.register(userOf(step.user), phone(step.device), atMs);
  if (step.does === "remove") return devices.remove(userOf(step.user), idOf(step.device));
  invalidations.forget(invalidation(step.user, step.device, atMs));
  return invalidations.drained();
}

function open(scripts: ScriptRunner, partitions = store.partitions, maxPerUser = MAX_PER_USER) {
  return {
    devices: new DevicesStore(scripts, partitions, { maxPerUser }),
    invalidations: new DeviceInvalidations({ scripts, partitions, logger, lingerMs: 0 }),
  };
}

/** device id -> users to whom it is listed */
async function readOwners(devices: DevicesStore): Promise<Map<string, string[]>> {
  const owners = new Map<string, string[]>();
  const lists = await Promise.all(USERS.map((user) => devices.list(user)));
  for (const [i, user] of USERS.entries()) {
    for (const { id } of lists[i] ?? []) owners.set(id, [...(owners.get(id) ?? []), user]);
  }
  return owners;
}

test("step by step: each device belongs to whom the model says", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(aStep, { maxLength: 25 }), async (steps) => {
      await store.redis.flushall();
      const real = open(store.scripts);
      const model = new Model();
      for (const [i, step] of steps.entries()) {
        await run(real, step, i + 1);
        model.apply(step, i + 1);
        const expected = [...model.owners].map(
          ([device, { user }]) => [idOf(device), [userOf(user)]] as const,
        );
        expect(await readOwners(real.devices)).toEqual(new Map(expected));
      }
      // Nothing is left of a removed device: neither an entry nor an owner.
      const keys = await store.redis.keys("petrel:device-token:*");
      expect(keys).toHaveLength(model.owners.size);
    }),
    { numRuns: sized(100, 40) },
  );
}, 60_000);

test("concurrently: nobody sees another's device, and what is registered last, alone, exists", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(aStep, { minLength: 2, maxLength: 6 }), { minLength: 1, maxLength: 4 }),
      aUser,
      async (rounds, last) => {
        await store.redis.flushall();
        const real = open(store.scripts);
        for (const [i, steps] of rounds.entries()) {
          await Promise.all(steps.map((step) => run(real, step, i + 1)));
          for (const users of (await readOwners(real.devices)).values()) expect(users).toHaveLength(1);
        }
        await run(real, { does: "register", user: last, device: 0 }, rounds.length + 1);
        expect((await readOwners(real.devices)).get(idOf(0))).toEqual([userOf(last)]);
      },
    ),
    { numRuns: sized(100, 40) },
  );
}, 60_000);

test("concurrent registrations: each device belongs to somebody in the end", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(aRegistration, { minLength: 2, maxLength: 10 }), async (steps) => {
      await store.redis.flushall();
      const real = open(store.scripts, store.partitions, DEVICES);
      await Promise.all(steps.map((step, i) => run(real, step, i + 1)));
      const owners = await readOwners(real.devices);
      expect(new Set(owners.keys())).toEqual(new Set(steps.map(({ device }) => idOf(device))));
      for (const users of owners.values()) expect(users).toHaveLength(1);
    }),
    { numRuns: sized(100, 40) },
  );
}, 60_000);

test("more than the limit, registered at once by the same user: all are answered, and the limit's number remain", async () => {
  const real = open(store.scripts);
  await Promise.all(
    Array.from({ length: 9 }, (_, n) => run(real, { does: "register", user: 0, device: n }, 1)),
  );
  expect(await real.devices.list(userOf(0))).toHaveLength(MAX_PER_USER);
  expect(await store.redis.keys("petrel:device-token:*")).toHaveLength(MAX_PER_USER);
});

test("works on a Redis Cluster, where users and devices are on different masters", async () => {
  const cluster = await startRedisCluster({ replicas: 0 });
  const { REDIS_CLUSTER: redisCluster, REDIS_URL: redisUrl } = cluster.environment;
  const redis = await connectRedis({
    target: readRedisTarget({ redisUrl, redisCluster }),
    role: "test",
    logger,
  });
  try {
    await waitFor(() => pingRedis(redis).then(() => true), { what: "the links to all masters" });
    const users = Array.from({ length: 12 }, (_, i) => `u${i}`);
    const { devices, invalidations } = open(new ScriptRunner(redis), allPartitionKeys(8), 20);
    for (let n = 0; n < 9; n++) {
      await Promise.all(users.map((user, i) => devices.register(user, phone(n), i + 1)));
    }
    const listed = await Promise.all(users.map((user) => devices.list(user)));
    expect(listed.flat()).toHaveLength(9);
    expect(new Set(listed.flat().map(({ id }) => id)).size).toBe(9);
    for (const [i, ofUser] of listed.entries()) {
      for (const { id } of ofUser) {
        const about = { ...invalidation(0, 0, 1_000), userId: users[i] ?? "", deviceId: id };
        invalidations.forget(about);
      }
    }
    await invalidations.drained();
    expect((await Promise.all(users.map((user) => devices.list(user)))).flat()).toEqual([]);
  } finally {
    redis.disconnect();
    await cluster.stop();
  }
}, 60_000);

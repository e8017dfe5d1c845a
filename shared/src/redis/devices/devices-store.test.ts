// Tests where a user's devices are kept, on a real Redis.
// Guarantees: checks each sentence of docs/phones/devices.md about registering, moving, listing and removing.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { tokenEndOf, type NewDevice } from "../../protocol/fallback/device.js";
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { connectRedis } from "../connection/connect.js";
import { deviceIdOf } from "./device-id.js";
import { OWNER_KEEP_MS } from "./device-owners.js";
import { DevicesStore } from "./devices-store.js";
import { clusterKeys } from "../keys.js";
import type { ScriptName } from "../scripts/script-catalogue.js";
import { ScriptRunner } from "../scripts/script-runner.js";

const DAY_MS = 86_400_000;
const T0 = Date.UTC(2026, 0, 1);

let store: OpenStore;
let devices: DevicesStore;
beforeAll(async () => {
  store = await openStore();
  // Each runner listens to the connection.
  store.redis.setMaxListeners(100);
});
beforeEach(async () => {
  await store.clear();
  devices = new DevicesStore(store.scripts, store.partitions);
});
afterAll(() => store.close());

function phone(n: number, parts: Partial<Extract<NewDevice, { platform: "ios" }>> = {}) {
  const token = n.toString(16).padStart(64, "0");
  return { platform: "ios", token, topic: "com.example.app", environment: "production", ...parts } as const;
}
const phoneId = (n: number): string => deviceIdOf(phone(n));
const idsOf = async (userId: string, of = devices) => (await of.list(userId)).map(({ id }) => id);
const devicesKey = (userId: string): string =>
  store.partitions[partitionOfUser(userId, 2)]?.devices(userId) ?? "";

describe("registering", () => {
  test("a device is listed as it was given, the token in lower case", async () => {
    const token = "AB".repeat(40);
    await devices.register("alice", phone(1, { token, environment: "sandbox" }), T0);
    await devices.register("alice", { platform: "wechat", openid: "o-1", appid: "wx1" }, T0 + 1);
    const listed = await devices.list("alice");
    const ios = phone(1, { token: token.toLowerCase(), environment: "sandbox" });
    expect(listed).toHaveLength(2);
    expect(listed).toContainEqual({ ...ios, id: deviceIdOf(ios), registeredAtMs: T0, lastSeenAtMs: T0 });
    expect(listed).toContainEqual({
      platform: "wechat",
      id: expect.stringMatching(/^d_[A-Za-z0-9_-]{16}$/),
      openid: "o-1",
      appid: "wx1",
      registeredAtMs: T0 + 1,
      lastSeenAtMs: T0 + 1,
    });
    expect(listed.map(tokenEndOf).sort()).toEqual(["ababab", "o-1"]);
  });

  test("again: the same device, and its times are renewed", async () => {
    await devices.register("alice", phone(1), T0);
    await devices.register("alice", phone(1, { token: phone(1).token.toUpperCase() }), T0 + 5);
    expect(await devices.list("alice")).toMatchObject([{ registeredAtMs: T0 + 5, lastSeenAtMs: T0 + 5 }]);
  });

  test("the same token of another app, or in the other environment, is another device", async () => {
    await devices.register("alice", phone(1), T0);
    await devices.register("alice", phone(1, { topic: "com.example.other" }), T0);
    await devices.register("bob", phone(1, { environment: "sandbox" }), T0);
    expect(await devices.list("alice")).toHaveLength(2);
    expect(await devices.list("bob")).toHaveLength(1);
  });

  test("keeps at most twenty: removes those not seen for longest, never the new one", async () => {
    for (let n = 1; n <= 20; n++) await devices.register("alice", phone(n), T0 + n);
    await devices.touch("alice", phoneId(1), T0 + 2 * DAY_MS);
    // By a clock that is behind.
    await devices.register("alice", phone(21), T0);
    const ids = await idsOf("alice");
    expect(ids).toHaveLength(20);
    expect(ids).toContain(phoneId(1));
    expect(ids).not.toContain(phoneId(2));
    expect(ids).toContain(phoneId(21));
    // An evicted device has no owner, and anybody can register it.
    expect(await store.redis.exists(clusterKeys.deviceOwner(phoneId(2)))).toBe(0);
    await devices.register("bob", phone(2), T0);
    expect(await idsOf("bob")).toEqual([phoneId(2)]);
  });

  test("expires its key one day, later than any sweep; being seen postpones that", async () => {
    await devices.register("alice", phone(1), T0);
    const owner = clusterKeys.deviceOwner(phoneId(1));
    expect(await store.redis.pttl(owner)).toBeGreaterThan(OWNER_KEEP_MS - 60_000);
    await store.redis.pexpire(owner, 60_000);
    await devices.touch("alice", phoneId(1), T0 + 2 * DAY_MS);
    expect(await store.redis.pttl(owner)).toBeGreaterThan(OWNER_KEEP_MS - 60_000);
  });
});

describe("a device that moves to another user", () => {
  test("leaves the first, and nothing of it stays there", async () => {
    await devices.register("alice", phone(1), T0);
    await devices.register("bob", phone(1), T0 + 1);
    expect(await idsOf("alice")).toEqual([]);
    expect(await devices.list("bob")).toMatchObject([{ registeredAtMs: T0 + 1 }]);
    expect(await store.redis.hlen(devicesKey("alice"))).toBe(0);
    expect(await devices.remove("alice", phoneId(1))).toBe(false);
    expect(await idsOf("bob")).toEqual([phoneId(1)]);
  });

  test("can move back", async () => {
    for (const userId of ["alice", "bob", "alice", "bob", "alice"]) {
      await devices.register(userId, phone(1), T0);
      expect(await idsOf(userId)).toEqual([phoneId(1)]);
      expect(await idsOf(userId === "alice" ? "bob" : "alice")).toEqual([]);
    }
  });
});

/** Stops, as a killed process does, before the n-th call of a script. */
class DyingRunner extends ScriptRunner {
  readonly #dieBefore: ScriptName;

  constructor(dieBefore: ScriptName) {
    super(store.redis);
    this.#dieBefore = dieBefore;
  }

  override run(...[name, keys, args]: Parameters<ScriptRunner["run"]>): Promise<string> {
    if (name === this.#dieBefore) return Promise.reject(new Error("dead"));
    return super.run(name, keys, args);
  }
}

describe("a process that dies while a device moves from alice to bob", () => {
  async function move(dieBefore: ScriptName): Promise<void> {
    await devices.register("alice", phone(1), T0);
    const dying = new DevicesStore(new DyingRunner(dieBefore), store.partitions);
    await dying.register("bob", phone(1), T0 + 1).catch(() => undefined);
  }

  test.each(["register-device.v2", "claim-device.v1"] as const)(
    "before %s: it stays alice's, as it was",
    async (dieBefore) => {
      await move(dieBefore);
      expect(await devices.list("alice")).toMatchObject([{ id: phoneId(1), registeredAtMs: T0 }]);
      expect(await idsOf("bob")).toEqual([]);
    },
  );

  test("before the cleanup: it is bob's, and alice cannot reach it", async () => {
    await move("remove-device.v1");
    expect(await idsOf("alice")).toEqual([]);
    expect(await devices.remove("alice", phoneId(1))).toBe(false);
    expect(await idsOf("bob")).toEqual([phoneId(1)]);
  });

  test.each(["register-device.v2", "claim-device.v1", "remove-device.v1"] as const)(
    "before %s: whoever registers it next has it",
    async (dieBefore) => {
      for (const next of ["alice", "bob", "carol"]) {
        await store.clear();
        await move(dieBefore);
        await devices.register(next, phone(1), T0 + 2);
        for (const userId of ["alice", "bob", "carol"]) {
          expect(await idsOf(userId)).toEqual(userId === next ? [phoneId(1)] : []);
        }
      }
    },
  );
});

/** Does something else right before a call of a script, once. */
class InterruptedRunner extends ScriptRunner {
  readonly #at: ScriptName;
  #then: (() => Promise<unknown>) | undefined;

  constructor(at: ScriptName, then: () => Promise<unknown>) {
    super(store.redis);
    this.#at = at;
    this.#then = then;
  }

  override async run(...[name, keys, args]: Parameters<ScriptRunner["run"]>): Promise<string> {
    const then = name === this.#at ? this.#then : undefined;
    if (then !== undefined) {
      this.#then = undefined;
      await then();
    }
    return super.run(name, keys, args);
  }
}

describe("what happens between the steps of a registration", () => {
  const register = (userId: string, at: ScriptName, then: () => Promise<unknown>): Promise<void> =>
    new DevicesStore(new InterruptedRunner(at, then), store.partitions).register(userId, phone(1), T0 + 9);

  test("another user's: each was answered, one has it, and that one can be reached", async () => {
    for (const at of ["register-device.v2", "claim-device.v1", "remove-device.v1"] as const) {
      await store.clear();
      await devices.register("alice", phone(1), T0);
      await register("bob", at, () => devices.register("alice", phone(1), T0 + 5));
      const both = [await idsOf("alice"), await idsOf("bob")];
      expect(both.flat(), at).toEqual([phoneId(1)]);
    }
  });

  test("its removal from the former user: the former's newer registration stays", async () => {
    await devices.register("alice", phone(1), T0);
    await register("bob", "remove-device.v1", () => devices.register("alice", phone(1), T0 + 5));
    // Alice came last.
    expect(await idsOf("alice")).toEqual([phoneId(1)]);
    expect(await idsOf("bob")).toEqual([]);
  });

  test.each(["register-device.v2", "claim-device.v1"] as const)(
    "before %s a removal of the same user: it is registered in the end",
    async (at) => {
      await devices.register("alice", phone(1), T0);
      await register("alice", at, () => devices.remove("alice", phoneId(1)));
      expect(await idsOf("alice")).toEqual([phoneId(1)]);
    },
  );

  test("the user is erased: it is registered in the end, not half of it", async () => {
    await register("alice", "claim-device.v1", () => devices.forgetUser("alice"));
    expect(await idsOf("alice")).toEqual([phoneId(1)]);
  });

  test("the maximum of others: it was one too many, and pushes none of them out in turn", async () => {
    const one = { maxPerUser: 1 };
    const other = new DevicesStore(store.scripts, store.partitions, one);
    const runner = new InterruptedRunner("claim-device.v1", () => other.register("alice", phone(2), T0 + 9));
    await new DevicesStore(runner, store.partitions, one).register("alice", phone(1), T0 + 9);
    expect(await idsOf("alice")).toEqual([phoneId(2)]);
    expect(await store.redis.exists(clusterKeys.deviceOwner(phoneId(1)))).toBe(0);
  });

  test("a removal interrupted by a registration does not remove the registration", async () => {
    await devices.register("alice", phone(1), T0);
    const removing = new DevicesStore(
      new InterruptedRunner("release-device.v1", () => devices.register("alice", phone(1), T0 + 1)),
      store.partitions,
    );
    expect(await removing.remove("alice", phoneId(1))).toBe(true);
    expect(await devices.list("alice")).toMatchObject([{ registeredAtMs: T0 + 1 }]);
  });

  test("a claim carried out late changes nothing that came after it", async () => {
    const late: (() => Promise<unknown>)[] = [];
    class LateRunner extends ScriptRunner {
      override async run(...[name, keys, args]: Parameters<ScriptRunner["run"]>): Promise<string> {
        if (name !== "claim-device.v1") return super.run(name, keys, args);
        const answer = await super.run(name, keys, args);
        late.push(() => super.run(name, keys, args));
        return answer;
      }
    }
    await new DevicesStore(new LateRunner(store.redis), store.partitions).register("alice", phone(1), T0);
    await devices.register("bob", phone(1), T0 + 1);
    for (const call of late) await call();
    expect(await idsOf("bob")).toEqual([phoneId(1)]);
    expect(await idsOf("alice")).toEqual([]);
  });
});

test("many users that register the same device at once: all are answered, one has it", async () => {
  const users = Array.from({ length: 8 }, (_, i) => `u${i}`);
  await Promise.all(users.map((userId, i) => devices.register(userId, phone(1), T0 + i)));
  const lists = await Promise.all(users.map((userId) => idsOf(userId)));
  expect(lists.flat()).toEqual([phoneId(1)]);
});

describe("removing", () => {
  test("works once; what is missing, or another's, is not removed", async () => {
    await devices.register("alice", phone(1), T0);
    expect(await devices.remove("bob", phoneId(1))).toBe(false);
    expect(await devices.remove("alice", phoneId(2))).toBe(false);
    expect(await devices.remove("alice", phoneId(1))).toBe(true);
    expect(await devices.remove("alice", phoneId(1))).toBe(false);
    expect(await idsOf("alice")).toEqual([]);
    expect(await store.snapshot()).toEqual({});
  });

  test("erasing a user leaves nothing of theirs, and everything of the others", async () => {
    for (let n = 1; n <= 3; n++) await devices.register("alice", phone(n), T0);
    await devices.register("bob", phone(4), T0);
    const bobs = await store.snapshot();
    await devices.forgetUser("alice");
    await devices.forgetUser("nobody");
    expect(await idsOf("alice")).toEqual([]);
    expect(await idsOf("bob")).toEqual([phoneId(4)]);
    const left = await store.snapshot();
    expect(Object.keys(left)).toEqual(
      Object.keys(bobs).filter((key) => key === devicesKey("bob") || key.endsWith(phoneId(4))),
    );
  });
});

describe("being seen", () => {
  test("is recorded once a day, and changes nothing else", async () => {
    await devices.register("alice", phone(1), T0);
    await devices.touch("alice", phoneId(1), T0 + DAY_MS - 1);
    expect(await devices.list("alice")).toMatchObject([{ lastSeenAtMs: T0 }]);
    await devices.touch("alice", phoneId(1), T0 + DAY_MS);
    expect(await devices.list("alice")).toMatchObject([{ lastSeenAtMs: T0 + DAY_MS, registeredAtMs: T0 }]);
  });

  test("costs no call if this process knows that it was seen lately", async () => {
    const calls: ScriptName[] = [];
    class CountingRunner extends ScriptRunner {
      override run(...[name, keys, args]: Parameters<ScriptRunner["run"]>): Promise<string> {
        calls.push(name);
        return super.run(name, keys, args);
      }
    }
    const counted = new DevicesStore(new CountingRunner(store.redis), store.partitions);
    await devices.register("alice", phone(1), T0);
    await devices.touch("alice", phoneId(1), T0);
    await counted.list("alice");
    for (let i = 0; i < 10; i++) await counted.touch("alice", phoneId(1), T0 + i);
    expect(calls).toEqual([]);
    await Promise.all([1, 2, 3].map((i) => counted.touch("alice", phoneId(1), T0 + DAY_MS + i)));
    expect(calls).toEqual(["touch-device.v2"]);
  });

  test("for the first time is recorded at once, and is known after the device was registered again", async () => {
    const isTaken = async () => (await devices.list("alice")).map((device) => "isTaken" in device);
    await devices.register("alice", phone(1), T0);
    expect(await isTaken()).toEqual([false]);
    await devices.touch("alice", phoneId(1), T0 + 1);
    expect(await isTaken()).toEqual([true]);
    await devices.register("alice", phone(1), T0 + 2);
    expect(await isTaken()).toEqual([true]);
    const [device] = await devices.list("alice");
    expect(device).toMatchObject({
      topic: "com.example.app",
      environment: "production",
      registeredAtMs: T0 + 2,
    });
  });

  test("is known of a device that the last release has touched: seen later than registered", async () => {
    await devices.register("alice", phone(1), T0);
    const text = (await store.redis.hget(devicesKey("alice"), phoneId(1))) ?? "";
    const [, , ...rest] = text.split("\t");
    await store.redis.hset(devicesKey("alice"), phoneId(1), [T0, T0 + DAY_MS, ...rest].join("\t"));
    expect(await devices.list("alice")).toMatchObject([{ isTaken: true }]);
    await devices.register("alice", phone(1), T0 + 2 * DAY_MS);
    expect(await devices.list("alice")).toMatchObject([{ isTaken: true }]);
  });

  test("of a removed device does not bring it back", async () => {
    await devices.register("alice", phone(1), T0);
    await devices.remove("alice", phoneId(1));
    await devices.touch("alice", phoneId(1), T0 + 2 * DAY_MS);
    expect(await store.snapshot()).toEqual({});
  });
});

test("if Redis does not answer: PETREL_UNAVAILABLE", async () => {
  const logger = createLogger({ service: "test", level: "silent" });
  const redis = await connectRedis({ url: store.server.url, role: "lost", logger });
  const lost = new DevicesStore(new ScriptRunner(redis), store.partitions);
  redis.disconnect();
  for (const call of [
    () => lost.register("alice", phone(1), T0),
    () => lost.list("alice"),
    () => lost.remove("alice", phoneId(1)),
    () => lost.touch("alice", phoneId(1), T0),
    () => lost.forgetUser("alice"),
  ]) {
    await expect(call()).rejects.toMatchObject({ code: "PETREL_UNAVAILABLE" });
  }
});

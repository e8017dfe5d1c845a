// Tests the rules for every call of a script by its typed caller.
// Guarantees: all keys are declared and share one hash tag, so each call works on a Redis Cluster; answers are strings,
// which read the same in every protocol version.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { callEverything } from "../../testing/script-calls/call-everything.js";
import { type Call, NotingRunner } from "../../testing/script-calls/noting-runner.js";
import { waitFor } from "../../testing/wait-for.js";
import { partitionKeys } from "../keys.js";
import { ownSlotScripts, scriptNames } from "./script-catalogue.js";

/** https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags */
function hashTag(key: string): string {
  return /\{([^}]+)\}/.exec(key)?.[1] ?? key;
}

describe("every call", () => {
  let store: OpenStore;
  let calls: readonly Call[];
  beforeAll(async () => {
    store = await openStore();
    const scripts = new NotingRunner(store.redis);
    await callEverything(scripts, 2);
    calls = scripts.calls;
  });
  afterAll(() => store.close());

  test("covers every script", () => {
    expect(new Set(calls.map(({ name }) => name))).toEqual(new Set(scriptNames));
  });

  test("has only keys of one hash tag, its partition's; or keys in slots of their own", () => {
    for (const { name, keys } of calls) {
      if (ownSlotScripts.includes(name)) {
        expect(new Set(keys.map(hashTag)).size, name).toBe(1);
        for (const key of keys) expect(hashTag(key), name).not.toMatch(/^p\d+$/);
        continue;
      }
      expect(keys.length, name).toBeGreaterThan(0);
      for (const key of keys) expect(hashTag(key), `${name}: ${key}`).toBe("p2");
    }
  });

  test("has no key among its arguments", () => {
    for (const { name, args } of calls) {
      // A channel is not a key; its name begins as keys do, so that it lies in the same slot.
      const { channel, control, topicChannel } = partitionKeys(2);
      const channels: readonly unknown[] = [channel, control, topicChannel];
      const keyLike = args.filter((arg) => String(arg).includes("petrel:") && !channels.includes(arg));
      expect(keyLike, name).toEqual([]);
    }
  });

  test("answers a string, or a flat list of strings", () => {
    for (const { name, answer } of calls) {
      const all: unknown[] = Array.isArray(answer) ? answer : [answer];
      expect(
        all.map((one) => typeof one),
        name,
      ).toEqual(all.map(() => "string"));
    }
  });
});

describe("on a Redis Cluster", () => {
  let store: OpenStore;
  beforeAll(async () => {
    store = await openStore({
      extraArgs: ["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"],
    });
    await store.redis.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
    await waitFor(
      async () => String(await store.redis.call("CLUSTER", "INFO")).includes("cluster_state:ok"),
      {
        what: "the cluster",
      },
    );
  });
  beforeEach(() => store.clear());
  afterAll(() => store.close());

  test("keys of two partitions in one call are refused: the server does check", async () => {
    const { scripts, redis } = store;
    await expect(
      scripts.run("read-routes.v1", [partitionKeys(0).routes("u"), partitionKeys(1).routes("u")], []),
    ).rejects.toThrow(/CROSSSLOT/);
    expect(await redis.dbsize()).toBe(0);
  });

  test.each([0, 1, 2])("every call is accepted, for partition %i", async (partition) => {
    const scripts = new NotingRunner(store.redis);
    await callEverything(scripts, partition);
    expect(new Set(scripts.calls.map(({ name }) => name))).toEqual(new Set(scriptNames));
  });

  test("every call is accepted if no events are written", async () => {
    await callEverything(new NotingRunner(store.redis, []), 0);
    expect(await store.redis.exists(partitionKeys(0).events, partitionKeys(0).online)).toBe(0);
  });
});

// Tests the sweep of devices that were not seen for long, on a real Redis.
// Guarantees: by Redis' clock; only of partitions owned here; what is seen at the last moment stays.
import type { Loop } from "@petrel/shared/kernel/loop";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { type NewDevice, tokenEndOf } from "@petrel/shared/protocol/fallback/device";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { deviceIdOf } from "@petrel/shared/redis/devices/device-id";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { invalidateDevices } from "@petrel/shared/redis/devices/invalidate-devices";
import { InvalidationsStore } from "@petrel/shared/redis/devices/invalidations-store";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createDeviceSweeper } from "./sweep-devices.js";
import { startDispatcher, type TestDispatcher } from "../testing/start-dispatcher.js";

const DAY_MS = 86_400_000;
const KEEP_MS = 90 * DAY_MS;
const logger = createLogger({ service: "test", level: "silent" });

let store: OpenStore;
let devices: DevicesStore;
let nowMs: number;
let swept: number;
let rounds: number[];
let dispatcher: TestDispatcher | undefined;
let sweeper: Loop | undefined;
beforeAll(async () => {
  store = await openStore();
});
beforeEach(async () => {
  await store.clear();
  devices = new DevicesStore(store.scripts, store.partitions);
  nowMs = await store.nowMs();
  swept = 0;
  rounds = [];
});
afterEach(async () => {
  await sweeper?.stop();
  await dispatcher?.stop();
});
afterAll(() => store.close());

async function start(partitions = store.partitions, scripts = store.scripts): Promise<void> {
  dispatcher = await startDispatcher({ url: store.server.url, dispatcherId: "a", partitions });
  sweeper = createDeviceSweeper({
    scripts,
    owner: dispatcher.owner,
    logger,
    keepMs: KEEP_MS,
    auditCap: 1_000,
    intervalMs: 5,
    restMs: 5,
    onSwept: (count) => void (swept += count),
    onQuarantined: (count) => void rounds.push(count),
  });
  sweeper.start();
}

function phone(n: number): Extract<NewDevice, { platform: "ios" }> {
  const token = n.toString(16).padStart(64, "0");
  return { platform: "ios", token, topic: "com.example.app", environment: "sandbox" };
}
const idsOf = async (userId: string) => (await devices.list(userId)).map(({ id }) => id);

test("removes, records and counts devices not seen for this many days; the rest stay", async () => {
  const wechat = { platform: "wechat", openid: "o-123456789", appid: "wx1" } as const;
  await devices.register("alice", phone(1), nowMs - KEEP_MS - DAY_MS);
  await devices.register("alice", phone(2), nowMs - KEEP_MS + DAY_MS);
  await devices.register("bob", wechat, nowMs - KEEP_MS - DAY_MS);
  await devices.register("carol", phone(3), nowMs - KEEP_MS - DAY_MS);
  await devices.touch("carol", deviceIdOf(phone(3)), nowMs);
  await store.redis.set(store.keys.devices("broken"), "x");
  await start();
  await waitFor(() => swept === 2, { what: "two to go" });
  expect(await idsOf("alice")).toEqual([deviceIdOf(phone(2))]);
  expect(await idsOf("bob")).toEqual([]);
  expect(await idsOf("carol")).toEqual([deviceIdOf(phone(3))]);
  const { items } = await new InvalidationsStore(store.redis, store.partitions).list(
    "not-seen",
    undefined,
    9,
  );
  expect(items).toHaveLength(2);
  expect(items).toContainEqual(
    expect.objectContaining({
      outcome: "forgotten",
      userId: "alice",
      tokenEnd: tokenEndOf(phone(1)),
      topic: "com.example.app",
      environment: "sandbox",
      providerTimestampMs: undefined,
    }),
  );
  expect(items).toContainEqual(
    expect.objectContaining({ userId: "bob", tokenEnd: "456789", topic: "wx1", environment: undefined }),
  );
});

test("keeps a device seen between the check and the removal", async () => {
  await devices.register("alice", phone(1), nowMs - KEEP_MS - DAY_MS);
  let looks = 0;
  class LateRunner extends ScriptRunner {
    override async run(...[name, keys, args]: Parameters<ScriptRunner["run"]>): Promise<string> {
      if (name === "invalidate-devices.v2" && looks++ === 0) {
        await devices.touch("alice", deviceIdOf(phone(1)), nowMs);
      }
      return super.run(name, keys, args);
    }
  }
  await start(store.partitions, new LateRunner(store.redis));
  await devices.register("alice", phone(2), nowMs - KEEP_MS - DAY_MS);
  await waitFor(async () => !(await idsOf("alice")).includes(deviceIdOf(phone(2))), { what: "the other" });
  expect(looks).toBeGreaterThan(0);
  expect(await idsOf("alice")).toEqual([deviceIdOf(phone(1))]);
});

test("does not touch another dispatcher's partitions", async () => {
  const names = ["alice", "bob", "carol", "dave", "erin", "frank"];
  for (const name of names) await devices.register(name, phone(names.indexOf(name)), nowMs - 2 * KEEP_MS);
  const here = names.filter((name) => partitionOfUser(name, 2) === 0);
  expect(here.length).toBeGreaterThan(0);
  expect(here.length).toBeLessThan(names.length);
  await start(store.partitions.slice(0, 1));
  await waitFor(() => swept === here.length, { what: "those of the first partition" });
  for (const name of names) expect(await idsOf(name)).toHaveLength(here.includes(name) ? 0 : 1);
});

test("each round counts devices in quarantine by Redis' clock, without those whose time is over", async () => {
  await devices.register("alice", phone(1), nowMs);
  await devices.register("alice", phone(2), nowMs);
  await devices.register("bob", phone(3), nowMs);
  await devices.register("carol", phone(4), nowMs);
  const quarantine = (userId: string, n: number, untilMs: number) =>
    invalidateDevices(
      store.scripts,
      store.partitions[partitionOfUser(userId, store.partitions.length)] ?? store.keys,
      [
        {
          what: "quarantine",
          userId,
          deviceId: deviceIdOf(phone(n)),
          beforeMs: nowMs + DAY_MS,
          quarantinedUntilMs: untilMs,
          tokenEnd: tokenEndOf(phone(n)),
          reason: "bad-device-token",
          topic: "com.example.app",
          environment: "sandbox",
        },
      ],
      1_000,
    );
  await quarantine("alice", 1, nowMs + DAY_MS);
  await quarantine("bob", 3, nowMs + DAY_MS);
  await quarantine("carol", 4, nowMs + 1);
  await start();
  await waitFor(() => rounds.at(-1) === 2, { what: "two" });
  // Registered anew, it is in quarantine no more.
  await devices.register("bob", phone(3), nowMs + DAY_MS);
  await waitFor(() => rounds.at(-1) === 1, { what: "one" });
});

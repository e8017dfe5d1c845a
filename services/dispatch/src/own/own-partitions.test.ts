// Tests taking, keeping and giving back partitions, with several dispatchers.
// Guarantees: on a real Redis; a crash is a cut connection, a suspension is a clock moved forward.
import { allPartitionKeys, clusterKeys } from "@petrel/shared/redis/keys";
import { renewMembership } from "@petrel/shared/redis/partitions/dispatcher-members";
import { readPartitionOwners, takePartition } from "@petrel/shared/redis/partitions/partition-lease";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { startDispatcher, type TestDispatcher } from "../testing/start-dispatcher.js";

const partitions = allPartitionKeys(4);
const LEASE_MS = 600;

let store: OpenStore;
const running: TestDispatcher[] = [];
beforeAll(async () => {
  store = await openStore();
});
afterEach(async () => {
  await store.redis.config("SET", "maxmemory", "0");
  await Promise.all(running.splice(0).map((dispatcher) => dispatcher.stop()));
  await store.clear();
});
afterAll(() => store.close());

async function start(dispatcherId: string, leaseMs = LEASE_MS): Promise<TestDispatcher> {
  const dispatcher = await startDispatcher({ url: store.server.url, dispatcherId, partitions, leaseMs });
  running.push(dispatcher);
  return dispatcher;
}

async function owns(dispatcher: TestDispatcher, expected: number[], deadlineMs = 5_000): Promise<number> {
  const since = performance.now();
  await waitFor(() => JSON.stringify(dispatcher.owned()) === JSON.stringify(expected), {
    what: `${JSON.stringify(expected)} to be owned, not ${JSON.stringify(dispatcher.owned())}`,
    deadlineMs,
    everyMs: 5,
  });
  return performance.now() - since;
}

test("one takes all; a second gets its fair share back from the first", async () => {
  const a = await start("a");
  await owns(a, [0, 1, 2, 3]);
  const b = await start("b");
  await owns(b, [1, 3]);
  await owns(a, [0, 2]);
  const owners = await readPartitionOwners(store.redis, partitions);
  expect(owners.map(({ holder }) => holder)).toEqual(["a", "b", "a", "b"]);
  expect(await a.count("petrel_dispatch_lease_losses_total")).toBe(0);
  expect(a.owner.isMember).toBe(true);
});

test("a dispatcher that waits for its partition asks more often than the common tick, so a move leaves no long gap", async () => {
  const [first] = partitions;
  if (first === undefined) throw new Error("no partition");
  const longLeaseMs = 60_000;
  expect(await takePartition(store.scripts, first, "z", longLeaseMs)).toMatchObject({ outcome: "held" });
  const a = await start("a", longLeaseMs);
  await owns(a, [1, 2, 3]);
  using asked = vi.spyOn(ScriptRunner.prototype, "run");
  const sinceMs = performance.now();
  const refused = (): number => asked.mock.calls.filter(([, , args]) => args[0] === "take").length;
  await waitFor(() => refused() >= 12, { what: "partition 0 to be asked for", deadlineMs: 60_000 });
  // Ticks are a second apart.
  expect(refused()).toBeGreaterThan(((performance.now() - sinceMs) / 1_000) * 2);
});

test("a planned stop frees partitions at once, without waiting for the lease", async () => {
  const longLeaseMs = 60_000;
  const a = await start("a", longLeaseMs);
  const b = await start("b", longLeaseMs);
  await owns(b, [1, 3]);
  await owns(a, [0, 2]);
  await b.stop();
  await owns(a, [0, 1, 2, 3], longLeaseMs / 3);
  expect(await store.redis.zrange(clusterKeys.dispatchers, "0", "-1")).toEqual(["a"]);
});

test("a crashed one's partitions are taken over when its lease is over, not before", async () => {
  const a = await start("a");
  const b = await start("b");
  await owns(b, [1, 3]);
  await owns(a, [0, 2]);
  const [, ofB] = await readPartitionOwners(store.redis, partitions);
  b.crash();
  await owns(a, [0, 1, 2, 3]);
  expect(await store.nowMs()).toBeGreaterThanOrEqual(ofB?.untilMs ?? Number.POSITIVE_INFINITY);
});

test("after a pause beyond its lease a dispatcher holds nothing until it has taken it again", async () => {
  const a = await start("a");
  await owns(a, [0, 1, 2, 3]);
  const before = a.owner.open;
  a.passTime(LEASE_MS + 1);
  expect(a.owned()).toEqual([]);
  expect(a.owner.isMember).toBe(false);
  await owns(a, [0, 1, 2, 3]);
  for (const held of before) expect(held.isHeld).toBe(false);
  const tokens = new Set([...before, ...a.owner.open].map(({ token }) => token));
  expect(tokens.size).toBe(8);
  expect(await a.count("petrel_dispatch_lease_losses_total")).toBe(4);
});

test("a refused renewal ends the work at once", async () => {
  const a = await start("a");
  await owns(a, [0, 1, 2, 3]);
  const [first] = partitions;
  if (first === undefined) throw new Error("no partition");
  // Somebody who took it when it was over, as after a clock of Redis that was set.
  await store.redis.hset(first.owner, "until", "0");
  expect(await takePartition(store.scripts, first, "z", 60_000)).toMatchObject({ outcome: "held" });
  await owns(a, [1, 2, 3]);
});

test("a partition that its member neglects is taken by another after two leases, and kept", async () => {
  const leaseMs = 1_000;
  // A member that lives and does no work: it renews its membership only.
  const renewB = () => renewMembership(store.scripts, "b", leaseMs);
  await renewB();
  const renewing = setInterval(() => void renewB(), leaseMs / 10);
  try {
    const startedAtMs = performance.now();
    const a = await start("a", leaseMs);
    await owns(a, [0, 2]);
    await owns(a, [0, 1, 2, 3], 20_000);
    expect(performance.now() - startedAtMs).toBeGreaterThan(2 * leaseMs);
    const tokens = a.owner.open.map(({ token }) => token);
    // Several looks later it has not been given back to who does nothing with it.
    const leaseEnd = (): number =>
      a.owner.open.find(({ keys }) => keys.partition === 1)?.leaseEndsAtServerMs ?? 0;
    const firstEnd = leaseEnd();
    await waitFor(() => leaseEnd() > firstEnd + 300, { what: "renewals" });
    expect(a.owner.open.map(({ token }) => token)).toEqual(tokens);
  } finally {
    clearInterval(renewing);
  }
});

test("with Redis out of memory a member stays a member and takes over a dead one's partitions", async () => {
  const a = await start("a", 1_000);
  const b = await start("b", 1_000);
  await owns(b, [1, 3]);
  await owns(a, [0, 2]);
  const tokens = (): string[] => a.owner.open.slice(0, 2).map(({ token }) => token);
  const before = tokens();
  await store.redis.config("SET", "maxmemory", "1");
  b.crash();
  await owns(a, [0, 1, 2, 3], 20_000);
  await waitFor(() => a.owner.isMember, { what: "a membership that is renewed" });
  expect(tokens()).toEqual(before);
});

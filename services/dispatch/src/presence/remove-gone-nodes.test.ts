// Tests how a gone node's users leave topics, with a whole dispatcher.
// Guarantees: on a real Redis; they are removed once the lease has ended, all of them, and no other node's; a
// dispatcher that takes over continues; while nodes may be returning nobody is removed.
import { systemClock } from "@petrel/shared/kernel/clock";
import { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { takePartition } from "@petrel/shared/redis/partitions/partition-lease";
import { readPresence } from "@petrel/shared/redis/presence/read-presence";
import { renewHolder, reportPresence } from "@petrel/shared/redis/presence/report-presence";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { HeldPartition } from "../own/held-partition.js";
import { PartitionSigns } from "../own/partition-signs.js";
import { startDispatcher, type TestDispatcher } from "../testing/start-dispatcher.js";
import { GoneNodeRemover } from "./remove-gone-nodes.js";

let store: OpenStore;
let keys: PartitionKeys;
const running: TestDispatcher[] = [];
beforeAll(async () => {
  store = await openStore();
  ({ keys } = store);
});
beforeEach(() => store.clear());
afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
});
afterAll(() => store.close());

async function start(dispatcherId: string): Promise<TestDispatcher> {
  const one = await startDispatcher({ url: store.server.url, dispatcherId, partitions: store.partitions });
  running.push(one);
  return one;
}

/** A node with so many users in each of two topics. */
async function report(node: string, users: number, leaseMs: number, partition = keys): Promise<void> {
  const holder = { node, number: 1 };
  await renewHolder(store.scripts, partition, { holder, leaseMs, begins: true });
  let version = 0;
  for (const topic of ["room.1", "room.2"]) {
    const names = Array.from({ length: users }, (_, i): [string, number] => [`u${i}`, 1]);
    for (let i = 0; i < users; i += 200) {
      const topics = [{ topic, users: names.slice(i, i + 200) }];
      await reportPresence(store.scripts, partition, {
        holder,
        version: ++version,
        former: undefined,
        topics,
      });
    }
  }
}

async function usersOf(topic: string, partition = keys): Promise<number> {
  const [found] = await readPresence(store.scripts, partition, [{ topic, wantsList: false }]);
  return found?.users ?? -1;
}

test("removes all users of a gone node in every partition, none of another; tells the topics, and counts it", async () => {
  const [, second = keys] = store.partitions;
  await report("dead", 450, 1);
  await report("alive", 3, 3_600_000);
  await report("dead", 5, 1, second);
  const heard = await store.listen(`${keys.topicChannel}room.1`);
  const a = await start("a");
  await waitFor(async () => (await usersOf("room.1")) === 3 && (await usersOf("room.2")) === 3, {
    what: "450 to go",
  });
  await waitFor(async () => (await usersOf("room.1", second)) === 0, { what: "the other partition" });
  await waitFor(async () => (await a.count("petrel_dispatch_presence_nodes_removed_total")) === 2, {
    what: "both partitions",
  });
  expect(await a.count("petrel_dispatch_presence_removed_total")).toBe(910);
  expect(heard.length).toBeGreaterThan(0);
  expect(await store.redis.keys("*dead*")).toEqual([]);
});

test("removes a node that dies later, by another dispatcher if need be", async () => {
  const first = await start("a");
  await waitFor(() => first.owned().length === 2, { what: "the partitions" });
  first.crash();
  await report("dead", 2, 1);
  await start("b");
  await waitFor(async () => (await usersOf("room.1")) === 0, { what: "the users to go" });
});

test("removes nobody while absence proves nothing, then does", async () => {
  await report("slow", 2, 1);
  const lease = await takePartition(store.scripts, keys, "a", 3_600_000);
  if (lease.outcome !== "held") throw new Error(lease.outcome);
  const term = { endsAtMs: Number.POSITIVE_INFINITY, serverUntilMs: 0 };
  const held = new HeldPartition(keys, lease.token, term, systemClock);
  let [asked, passedMs, absenceInMs] = [0, 0, 10];
  const remover = new GoneNodeRemover({
    ticks: new CommonTicks(),
    scripts: store.scripts,
    owner: { open: [held], lose: () => undefined },
    signs: new PartitionSigns(store.scripts),
    absence: {
      get rules() {
        asked++;
        return { absenceInMs, settleMs: 0 };
      },
    },
    metrics: { removed: () => undefined, nodeRemoved: () => undefined },
    clock: { monotonicMs: () => (passedMs += 1_000) },
    logger: createLogger({ service: "test", level: "silent" }),
  });
  remover.start();
  try {
    await waitFor(() => asked >= 3, { what: "three looks" });
    expect(await usersOf("room.1")).toBe(2);
    absenceInMs = 0;
    await waitFor(async () => (await usersOf("room.1")) === 0, { what: "the users to go" });
  } finally {
    await remover.stop();
  }
});

// Tests that nothing waits for a clock that was set back.
// Guarantees: a real Redis whose clock is stepped; a step of forty seconds, and deadlines of half of it.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promoteRetries } from "@petrel/shared/redis/fallback/fallback-queue";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { connectRoute } from "@petrel/shared/redis/routes/connect-routes";
import { removeRoute } from "@petrel/shared/redis/routes/route-store";
import { takeCollapseTurn } from "@petrel/shared/redis/fallback/take-collapse-turn";
import { message, openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { openShiftedClock, type ShiftedClock } from "@petrel/shared/testing/faults/shifted-clock";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, type TestContext } from "vitest";
import { startDispatcher, type TestDispatcher } from "../testing/start-dispatcher.js";

const STEP_MS = 40_000;
const DEADLINE_MS = STEP_MS / 2;
const ACK_TIMEOUT_MS = 500;
const LEASE_MS = 600;
const limits = {
  leaseMs: 60_000,
  maxConnectionsPerUser: 2,
  whenFull: "refuse",
  ackTimeoutMs: ACK_TIMEOUT_MS,
} as const;

let directory: string;
let clock: ShiftedClock | undefined;
let store: OpenStore;
let keys: PartitionKeys;
const running: TestDispatcher[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-clock-"));
  clock = await openShiftedClock(directory, process.env);
  store = await openStore({ environment: clock?.environment ?? {} });
  ({ keys } = store);
});
beforeEach(() => store.clear());
afterEach(async () => {
  for (const dispatcher of running.splice(0)) await dispatcher.stop();
});
afterAll(async () => {
  await store.close();
  await rm(directory, { recursive: true, force: true });
});

function clockOf(context: TestContext): ShiftedClock {
  return clock ?? context.skip("left out: no C compiler (`cc`) for the clock's library");
}

async function start(dispatcherId = "a"): Promise<TestDispatcher> {
  const dispatcher = await startDispatcher({
    url: store.server.url,
    dispatcherId,
    partitions: store.partitions,
    leaseMs: LEASE_MS,
    ackTimeoutMs: ACK_TIMEOUT_MS,
  });
  running.push(dispatcher);
  await waitFor(() => dispatcher.owned().length > 0, { what: "partitions" });
  return dispatcher;
}

const accept = () =>
  store
    .accepter({ ackTimeoutMs: ACK_TIMEOUT_MS })
    .accept(message({ notification: `{"title":"t","body":"b"}` }));
const offered = async (): Promise<boolean> => (await store.redis.xlen(keys.fallback("normal"))) === 1;

async function connect(connection = "c1"): Promise<string> {
  const route = { userId: "u1", node: "n1", connection, platform: "web" };
  const result = await connectRoute(store.scripts, keys, route, limits);
  return result.outcome === "connected" ? result.member : result.outcome;
}

test("moves the acknowledgement timeout: a nudged message is offered if nobody acknowledges it", async (context) => {
  const { step } = clockOf(context);
  await connect();
  const heard = await store.listen(`${keys.channel}n1`);
  await start();
  await accept();
  await waitFor(() => heard.includes("nudge\nu1"), { what: "the nudge", everyMs: 5 });
  await step(-STEP_MS);
  await waitFor(offered, { what: "the offer", deadlineMs: DEADLINE_MS });
});

test("moves the end of a grace lease: of a user with an open message, and of one who gets it later", async (context) => {
  const { step } = clockOf(context);
  await start();
  await removeRoute(store.scripts, keys, "u1", await connect(), 1_500);
  await accept();
  await step(-STEP_MS);
  await waitFor(offered, { what: "the first offer", deadlineMs: DEADLINE_MS });

  await store.clear();
  await waitFor(async () => (await store.redis.hget(keys.owner, "holder")) === "a", { what: "the owner" });
  await removeRoute(store.scripts, keys, "u1", await connect(), 1_500);
  await step(-STEP_MS);
  await accept();
  await waitFor(offered, { what: "the second offer", deadlineMs: DEADLINE_MS });
});

test("moves a retry of the fallback", async (context) => {
  const { step } = clockOf(context);
  await start();
  await store.redis.zadd(keys.retries, (await store.nowMs()) + 2_000, "1\tu1\t1\te\t1\t2\tm\ton\t{}");
  // The time is noted once a second: a step before the first note is nobody's.
  await waitFor(() => store.redis.hget(keys.generation, "at"), { what: "the note of the time" });
  await step(-STEP_MS);
  await waitFor(async () => (await promoteRetries(store.scripts, keys, 10)).promoted === 1, {
    what: "the retry",
    deadlineMs: DEADLINE_MS,
  });
});

test("moves a dead dispatcher's partitions, lease and membership", async (context) => {
  const { step } = clockOf(context);
  const dead = await start("a");
  await waitFor(() => dead.owned().length === 2, { what: "both partitions" });
  dead.crash();
  await step(-STEP_MS);
  const next = await start("b");
  await waitFor(() => next.owned().length === 2, {
    what: "the dead one's partitions",
    deadlineMs: DEADLINE_MS,
  });
});

test("moves a dead connection's slot under the limit", async (context) => {
  const { step } = clockOf(context);
  await connect("c1");
  await connect("c2");
  await step(-STEP_MS);
  expect(await connect("c3")).toBe("refused");
  const scores = await store.redis.zrange(keys.routes("u1"), "0", "-1", "WITHSCORES");
  const latestMs = (await store.nowMs()) + limits.leaseMs;
  for (const score of scores.filter((_, i) => i % 2 === 1))
    expect(Number(score)).toBeLessThanOrEqual(latestMs);
});

test("moves a dead sender's turn of a collapse key", async (context) => {
  const { step } = clockOf(context);
  const send = { userId: "u1", collapseKey: "k", epoch: "e.1", seq: 1 };
  const how = { leaseMs: 1_000, keepUntilMs: (await store.nowMs()) + 3_600_000 };
  await takeCollapseTurn(store.scripts, keys, send, { ...how, holder: "dead" });
  await step(-STEP_MS);
  await waitFor(
    async () => {
      const next = { ...how, holder: "next" };
      const { turn } = await takeCollapseTurn(store.scripts, keys, { ...send, seq: 2 }, next);
      return turn === "go";
    },
    { what: "the turn", deadlineMs: DEADLINE_MS },
  );
});

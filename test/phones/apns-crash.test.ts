// Flow: dispatchers are killed in the middle of a burst of pushes.
// Guarantees: every message reaches its phone at least once; a repeat carries the same apns-id and collapse id, so that
// the phone shows one.
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { metricOf, readState, registerPhone } from "../support/phones/cluster-with-phones.js";
import { sized } from "../support/sizes.js";

const notification = { title: "You have mail", body: "from Bob" };
/** More than both dispatchers have on their way at a time. */
const COUNT = sized(5_000, 64);
const CONCURRENCY = sized(64, 24);
/** From a request's end to its answer, so that some are always on their way. */
const LATENCY_MS = sized(200, 1_000);

let simulator: TestApnsSimulator;
let cluster: TestCluster;
beforeAll(async () => {
  simulator = await startApnsSimulator();
  cluster = await startCluster({
    together: (name) => !name.startsWith("dispatch"),
    nodes: 1,
    dispatchers: 2,
    environment: {
      ...simulator.environment,
      ACK_TIMEOUT_MS: "60000",
      LEASE_MS: "1000",
      OFFLINE_SETTLE_MS: "100",
      // On a busy machine a push that is merely slow would be sent, or claimed, again.
      APNS_TIMEOUT_MS: "6000",
      FALLBACK_CONCURRENCY: String(CONCURRENCY),
      FALLBACK_CLAIM_MS: "15000",
      FALLBACK_RETRY_BASE_MS: "50",
      FALLBACK_RETRY_CAP_MS: "200",
    },
  });
});
afterAll(async () => {
  await cluster.stop();
  await simulator.stop();
});

const tokenOf = (n: number) => n.toString(16).padStart(64, "0");
const arrivals = async () => (await simulator.apnsIds()).length;

test("killed mid-burst: each arrives at least once, repeats with the same ids", async () => {
  const users = Array.from({ length: COUNT }, (_, n) => `user${n}`);
  for (let start = 0; start < COUNT; start += 100) {
    await Promise.all(
      users.slice(start, start + 100).map((user, i) => registerPhone(cluster, user, tokenOf(start + i))),
    );
  }
  await simulator.setBehaviour({ latencyMs: LATENCY_MS });
  const ids: string[] = [];
  for (let start = 0; start < COUNT; start += 500) {
    const messages = users.slice(start, start + 500).map((user) => ({ to: { user }, data: 1, notification }));
    const answer = await cluster.post("/v1/messages/batch", { messages });
    ids.push(...(answer as { results: { id: string }[] }).results.map(({ id }) => id));
  }
  await waitFor(async () => (await arrivals()) > COUNT / 4, { what: "the middle of the burst", everyMs: 20 });
  for (const dispatcher of cluster.dispatchers) dispatcher.signal("SIGKILL");
  await Promise.all(cluster.dispatchers.map(({ exited }) => exited));
  expect(await arrivals()).toBeLessThan(COUNT);

  await simulator.setBehaviour({ latencyMs: 0 });
  const again = await Promise.all(cluster.dispatchers.map((ended) => cluster.startAgain(ended)));
  await waitFor(async () => (await arrivals()) === COUNT, {
    what: "every phone",
    deadlineMs: 120_000,
    // A claim takes as long to end as it says.
    everyMs: 500,
  });
  for (const id of ids) {
    await waitFor(async () => (await readState(cluster, id)).state === "pushed", {
      what: "every message to be pushed",
      deadlineMs: 30_000,
    });
  }
  let repeated = 0;
  for (const [n, id] of ids.entries()) {
    const shown = await simulator.notifications(tokenOf(n));
    repeated += shown.length - 1;
    expect(shown.length).toBeGreaterThan(0);
    expect(new Set(shown.map(({ apnsId }) => apnsId)).size).toBe(1);
    expect(new Set(shown.map(({ collapseId }) => collapseId))).toEqual(new Set([id]));
    if (shown.length > 1) expect((await simulator.screen(tokenOf(n))).notifications).toHaveLength(1);
  }
  // What was on its way when they died, and nothing else.
  expect(repeated).toBeGreaterThan(0);
  expect(repeated).toBeLessThanOrEqual(2 * CONCURRENCY);
  expect(
    await metricOf(
      again.map(({ url }) => url),
      "petrel_fallback_claimed_total",
    ),
  ).toBeGreaterThanOrEqual(repeated);
}, 300_000);

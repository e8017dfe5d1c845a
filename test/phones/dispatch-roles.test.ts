// Flow: dispatchers that share the work by its kind.
// Guarantees: the router owns the partitions and sends nothing; the sender owns none; both are ready, and together they
// do what one does alone.
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { callCluster, metricOf, readState, registerPhone } from "../support/phones/cluster-with-phones.js";

let simulator: TestApnsSimulator;
let cluster: TestCluster;
beforeAll(async () => {
  simulator = await startApnsSimulator();
  cluster = await startCluster({
    together: true,
    nodes: 1,
    dispatchers: 2,
    environment: { LEASE_MS: "1000", OFFLINE_SETTLE_MS: "100" },
    // Only the sender has the key.
    environmentOf: (name): Record<string, string> =>
      name === "dispatch-1"
        ? { DISPATCH_ROLES: "route" }
        : { DISPATCH_ROLES: "fallback", ...simulator.environment },
  });
});
afterAll(async () => {
  await cluster.stop();
  await simulator.stop();
});

test("one routes, the other sends", async () => {
  const [router, sender] = cluster.dispatchers.map(({ url }) => url);
  const token = "ab".repeat(32);
  await registerPhone(cluster, "ada", token);
  const notification = { title: "t", body: "b" };
  const { id } = (await cluster.post("/v1/messages", { to: { user: "ada" }, data: 1, notification })) as {
    id: string;
  };
  await waitFor(async () => (await readState(cluster, id)).state === "pushed", {
    what: "the message to be pushed",
    deadlineMs: 20_000,
  });
  expect(await simulator.notifications(token)).toHaveLength(1);
  const owned = (url = "") => metricOf([url], "petrel_dispatch_partitions_owned");
  expect([await owned(router), await owned(sender)]).toEqual([4, 0]);
  const sends = (url = "") => metricOf([url], "petrel_fallback_sends_total", { outcome: "taken" });
  expect([await sends(router), await sends(sender)]).toEqual([0, 1]);
  for (const url of [router, sender]) {
    expect(await callCluster(cluster, "GET", `${url}/health/ready`)).toMatchObject({ status: 200 });
  }
});

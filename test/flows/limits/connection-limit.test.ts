// Flow: one user's connections, over two nodes.
// Guarantees: the limit holds across nodes and goes by age, whatever the heartbeats did in between.
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";

/** Several heartbeats long even where the machine is busy. */
const LEASE_MS = 3_000;

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster({ together: true, environment: { ROUTE_LEASE_MS: String(LEASE_MS) } });
});
afterAll(() => cluster.stop());

async function presence(user: string): Promise<{ online: boolean; connections: { connectedAt: string }[] }> {
  const response = await fetch(`${cluster.collect.url}/v1/users/${user}/presence`, {
    headers: { authorization: `Bearer ${cluster.apiKey}` },
  });
  return (await response.json()) as { online: boolean; connections: { connectedAt: string }[] };
}

test("a sixth connection, made on the other node, closes the oldest with 4409, after heartbeats have passed", async () => {
  const token = await cluster.tokenFor("many-tabs");
  const clients: WsClient[] = [];
  for (let i = 0; i < 5; i++) clients.push(await connectClient({ url: cluster.nodeUrls[0] ?? "", token }));
  // Longer than a lease: without heartbeats no connection would be registered any more.
  await new Promise((resolve) => setTimeout(resolve, LEASE_MS * 2));
  expect((await presence("many-tabs")).connections).toHaveLength(5);

  const sixth = await connectClient({ url: cluster.nodeUrls[1] ?? "", token });
  expect(await clients[0]?.untilClosed()).toMatchObject({ code: 4409 });
  expect(await clients[0]?.frame("error")).toMatchObject({
    code: "PETREL_CONNECTION_REPLACED",
    action: "stop",
  });
  for (const client of [...clients.slice(1), sixth]) expect(client.closed()).toBeUndefined();
  const { online, connections } = await presence("many-tabs");
  expect(online).toBe(true);
  expect(connections).toHaveLength(5);

  await cluster.post("/v1/messages", { to: { user: "many-tabs" }, data: 1 });
  for (const client of [...clients.slice(1), sixth]) await client.untilMessages(1);
  expect(clients[0]?.messages).toHaveLength(0);

  for (const client of [...clients, sixth]) client.close();
  await waitFor(async () => !(await presence("many-tabs")).online, { what: "nobody to be online" });
});

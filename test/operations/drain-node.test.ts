// Flow: `petrel nodes` and `petrel drain` beside two push nodes, and beside one that reports nothing.
// Guarantees: a drained node's clients are asked to move and closed, and no other's; it turns new ones away until that is
// taken back; the last node is not drained by mistake; a node that cannot drain is named as such at once.
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { clusterKeys, partitionKeys } from "@petrel/shared/redis/keys";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient, openClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../support/clients/run-cli.js";

const clients: WsClient[] = [];
let cluster: TestCluster;
afterAll(async () => {
  for (const client of clients) client.close();
  await cluster?.stop();
});

async function connectTo(node: number, user: string): Promise<WsClient> {
  const client = await connectClient({
    url: cluster.nodeUrls[node] ?? "",
    token: await cluster.tokenFor(user),
    ack: "each",
  });
  clients.push(client);
  return client;
}

interface Node {
  readonly id: string;
  readonly name: string;
  readonly version?: string;
  readonly connections?: number;
  readonly draining?: boolean;
  readonly asked?: boolean;
}

async function nodes(): Promise<Node[]> {
  const { out } = await runCli(cluster, ["nodes", "--json"]);
  return out.map((line) => JSON.parse(line) as Node);
}

describe("two nodes of this release", () => {
  beforeAll(async () => {
    cluster = await startCluster({ together: true, nodes: 2, environment: { NODE_TTL_MS: "1500" } });
  }, 180_000);

  test("are listed with their connections", async () => {
    await connectTo(0, "ann");
    await connectTo(0, "bea");
    await connectTo(1, "cay");
    const listed = await waitFor(
      async () => {
        const all = await nodes();
        return all.map(({ connections }) => connections).join() === "2,1" ? all : undefined;
      },
      { what: "both to report", deadlineMs: 30_000 },
    );
    expect(listed.map(({ name, draining }) => [name, draining])).toEqual([
      ["push-node-1", false],
      ["push-node-2", false],
    ]);
    expect(listed[0]?.version).toMatch(/^\d/);
  });

  test("a drained one asks its clients to move, refuses others, and empties; the other goes on", async () => {
    const { code, out } = await runCli(cluster, ["drain", "push-node-1", "--wait", "--json"]);
    expect(code).toBe(0);
    expect(out.map((line) => JSON.parse(line) as Node)).toMatchObject([
      { name: "push-node-1", draining: true },
      { name: "push-node-1", draining: true, connections: 0 },
    ]);
    for (const client of clients.slice(0, 2)) {
      expect(client.frames).toContainEqual({ type: "reconnect", afterMs: 0, reason: "PETREL_SHUTTING_DOWN" });
      expect((await client.untilClosed()).code).toBe(1012);
    }
    expect(clients[2]?.closed()).toBeUndefined();
    const turnedAway = openClient({ url: cluster.nodeUrls[0] ?? "", token: await cluster.tokenFor("dot") });
    expect((await turnedAway.untilClosed()).code).toBe(1006);
    expect(turnedAway.frames).toEqual([]);
    expect((await fetch(`${cluster.nodes[0]?.url}/health/ready`)).status).toBe(503);
    expect((await fetch(`${cluster.nodes[0]?.url}/health/live`)).status).toBe(200);
    // A message to who has moved goes to the other node.
    const moved = await connectTo(1, "ann");
    await cluster.post("/v1/messages", { to: { user: "ann" }, data: 1 });
    await moved.untilMessages(1);
  });

  test("the last one that accepts clients is drained only by force", async () => {
    const { code, err } = await runCli(cluster, ["drain", "push-node-2"]);
    expect(code).toBe(1);
    expect(err.join()).toContain("It is the last node that accepts connections.");
    expect((await nodes())[1]).toMatchObject({ draining: false });
    const unknown = await runCli(cluster, ["drain", "push-node-9"]);
    expect(unknown.err.join()).toContain("there is no node push-node-9; there are: push-node-1");
  });

  test("a node of a release without reports is listed, and its drain is refused at once with the reason", async () => {
    const logger = createLogger({ service: "test", level: "silent" });
    const redis = await connectRedis({ url: cluster.redis.url, role: "test", logger });
    const subscriber = await connectRedis({ url: cluster.redis.url, role: "test-subscriber", logger });
    // All that such a node shows: its key, and its channel in every partition.
    await redis.set(clusterKeys.node("silent-node"), "1");
    await subscriber.ssubscribe(`${partitionKeys(0).channel}silent-node`);
    const silent = (await nodes()).find(({ id }) => id === "silent-node");
    expect(silent).toMatchObject({ asked: false });
    expect(silent?.version).toBeUndefined();
    const { code, err } = await runCli(cluster, ["drain", "silent-node"]);
    expect(code).toBe(1);
    expect(err.join()).toContain("This node runs a release that cannot drain: stop it instead.");
    subscriber.disconnect();
    await redis.del(clusterKeys.node("silent-node"));
    redis.disconnect();
  });

  test("after an undo it accepts clients again", async () => {
    const { code } = await runCli(cluster, ["drain", "push-node-1", "--undo"]);
    expect(code).toBe(0);
    await connectTo(0, "eve");
    expect((await fetch(`${cluster.nodes[0]?.url}/health/ready`)).status).toBe(200);
    const acts = await runCli(cluster, ["audit", "--json", "--limit", "2"]);
    expect(acts.out.map((line) => (JSON.parse(line) as { action: string }).action)).toEqual([
      "node.undrain",
      "node.drain",
    ]);
  });
});

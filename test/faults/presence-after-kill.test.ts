// Flow: a push node with 200 users in a topic is killed (SIGKILL): nobody takes them back.
// Guarantees: once the node's lease has ended, presence is right everywhere: who is on another node is told `here`
// without them, collect lists the same, and when each was last seen is known.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";

const NODE_TTL_MS = 2_000;
const ROUTE_LEASE_MS = 4_000;
const TOPIC = "room.7";
const names = Array.from({ length: 200 }, (_, i) => `user.${String(i).padStart(3, "0")}`);

let cluster: TestCluster;
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-presence-"));
  const file = join(directory, "topics.json");
  await writeFile(file, JSON.stringify({ rules: [{ topics: "room.*", presence: "list" }] }));
  cluster = await startCluster({
    together: (name) => name !== "push-node-1",
    nodes: 2,
    environment: {
      TOPICS_FILE: file,
      NODE_TTL_MS: String(NODE_TTL_MS),
      ROUTE_LEASE_MS: String(ROUTE_LEASE_MS),
    },
  });
}, 120_000);
afterAll(async () => {
  await cluster?.stop();
  await rm(directory, { recursive: true, force: true });
});

async function enter(node: number, userId: string, presence: boolean): Promise<WsClient> {
  const token = await cluster.tokenFor(userId, [{ topic: TOPIC, can: ["subscribe", "presence"] }]);
  const client = await connectClient({ url: cluster.nodeUrls[node] ?? "", token });
  client.send({ type: "subscribe", topic: TOPIC, presence });
  await client.frame("subscribed");
  return client;
}

interface Told {
  readonly users: number;
  readonly connections: number;
  readonly here?: readonly string[];
}

const lastTold = (client: WsClient): Told | undefined =>
  client.frames.filter(({ type }) => type === "presence").at(-1) as unknown as Told | undefined;

const untilTold = (client: WsClient, users: number): Promise<Told> =>
  waitFor(
    () => {
      const told = lastTold(client);
      return told?.users === users ? told : undefined;
    },
    { what: `${users} users (${JSON.stringify(lastTold(client)).slice(0, 60)})`, deadlineMs: 30_000 },
  );

async function read(path: string): Promise<unknown> {
  const answer = await askService(cluster.collect.url + path, {
    headers: { authorization: `Bearer ${cluster.apiKey}` },
  });
  expect(answer.status).toBe(200);
  return answer.json();
}

test("users on a killed node are gone once its lease has expired", { timeout: 120_000 }, async () => {
  const watcher = await enter(1, "watcher", true);
  const members: WsClient[] = [];
  for (const name of names.slice(0, 199)) members.push(await enter(0, name, false));
  // 200 with the watcher: the whole list.
  expect((await untilTold(watcher, 200)).here).toEqual([...names.slice(0, 199), "watcher"]);
  members.push(await enter(0, names[199] ?? "", false));
  expect(await untilTold(watcher, 201)).toEqual({
    type: "presence",
    topic: TOPIC,
    users: 201,
    connections: 201,
  });
  const connectedMs = Date.now();

  cluster.nodes[0]?.signal("SIGKILL");
  const killedMs = performance.now();
  const told = await untilTold(watcher, 1);
  const tookMs = Math.round(performance.now() - killedMs);
  console.info(`presence was right ${tookMs} ms after the kill, with a lease of ${NODE_TTL_MS} ms`);
  expect(told).toMatchObject({ users: 1, connections: 1, here: ["watcher"] });
  expect(await read(`/v1/topics/${TOPIC}/presence`)).toMatchObject({
    users: 1,
    connections: 1,
    items: [{ user: "watcher", connections: 1 }],
    nextCursor: null,
  });

  // Their connections ended with their leases.
  const [first] = await waitFor(
    async () => {
      const { items } = (await read(`/v1/presence?users=${names.join(",")}`)) as {
        items: { user: string; online: boolean; lastSeenAt: string | null }[];
      };
      expect(items.map(({ user }) => user)).toEqual(names);
      return items.every(({ online }) => !online) ? items : undefined;
    },
    { what: "the end of their leases", deadlineMs: 30_000 },
  );
  expect(Date.parse(first?.lastSeenAt ?? "")).toBeGreaterThanOrEqual(connectedMs);
  expect(await read("/v1/presence?users=watcher")).toEqual({
    items: [{ user: "watcher", online: true, lastSeenAt: null }],
  });
  watcher.close();
});

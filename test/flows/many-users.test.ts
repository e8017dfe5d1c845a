// Flow: many messages to many connected users over two nodes.
// Guarantees: each arrives once, in seq order, and is reported as delivered.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";
import { sized } from "../support/sizes.js";

const USERS = sized(500, 50);
const MESSAGES = sized(10_000, 300);
const BATCH = 100;

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster({ together: true });
});
afterAll(() => cluster.stop());

test(`${MESSAGES} messages to ${USERS} users on two nodes: once, in order, delivered`, async () => {
  const clients: WsClient[] = await Promise.all(
    Array.from({ length: USERS }, async (_, i) =>
      connectClient({
        url: cluster.nodeUrls[i % 2] ?? "",
        token: await cluster.tokenFor(`user-${i}`),
        ack: "turn",
      }),
    ),
  );
  const ids: string[] = [];
  const posts = Array.from({ length: MESSAGES / BATCH }, async (_, b) => {
    const messages = Array.from({ length: BATCH }, (_unused, j) => {
      const n = b * BATCH + j;
      return { to: { user: `user-${n % USERS}` }, data: { n } };
    });
    const { results } = (await cluster.post("/v1/messages/batch", { messages })) as {
      results: { id: string }[];
    };
    ids.push(...results.map(({ id }) => id));
  });
  await Promise.all(posts);

  const perUser = MESSAGES / USERS;
  for (const [i, client] of clients.entries()) {
    const messages = await client.untilMessages(perUser, 60_000);
    expect(messages.map(({ seq }) => seq)).toEqual(Array.from({ length: perUser }, (_, n) => n + 1));
    const got = messages.map(({ data }) => (data as { n: number }).n).sort((a, b) => a - b);
    expect(got).toEqual(Array.from({ length: perUser }, (_, n) => n * USERS + i));
  }
  expect(new Set(ids).size).toBe(MESSAGES);

  const states = new Map<string, number>();
  const isDelivered = async (id: string): Promise<boolean> => {
    const response = await askService(`${cluster.collect.url}/v1/messages/${id}`, {
      headers: { authorization: `Bearer ${cluster.apiKey}` },
    });
    return ((await response.json()) as { state: string }).state === "delivered";
  };
  for (let start = 0; start < ids.length; start += BATCH) {
    await Promise.all(
      ids.slice(start, start + BATCH).map(async (id) => {
        await waitFor(() => isDelivered(id), { what: `${id} to be delivered` });
        states.set(id, 1);
      }),
    );
  }
  expect(states.size).toBe(MESSAGES);
  for (const client of clients) client.close();
}, 180_000);

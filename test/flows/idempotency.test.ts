// Flow: the same request sent again.
// Guarantees: one message, one id; other content under the same key changes nothing.
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient } from "@petrel/shared/testing/peers/ws-client";

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster({ together: true, nodes: 1 });
});
afterAll(() => cluster.stop());

test("the same idempotency key twice: one message, the same id, duplicate: true; other content: 422", async () => {
  const url = cluster.nodeUrls[0] ?? "";
  const client = await connectClient({ url, token: await cluster.tokenFor("ada"), ack: "turn" });
  const body = { to: { user: "ada" }, data: { order: 7, paid: true }, idempotencyKey: "order-7" };
  const first = (await cluster.post("/v1/messages", body)) as { id: string };
  expect(first).toEqual({ id: first.id, duplicate: false });
  // The order of an object's keys does not count as content.
  const again = { ...body, data: { paid: true, order: 7 } };
  expect(await cluster.post("/v1/messages", again)).toEqual({ id: first.id, duplicate: true });

  const other = await fetch(`${cluster.collect.url}/v1/messages`, {
    method: "POST",
    headers: { authorization: `Bearer ${cluster.apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({ ...body, data: { order: 8, paid: true } }),
  });
  expect(other.status).toBe(422);
  expect(await other.json()).toMatchObject({
    error: { code: "PETREL_IDEMPOTENCY_MISMATCH", retryable: false },
  });

  await cluster.post("/v1/messages", { to: { user: "ada" }, data: "last" });
  const messages = await client.untilMessages(2);
  expect(messages.map(({ seq, data }) => ({ seq, data }))).toEqual([
    { seq: 1, data: { order: 7, paid: true } },
    { seq: 2, data: "last" },
  ]);
  client.close();
});

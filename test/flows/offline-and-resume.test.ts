// Flow: users who were away, and slow readers.
// Guarantees: what was missed comes on return, exactly that, in order; a backlog beyond every buffer arrives whole.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient, openClient } from "@petrel/shared/testing/peers/ws-client";

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster({ together: true, environment: { OUTBOUND_BOUND_BYTES: String(64 * 1024) } });
});
afterAll(() => cluster.stop());

async function sendMany(user: string, count: number, data: (n: number) => unknown): Promise<void> {
  for (let start = 0; start < count; start += 50) {
    const messages = Array.from({ length: Math.min(50, count - start) }, (_, i) => ({
      to: { user },
      data: data(start + i),
    }));
    await cluster.post("/v1/messages/batch", { messages });
  }
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

test("offline during 100 messages: reconnects and gets exactly those, in order", async () => {
  await sendMany("away", 100, (n) => n);
  const url = cluster.nodeUrls[0] ?? "";
  const client = await connectClient({ url, token: await cluster.tokenFor("away"), ack: "turn" });
  const messages = await client.untilMessages(100);
  expect(messages.map(({ seq }) => seq)).toEqual(range(1, 100));
  expect(messages.map(({ data }) => data)).toEqual(range(0, 99));
  expect(await client.frame("welcome")).toMatchObject({ seq: 100, after: 0, resumed: false });
  client.close();
});

test("acked 40 of 100, left, back with since=40: gets 41 to 100", async () => {
  const user = "comes-back";
  const token = await cluster.tokenFor(user);
  const first = await connectClient({ url: cluster.nodeUrls[0] ?? "", token });
  await sendMany(user, 100, (n) => n);
  await first.untilMessages(100);
  first.ack(40);
  first.close();
  await first.untilClosed();
  const { epoch } = (await first.frame("welcome")) as unknown as { epoch: string };

  const second = await connectClient({
    url: cluster.nodeUrls[1] ?? "",
    token,
    query: `epoch=${epoch}&since=40`,
    ack: "turn",
  });
  expect(await second.frame("welcome")).toMatchObject({ epoch, after: 40, resumed: true, seq: 100 });
  const messages = await second.untilMessages(60);
  expect(messages.map(({ seq }) => seq)).toEqual(range(41, 100));
  second.close();
  await second.untilClosed();

  // Without its own position, acks on the other node count, once they are written.
  const lastIsDelivered = async (): Promise<boolean> => {
    const response = await askService(`${cluster.collect.url}/v1/messages/${messages.at(-1)?.id}`, {
      headers: { authorization: `Bearer ${cluster.apiKey}` },
    });
    return ((await response.json()) as { state: string }).state === "delivered";
  };
  await waitFor(lastIsDelivered, { what: "the last message to be delivered" });
  const third = await connectClient({ url: cluster.nodeUrls[0] ?? "", token });
  expect(await third.frame("welcome")).toMatchObject({ after: 100 });
  third.close();
});

test("a slower device brings its own position: it gets what another one acknowledged", async () => {
  const user = "two-devices";
  const token = await cluster.tokenFor(user);
  const quick = await connectClient({ url: cluster.nodeUrls[0] ?? "", token, ack: "turn" });
  await sendMany(user, 100, (n) => n);
  await quick.untilMessages(100);
  const { epoch } = (await quick.frame("welcome")) as unknown as { epoch: string };
  const slow = await connectClient({
    url: cluster.nodeUrls[1] ?? "",
    token,
    query: `epoch=${epoch}&since=40`,
  });
  expect(await slow.frame("welcome")).toMatchObject({ after: 40, resumed: true });
  expect((await slow.untilMessages(60)).map(({ seq }) => seq)).toEqual(range(41, 100));
  quick.close();
  slow.close();
});

test("a slow reader gets a backlog larger than the outbound bound completely, without a 4408", async () => {
  const user = "slow";
  const count = 400;
  await sendMany(user, count, (n) => ({ n, filler: "x".repeat(10_000) }));
  const client = openClient({
    url: cluster.nodeUrls[0] ?? "",
    token: await cluster.tokenFor(user),
    ack: "turn",
  });
  await client.frame("welcome");
  // Reads a little, then nothing for a while, again and again.
  for (let pauses = 0; pauses < 10; pauses++) {
    const before = client.messages.length;
    client.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 100));
    client.socket.resume();
    await waitFor(() => client.messages.length > before || client.messages.length === count, {
      what: "more",
    });
  }
  const messages = await client.untilMessages(count, 30_000);
  expect(messages.map(({ seq }) => seq)).toEqual(range(1, count));
  expect(client.closed()).toBeUndefined();
  client.close();
});

test("the same reader keeps up with messages that arrive while it is behind", async () => {
  const user = "slow-live";
  const client = await connectClient({ url: cluster.nodeUrls[1] ?? "", token: await cluster.tokenFor(user) });
  client.socket.pause();
  await sendMany(user, 300, (n) => ({ n, filler: "y".repeat(8_000) }));
  client.socket.resume();
  const messages = await client.untilMessages(300, 30_000);
  expect(messages.map(({ seq }) => seq)).toEqual(range(1, 300));
  expect(client.closed()).toBeUndefined();
  client.close();
});

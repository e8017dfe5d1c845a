// Flow: messages with one collapse key to a user who is away.
// Guarantees: inbox and phone show the last one, and the others say why they have ended.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { sized } from "../support/sizes.js";

const PHONE = "ab".repeat(32);
const SCORES = sized(60, 20);

let simulator: TestApnsSimulator;
let cluster: TestCluster;
beforeAll(async () => {
  simulator = await startApnsSimulator();
  cluster = await startCluster({ together: true, nodes: 1, environment: simulator.environment });
}, 180_000);
afterAll(async () => {
  await cluster?.stop();
  await simulator?.stop();
});

interface State {
  readonly state: string;
  readonly seq: number;
  readonly reason?: { readonly code: string };
}

async function call(method: "GET" | "PUT", url: string, body?: object): Promise<unknown> {
  const response = await askService(url, {
    method,
    headers: {
      authorization: `Bearer ${cluster.apiKey}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return text === "" ? undefined : JSON.parse(text);
}

async function send(user: string, n: number, more: object = {}): Promise<string> {
  const answer = await cluster.post("/v1/messages", {
    to: { user },
    data: n,
    collapseKey: "score",
    notification: { title: "Score", body: `${n}:0` },
    ...more,
  });
  return (answer as { id: string }).id;
}

const read = (id: string) => call("GET", `${cluster.collect.url}/v1/messages/${id}`) as Promise<State>;
const inboxOf = async (user: string): Promise<string[]> => {
  const page = (await call("GET", `${cluster.collect.url}/v1/users/${user}/messages`)) as {
    items: { id: string }[];
  };
  return page.items.map(({ id }) => id);
};

async function giveAPhone(user: string): Promise<void> {
  const device = { platform: "ios", token: PHONE, topic: "com.example.app", environment: "production" };
  await call("PUT", `${cluster.auth.url}/v1/users/${user}/devices`, device);
  await simulator.clear();
}

/** The bodies of what the phone shows. */
async function screen(): Promise<string[]> {
  const { notifications } = await simulator.screen(PHONE);
  return notifications.map(({ payload }) => (payload["aps"] as { alert: { body: string } }).alert.body);
}

test.each([
  ["three", 3, 0],
  [`${SCORES} while the phone is slow`, SCORES, 30],
])("%s: only the last one", async (_what, count, latencyMs) => {
  const user = `away${count}`;
  await giveAPhone(user);
  await simulator.setBehaviour({ latencyMs });
  const ids: string[] = [];
  for (let n = 1; n <= count; n++) ids.push(await send(user, n));
  const last = ids.at(-1) ?? "";
  await waitFor(async () => (await read(last)).state === "pushed", { what: "the last one to be pushed" });
  // What was being sent when a newer one came leaves once that is known.
  await waitFor(async () => (await inboxOf(user)).length === 1, { what: "the others to leave the inbox" });
  expect(await inboxOf(user)).toEqual([last]);
  expect(await screen()).toEqual([`${count}:0`]);
  for (const id of ids.slice(0, -1)) {
    const found = await read(id);
    expect([found.state, found.reason?.code], id).toEqual(
      found.state === "pushed" ? ["pushed", undefined] : ["expired", "PETREL_COLLAPSED"],
    );
  }
  // A client that comes back gets the last one, and its acknowledgement changes no other.
  const before = await Promise.all(ids.slice(0, -1).map(read));
  const client = await connectClient({
    url: cluster.nodeUrls[0] ?? "",
    token: await cluster.tokenFor(user),
    ack: "each",
  });
  expect((await client.untilMessages(1)).map(({ id, seq }) => [id, seq])).toEqual([[last, count]]);
  await waitFor(async () => (await read(last)).state === "delivered", { what: "the acknowledgement" });
  expect(await Promise.all(ids.slice(0, -1).map(read))).toEqual(before);
  expect(client.frames.some(({ type }) => type === "recalled")).toBe(false);
  client.close();
  await simulator.setBehaviour({ latencyMs: 0 });
});

test("one with deliverAt replaces the others when it is due, without a notification too", async () => {
  const user = "later";
  const data = { notification: undefined };
  const deliverAt = new Date(Date.now() + 4_000).toISOString();
  const scheduled = await send(user, 3, { ...data, deliverAt });
  const [first, second] = [await send(user, 1, data), await send(user, 2, data)];
  expect([(await read(scheduled)).state, (await read(first)).reason?.code]).toEqual([
    "scheduled",
    "PETREL_COLLAPSED",
  ]);
  await waitFor(async () => (await read(scheduled)).state === "queued", { what: "its time" });
  expect(await inboxOf(user)).toEqual([scheduled]);
  expect([(await read(second)).state, (await read(second)).reason?.code]).toEqual([
    "expired",
    "PETREL_COLLAPSED",
  ]);
});

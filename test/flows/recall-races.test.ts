// Flow: messages that are taken back at the moment when something else becomes of them.
// Guarantees: each has exactly one end, and what DELETE answered is true: whether it raced acknowledgements, phones, or
// the time for which it was scheduled. Who was sent one that is cancelled is told, once.
import { setTimeout as pause } from "node:timers/promises";
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { sized } from "../support/sizes.js";

const COUNT = sized(1_000, 120);
const USERS = 20;
const PER_USER = COUNT / USERS;
const TOPIC = "com.example.app";

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

const authorization = () => ({ authorization: `Bearer ${cluster.apiKey}` });

interface Cancelled {
  readonly status: number;
  readonly state: string | undefined;
  readonly pushing: boolean;
}

async function cancel(id: string): Promise<Cancelled> {
  const response = await askService(`${cluster.collect.url}/v1/messages/${id}`, {
    method: "DELETE",
    headers: authorization(),
  });
  const text = await response.text();
  if (text === "") return { status: response.status, state: undefined, pushing: false };
  const { error } = JSON.parse(text) as { error: { details?: { state?: string; pushing?: boolean } } };
  return { status: response.status, state: error.details?.state, pushing: error.details?.pushing === true };
}

interface State {
  readonly state: string;
  readonly timeline: readonly { readonly event: string }[];
}
async function read(id: string): Promise<State> {
  const response = await askService(`${cluster.collect.url}/v1/messages/${id}`, { headers: authorization() });
  return (await response.json()) as State;
}

/** Its state once it is none of these. */
const endOf = (id: string, ...open: readonly string[]): Promise<State> =>
  waitFor(
    async () => {
      const found = await read(id);
      return open.includes(found.state) ? undefined : found;
    },
    { what: `the end of ${id}`, deadlineMs: 60_000, everyMs: 200 },
  );

async function send(messages: readonly object[]): Promise<string[]> {
  const ids: string[] = [];
  for (let start = 0; start < messages.length; start += 200) {
    const answer = await cluster.post("/v1/messages/batch", { messages: messages.slice(start, start + 200) });
    for (const { id } of (answer as { results: { id: string }[] }).results) ids.push(id);
  }
  return ids;
}

const toldOf = (client: WsClient): string[] =>
  client.frames.filter(({ type }) => type === "recalled").map(({ id }) => String(id));

/** A client for each of some new users, and which user each message is for, in turn. */
async function clientsOf(prefix: string, ack: "none" | "each"): Promise<WsClient[]> {
  return Promise.all(
    Array.from({ length: USERS }, async (_, u) =>
      connectClient({ url: cluster.nodeUrls[0] ?? "", token: await cluster.tokenFor(`${prefix}${u}`), ack }),
    ),
  );
}

test(`${COUNT} are cancelled while they are being acknowledged`, { timeout: 180_000 }, async () => {
  const clients = await clientsOf("ack", "none");
  const ids = await send(
    Array.from({ length: COUNT }, (_, i) => ({ to: { user: `ack${i % USERS}` }, data: i })),
  );
  await Promise.all(clients.map((client) => client.untilMessages(PER_USER, 60_000)));
  // Each user's first one before anything is acknowledged, and the last one after it: whatever wins in between.
  const first = await Promise.all(ids.slice(0, USERS).map((id) => cancel(id)));
  const answers = await Promise.all(
    ids.map(async (id, i) => {
      const seq = Math.floor(i / USERS) + 1;
      const client = clients[i % USERS];
      if (seq === 1) return first[i];
      await pause(seq * 4);
      if (seq === PER_USER) {
        client?.ack(seq);
        await endOf(id, "queued");
        return cancel(id);
      }
      // Now the one is a little earlier, now the other.
      const answer = i % 3 === 0 ? cancel(id) : undefined;
      if (i % 3 === 1) await pause(i % 7);
      client?.ack(seq);
      if (i % 3 === 2) await pause(10 + (i % 11));
      return answer ?? cancel(id);
    }),
  );
  const cancelled: string[][] = clients.map(() => []);
  for (const [i, id] of ids.entries()) {
    const { status, state } = answers[i] ?? { status: 0, state: undefined };
    const end = await endOf(id, "queued");
    if (status === 204) cancelled[i % USERS]?.push(id);
    expect({ status, state, end: end.state }, id).toEqual(
      status === 204
        ? { status, state: undefined, end: "cancelled" }
        : { status: 409, state: "delivered", end: "delivered" },
    );
    expect(end.timeline.map(({ event }) => event)).toEqual(["accepted", end.state]);
  }
  expect(cancelled.flat().length).toBeGreaterThanOrEqual(USERS);
  expect(cancelled.flat().length).toBeLessThanOrEqual(COUNT - USERS);
  for (const [u, client] of clients.entries()) {
    const told = cancelled[u] ?? [];
    await waitFor(() => toldOf(client).length >= told.length, { what: "the recalled frames" });
    expect(toldOf(client).sort()).toEqual([...told].sort());
    client.close();
  }
});

test(`${COUNT} are cancelled while phones are being rung`, { timeout: 180_000 }, async () => {
  const tokenOf = (i: number): string => i.toString(16).padStart(64, "0");
  await simulator.setBehaviour({ latencyMs: 25 });
  await Promise.all(
    Array.from({ length: COUNT }, (_, i) =>
      askService(`${cluster.auth.url}/v1/users/ring${i}/devices`, {
        method: "PUT",
        headers: { ...authorization(), "content-type": "application/json" },
        body: JSON.stringify({ platform: "ios", token: tokenOf(i), topic: TOPIC, environment: "production" }),
      }).then(({ status }) => expect(status).toBe(204)),
    ),
  );
  const notification = { title: "Order 4711", body: "On its way." };
  const answers = await Promise.all(
    Array.from({ length: COUNT }, async (_, i) => {
      await pause(i * 3);
      const [id = ""] = await send([{ to: { user: `ring${i}` }, data: i, notification }]);
      // Each tenth one for certain too late; the others when they may be.
      if (i % 10 === 0) await endOf(id, "queued");
      else await pause((i % 12) * 8);
      return { id, ...(await cancel(id)) };
    }),
  );
  const ends = await Promise.all(answers.map(({ id }) => endOf(id, "queued")));
  const rung = new Map((await simulator.apnsIds()).map(({ token, times }) => [token, times]));
  for (const [i, { id, status, state, pushing }] of answers.entries()) {
    const end = ends[i]?.state;
    const word = status === 204 ? "cancelled" : pushing ? "pushing" : String(state);
    expect([word, end, rung.get(tokenOf(i)) ?? 0], id).toEqual(
      word === "cancelled" ? ["cancelled", "cancelled", 0] : [word, "pushed", 1],
    );
    expect(i % 10 === 0 ? ["pushed"] : ["cancelled", "pushing", "pushed"]).toContain(word);
  }
  await simulator.setBehaviour({ latencyMs: 0 });
});

test(`${COUNT} are cancelled when they are due`, { timeout: 180_000 }, async () => {
  const clients = await clientsOf("due", "each");
  const dueAtMs = Date.now() + 5_000;
  const deliverAt = new Date(dueAtMs).toISOString();
  const ids = await send(
    Array.from({ length: COUNT }, (_, i) => ({ to: { user: `due${i % USERS}` }, data: i, deliverAt })),
  );
  const first = await Promise.all(ids.slice(0, USERS).map((id) => cancel(id)));
  const answers = await Promise.all(
    ids.map(async (id, i) => {
      // From a little before to a while after; the promotion takes as long as it takes.
      if (i < USERS) return first[i];
      if (i >= COUNT - USERS) {
        await endOf(id, "queued", "scheduled");
        return cancel(id);
      }
      await pause(Math.max(0, dueAtMs - Date.now() - 300 + Math.floor((i * 1_200) / COUNT)));
      return cancel(id);
    }),
  );
  const ends = await Promise.all(ids.map((id) => endOf(id, "queued", "scheduled")));
  for (const [i, id] of ids.entries()) {
    const { status, state } = answers[i] ?? { status: 0, state: undefined };
    const end = ends[i]?.state;
    expect({ status, state, end }, id).toEqual(
      status === 204
        ? { status, state: undefined, end: "cancelled" }
        : { status: 409, state: "delivered", end: "delivered" },
    );
    const client = clients[i % USERS];
    const received = client?.messages.filter((message) => message.id === id).length ?? 0;
    if (end === "delivered") expect(received, id).toBe(1);
    // One that was promoted first, and taken back before its acknowledgement came: its client is told.
    else if (received > 0) {
      expect(received, id).toBe(1);
      await waitFor(() => client !== undefined && toldOf(client).includes(id), { what: `the end of ${id}` });
    }
  }
  expect(ends.slice(-USERS).map(({ state }) => state)).toEqual(
    Array.from({ length: USERS }, () => "delivered"),
  );
  for (const client of clients) client.close();
});

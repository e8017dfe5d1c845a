// Flow: messages to users who come and go, while dispatchers and nodes are killed, and a webhook's receiver is away, slow,
// and back.
// Guarantees: the receiver gets exactly one event for each end, whatever happens (repetitions with the same id only), in
// order for each user; every request is signed, and an id has one body. Each run prints its seed.
import { setTimeout as pause } from "node:timers/promises";
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { chooseSeed, seededRandom } from "@petrel/shared/testing/faults/seeded-random";
import { openClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type ReceivedRequest,
  startWebhookReceiver,
  type WebhookReceiver,
} from "../../services/dispatch/src/testing/webhook-receiver.js";
import { checkWebhook, itemsOf } from "../support/faults/check-webhook.js";
import { sized } from "../support/sizes.js";

const MESSAGES = sized(20_000, 400);
const USERS = sized(500, 20);
const KILLS = sized(12, 4);
const AWAY_MS = sized(60_000, 3_000);
const STAY_MS = sized(15_000, 3_000);
const BATCH = 50;
/** Of ten messages one is over soon, for somebody who is away, and one is taken back if it is not too late. */
const EACH = 10;
const { next: random, pick } = seededRandom(chooseSeed("webhooks"));

/** Two of each kind; a short run kills one of them, and the other goes on meanwhile. */
const VICTIMS = ["dispatch", "push-node"].flatMap((kind) =>
  Array.from({ length: sized(2, 1) }, (_, i) => `${kind}-${i + 1}`),
);

let cluster: TestCluster;
let receiver: WebhookReceiver;
const taken: ReceivedRequest[] = [];
let isOver = false;
const users: Promise<void>[] = [];
beforeAll(async () => {
  receiver = await startWebhookReceiver();
  cluster = await startCluster({
    dispatchers: 2,
    nodes: 2,
    together: (name) => !VICTIMS.includes(name),
    environment: {
      EVENTS: "message.delivered,message.pushed,message.failed,message.expired,message.cancelled",
      WEBHOOK_ALLOW_PRIVATE: "true",
      LEASE_MS: "1500",
      ACK_TIMEOUT_MS: "2000",
    },
  });
}, 120_000);
afterAll(async () => {
  isOver = true;
  await Promise.all(users);
  await cluster.stop();
  await receiver.close();
});

/** Comes, acknowledges for a while, goes, and comes back to any node, until all is over. */
async function comeAndGo(user: string): Promise<void> {
  const token = await cluster.tokenFor(user);
  while (!isOver) {
    const url = pick(cluster.nodeUrls);
    const client = openClient({ url, token, ack: "turn" });
    const leaveAtMs = Date.now() + 300 + random() * STAY_MS;
    while (!isOver && client.closed() === undefined && Date.now() < leaveAtMs) await pause(100);
    client.socket.terminate();
    await pause(random() * 500);
  }
}

async function ask(
  method: string,
  url: string,
  body?: unknown,
): Promise<{ readonly status: number; readonly body: unknown }> {
  const answer = await askService(url, {
    method,
    headers: {
      authorization: `Bearer ${cluster.adminKey}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, body: text === "" ? undefined : (JSON.parse(text) as unknown) };
}

/** @returns the ids, in the order in which they were accepted */
async function sendAll(): Promise<string[]> {
  const ids: string[] = [];
  for (let from = 0; from < MESSAGES; from += BATCH) {
    const messages = Array.from({ length: BATCH }, (_, i) => ({
      ...(i % EACH === 3
        ? { to: { user: `away${(from + i) % USERS}` }, ttlSeconds: 1 }
        : { to: { user: `u${(from + i) % USERS}` }, ttlSeconds: 600 }),
      data: from + i,
    }));
    const { results } = (await cluster.post("/v1/messages/batch", { messages })) as {
      results: { id: string }[];
    };
    ids.push(...results.map(({ id }) => id));
    for (const { id } of results.filter((_, i) => i % EACH === 7)) {
      await ask("DELETE", `${cluster.collect.url}/v1/messages/${id}`);
    }
    await pause(random() * 40);
  }
  return ids;
}

async function killSome(): Promise<void> {
  for (let i = 0; i < KILLS; i++) {
    await pause(500 + random() * 1_500);
    const victim = cluster.newest(pick(VICTIMS));
    victim.signal("SIGKILL");
    await victim.exited;
    await cluster.startAgain(victim);
  }
}

async function receiverTrouble(): Promise<void> {
  const take = (request: ReceivedRequest): void => void taken.push(request);
  await waitFor(() => taken.length > 0, { what: "the first request", deadlineMs: 60_000 });
  receiver.answerWith((_request, response) => void response.writeHead(503).end());
  await pause(AWAY_MS);
  receiver.answerWith((request, response) => {
    setTimeout(() => {
      // A request whose sender is gone has no answer.
      if (!response.destroyed) take(request);
      response.writeHead(200).end();
    }, 300);
  });
  await pause(AWAY_MS / 2);
  receiver.answerWith((request, response) => {
    take(request);
    response.writeHead(204).end();
  });
}

async function endOf(id: string): Promise<string | undefined> {
  const { body } = await ask("GET", `${cluster.collect.url}/v1/messages/${id}`);
  const { state } = body as { readonly state: string };
  return state === "queued" ? undefined : state;
}

test(
  `${MESSAGES} messages to ${USERS} users, ${KILLS} kills, a receiver that is away for ${AWAY_MS} ms: each end has its event`,
  { timeout: sized(600_000, 170_000) },
  async () => {
    receiver.answerWith((request, response) => {
      taken.push(request);
      response.writeHead(204).end();
    });
    const [dispatch] = cluster.dispatchers;
    const created = await ask("POST", `${dispatch?.url}/v1/webhooks`, { url: receiver.url });
    expect(created.status).toBe(201);
    const { secret } = created.body as { readonly secret: string };
    for (let i = 0; i < USERS; i++) users.push(comeAndGo(`u${i}`));
    const [ids] = await Promise.all([sendAll(), killSome(), receiverTrouble()]);
    expect(ids).toHaveLength(MESSAGES);

    const ends = new Map<string, string>();
    await waitFor(
      async () => {
        const open = ids.filter((id) => !ends.has(id)).slice(0, 200);
        const found = await Promise.all(open.map(async (id) => [id, await endOf(id)] as const));
        for (const [id, end] of found) if (end !== undefined) ends.set(id, end);
        return ends.size === ids.length;
      },
      { what: "all messages to end", deadlineMs: 120_000, everyMs: 250 },
    );
    expect(new Set(ends.values())).toEqual(new Set(["delivered", "expired", "cancelled"]));
    const got = (): number =>
      new Set(taken.flatMap((request) => itemsOf(request).map(({ message }) => message))).size;
    await waitFor(() => got() >= ids.length, { what: "all events", deadlineMs: 120_000, everyMs: 200 });
    expect(checkWebhook(taken, receiver.requests, { secret, ends })).toEqual([]);
  },
);

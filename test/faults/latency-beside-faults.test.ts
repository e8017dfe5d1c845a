// Flow: people are sent messages while a webhook's receiver hangs, is down, and a node and a dispatcher are killed again
// and again beside them.
// Guarantees: all of them arrive while the receiver has not answered once, and another endpoint gets its events
// meanwhile; what a message takes is printed for each, and stays in its order of magnitude.
import { setTimeout as pause } from "node:timers/promises";
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  startWebhookReceiver,
  type WebhookReceiver,
} from "../../services/dispatch/src/testing/webhook-receiver.js";
import { itemsOf } from "../support/faults/check-webhook.js";
import { sized } from "../support/sizes.js";

const USERS = sized(50, 10);
const MESSAGES = sized(3_000, 60);
const EVERY_MS = sized(5, 30);
/** From the start of one that was killed to the next kill. */
const KILL_PAUSE_MS = sized(0, 400);
/** What a stall of this machine may add to any of them; a message that waits for a receiver waits for seconds. */
const MACHINE_MS = 2_000;
const TIMES = 10;

let cluster: TestCluster;
let [sick, well]: (WebhookReceiver | undefined)[] = [];
const clients: WsClient[] = [];
let taken: number[] = [];
let isOver = false;

beforeAll(async () => {
  sick = await startWebhookReceiver();
  well = await startWebhookReceiver();
  const killed = new Set(["push-node-2", "dispatch-2"]);
  cluster = await startCluster({
    nodes: 2,
    dispatchers: 2,
    together: (name) => !killed.has(name),
    environment: { EVENTS: "message.delivered", WEBHOOK_ALLOW_PRIVATE: "true", LEASE_MS: "1500" },
  });
  for (const { url } of [sick, well]) {
    const answer = await askService(`${cluster.dispatchers[0]?.url}/v1/webhooks`, {
      method: "POST",
      headers: { authorization: `Bearer ${cluster.adminKey}`, "content-type": "application/json" },
      body: JSON.stringify({ url }),
    });
    expect(answer.status).toBe(201);
  }
  for (let i = 0; i < USERS; i++) {
    const token = await cluster.tokenFor(`u${i}`);
    // The node that is not killed.
    const client = await connectClient({ url: cluster.nodeUrls[0] ?? "", token, ack: "turn" });
    client.socket.on("message", (raw: Buffer) => {
      const { type, data } = JSON.parse(raw.toString()) as { type: string; data?: { atMs: number } };
      if (type === "message" && data !== undefined) taken.push(performance.now() - data.atMs);
    });
    clients.push(client);
  }
}, 120_000);
afterAll(async () => {
  isOver = true;
  for (const client of clients) client.close();
  await cluster?.stop();
  await Promise.all([sick?.close(), well?.close()]);
});

interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

async function sendAll(): Promise<Latency & { readonly ids: readonly string[] }> {
  taken = [];
  const posts: Promise<unknown>[] = [];
  for (let i = 0; i < MESSAGES; i++) {
    const data = { atMs: performance.now() };
    posts.push(cluster.post("/v1/messages", { to: { user: `u${i % USERS}` }, data }));
    await pause(EVERY_MS);
  }
  const ids = ((await Promise.all(posts)) as { id: string }[]).map(({ id }) => id);
  await waitFor(() => taken.length >= MESSAGES, { what: "all messages", deadlineMs: 60_000 });
  const sorted = taken.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
  return { p50Ms: at(0.5), p99Ms: at(0.99), ids };
}

const heardBy = (receiver: WebhookReceiver | undefined): Set<string> =>
  new Set(
    (receiver?.requests ?? []).flatMap((request) => itemsOf(request).map(({ message = "" }) => message)),
  );

async function killAgainAndAgain(signal: AbortSignal): Promise<number> {
  for (let kills = 0; ; kills++) {
    if (signal.aborted || isOver) return kills;
    for (const name of ["push-node-2", "dispatch-2"]) {
      const victim = cluster.newest(name);
      victim.signal("SIGKILL");
      await victim.exited;
      await cluster.startAgain(victim);
      await pause(KILL_PAUSE_MS);
    }
  }
}

test("live latency beside a receiver that hangs, one that is down, and kills", async () => {
  await sendAll();
  const figures = new Map<string, Latency>([["nothing", await sendAll()]]);

  let answered = 0;
  let held = 0;
  sick?.answerWith(() => void held++);
  const hanging = await sendAll();
  figures.set("a receiver that hangs", hanging);
  await waitFor(() => hanging.ids.every((id) => heardBy(well).has(id)), {
    what: "the other endpoint to have all events",
    deadlineMs: 60_000,
  });
  // All of that while not one request had its answer.
  expect([held > 0, answered]).toEqual([true, 0]);

  sick?.answerWith((_request, response) => {
    answered++;
    response.destroy();
  });
  const down = await sendAll();
  figures.set("one that is down", down);
  await waitFor(() => down.ids.every((id) => heardBy(well).has(id)), {
    what: "the other endpoint to have all events",
    deadlineMs: 60_000,
  });

  const stopping = new AbortController();
  const killing = killAgainAndAgain(stopping.signal);
  figures.set("kills of a node and a dispatcher", await sendAll());
  stopping.abort();
  const kills = await killing;

  const shown = [...figures].map(
    ([what, { p50Ms, p99Ms }]) => `${what} ${p50Ms.toFixed(1)} / ${p99Ms.toFixed(1)}`,
  );
  process.stdout.write(`live p50 / p99 ms beside ${shown.join(", ")} (${2 * kills} kills)\n`);
  const quiet = figures.get("nothing");
  for (const [what, { p50Ms, p99Ms }] of figures) {
    expect(p50Ms, what).toBeLessThan(TIMES * (quiet?.p50Ms ?? 0) + MACHINE_MS);
    expect(p99Ms, what).toBeLessThan(TIMES * (quiet?.p99Ms ?? 0) + MACHINE_MS);
  }
}, 240_000);

// Flow: a deploy: both push nodes are restarted, one after the other, under load.
// Guarantees: nothing is lost and all is in order for every application; no phone rings; nearly everyone has a new
// socket before the old one closes, and nobody waits longer than a reconnect.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { connect, type PetrelClient } from "@petrel/client";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { InOrderRecorder } from "../support/faults/in-order-recorder.js";
import { sized } from "../support/sizes.js";

const CLIENTS = sized(2_000, 120);
const WINDOW_MS = sized(20_000, 1_200);
const BATCH = 100;
/** Between two batches: 500 and 250 messages a second. */
const EVERY_MS = sized(200, 400);
const AT_A_TIME = 50;
/** MAX_CONNECTIONS_PER_USER. */
const DEVICES = 5;

const offered: string[] = [];
/** Stands in for the fallback's webhook. */
const webhook = createServer((request, response) => {
  let body = "";
  request.on("data", (chunk: Buffer) => (body += chunk.toString("utf8")));
  request.on("end", () => {
    offered.push(body);
    response.writeHead(204).end();
  });
});
const clients: PetrelClient<{ n: number }>[] = [];
let cluster: TestCluster;
let isRestarting = false;

beforeAll(async () => {
  await new Promise<void>((resolve) => webhook.listen(0, "127.0.0.1", resolve));
  const { port } = webhook.address() as AddressInfo;
  cluster = await startCluster({
    // The nodes that are restarted end their processes.
    together: (name) => isRestarting || !name.startsWith("push-node"),
    environment: {
      DRAIN_WINDOW_MS: String(WINDOW_MS),
      FALLBACK_WEBHOOK_URL: `http://127.0.0.1:${port}/`,
      LOG_LEVEL: "info",
    },
  });
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await cluster.stop();
  webhook.close();
});

async function connectionsOf(user: string): Promise<unknown[]> {
  const response = await fetch(`${cluster.collect.url}/v1/users/${user}/presence`, {
    headers: { authorization: `Bearer ${cluster.apiKey}` },
  });
  return ((await response.json()) as { connections: unknown[] }).connections;
}

interface Gap {
  readonly code: number;
  readonly ms: number;
}

test(`a rolling restart of both nodes with ${CLIENTS} clients under load`, async () => {
  const recorder = new InOrderRecorder(CLIENTS);
  const welcomes = Array.from({ length: CLIENTS }, () => 0);
  const gaps: Gap[] = [];
  const closedForGood: number[] = [];
  const open = async (i: number): Promise<void> => {
    const token = await cluster.tokenFor(`deployed-${i}`);
    const url = i % 2 === 0 ? cluster.nodeUrls : cluster.nodeUrls.toReversed();
    const client = connect<{ n: number }>({ url, getToken: () => token, WebSocket });
    clients.push(client);
    let offline: { code: number; atMs: number } | undefined;
    client.on("message", ({ data }) => recorder.received(i, data.n));
    client.on("welcome", () => welcomes[i]!++);
    client.on("offline", ({ code }) => (offline = { code, atMs: performance.now() }));
    client.on("online", () => {
      if (offline !== undefined) gaps.push({ code: offline.code, ms: performance.now() - offline.atMs });
      offline = undefined;
    });
    client.on("closed", ({ code }) => closedForGood.push(code));
    await client.whenOnline();
  };
  for (let start = 0; start < CLIENTS; start += AT_A_TIME) {
    const some = Array.from({ length: Math.min(AT_A_TIME, CLIENTS - start) }, (_, i) => open(start + i));
    await Promise.all(some);
  }

  // As many as one user may have: a new socket beside the old one must not push out another device. The oldest ones,
  // which would go first, are not on the node that stops first.
  for (let i = 0; i < DEVICES; i++) {
    const token = await cluster.tokenFor("many-devices");
    const url = i < 2 ? cluster.nodeUrls.toReversed() : cluster.nodeUrls;
    const device = connect<{ n: number }>({ url, getToken: () => token, WebSocket });
    clients.push(device);
    device.on("closed", ({ code }) => closedForGood.push(code));
    await device.whenOnline();
  }

  const sent = Array.from({ length: CLIENTS }, () => 0);
  let isDeploying = true;
  const send = async (): Promise<void> => {
    for (let turn = 0; isDeploying; turn++) {
      const startMs = performance.now();
      const messages = Array.from({ length: BATCH }, (_, j) => {
        const i = (turn * BATCH + j) % CLIENTS;
        const notification = { title: "Deployed", body: `message ${sent[i]}` };
        return { to: { user: `deployed-${i}` }, data: { n: sent[i]!++ }, notification };
      });
      const { results } = (await cluster.post("/v1/messages/batch", { messages })) as {
        results: readonly { error?: unknown }[];
      };
      expect(results.filter(({ error }) => error !== undefined)).toEqual([]);
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS - (performance.now() - startMs)));
    }
  };
  const sending = send();

  isRestarting = true;
  for (const node of cluster.nodes) {
    node.signal("SIGTERM");
    expect(await node.exited, await node.log()).toBe(0);
    await cluster.startAgain(node);
  }
  isDeploying = false;
  await sending;

  const all = sent.reduce((sum, one) => sum + one, 0);
  const arrived = (): number => recorder.counts().reduce((sum, one) => sum + one, 0);
  await waitFor(() => arrived() === all || recorder.problems.length > 0, {
    what: "all messages",
    deadlineMs: 60_000,
  }).catch((error: unknown) => {
    throw new Error(`${arrived()} of ${all} arrived`, { cause: error });
  });
  expect(recorder.problems).toEqual([]);
  expect(recorder.counts()).toEqual(sent);
  expect(closedForGood).toEqual([]);
  await waitFor(() => clients.every(({ state }) => state === "online"), { what: "everyone to be online" });
  expect(await connectionsOf("many-devices")).toHaveLength(DEVICES);

  // The first node's clients moved to the second; then all moved back.
  const moves = welcomes.map((count) => count - 1);
  const totalMoves = moves.reduce((sum, one) => sum + one, 0);
  const sorted = gaps.map(({ ms }) => ms).sort((a, b) => a - b);
  // A move that had its new socket first counts as no wait.
  const waits = [...Array.from({ length: totalMoves - gaps.length }, () => 0), ...sorted];
  const p99 = waits[Math.floor(waits.length * 0.99)] ?? 0;
  process.stdout.write(
    `${CLIENTS} clients, ${all} messages, ${totalMoves} moves, ${gaps.length} of them with a gap: time without a ` +
      `connection p99 ${p99.toFixed(0)} ms, longest ${(sorted.at(-1) ?? 0).toFixed(0)} ms\n`,
  );
  expect(Math.min(...moves)).toBeGreaterThanOrEqual(1);
  expect(gaps.map(({ code }) => code).filter((code) => code !== 1012)).toEqual([]);
  // Asked early enough: a busy machine makes some late, not most.
  expect(gaps.length).toBeLessThan(totalMoves / 4);
  expect(Math.max(0, ...sorted)).toBeLessThan(WINDOW_MS);
  expect(offered).toEqual([]);
  // A ring would have been noticed: a user who is not there at all is rung, and nobody else.
  const notification = { title: "Deployed", body: "while you were away" };
  await cluster.post("/v1/messages", { to: { user: "elsewhere" }, data: "away", notification });
  await waitFor(() => offered.length > 0, { what: "the fallback of who is away", deadlineMs: 30_000 });
  expect(offered.filter((body) => !body.includes("elsewhere"))).toEqual([]);
}, 240_000);

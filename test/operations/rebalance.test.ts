// Flow: a third push node joins, behind a balancer that goes round robin; the others ask clients to move.
// Guarantees: the nodes end within a tenth of the mean; each client moves at most once, and is never without a socket;
// no event says that anybody was offline, no phone rings, no message is lost or out of order.
import { createServer as createHttpServer } from "node:http";
import { connect as connectSocket, createServer, type AddressInfo, type Server } from "node:net";
import { isDeepStrictEqual } from "node:util";
import { connect, type PetrelClient } from "@petrel/client";
import { probeRedis } from "@petrel/shared/embedded-redis/resp-probe";
import { freePort } from "@petrel/shared/testing/free-port";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { InOrderRecorder } from "../support/faults/in-order-recorder.js";
import { sized } from "../support/sizes.js";

const CLIENTS = sized(600, 60);
const PER_SECOND = sized(30, 20);
/** Between two batches of messages. */
const EVERY_MS = sized(200, 800);
const AT_A_TIME = 30;

const offered: string[] = [];
/** Stands in for the fallback's webhook. */
const webhook = createHttpServer((request, response) => {
  let body = "";
  request.on("data", (chunk: Buffer) => (body += chunk.toString("utf8")));
  request.on("end", () => {
    offered.push(body);
    response.writeHead(204).end();
  });
});
const clients: PetrelClient<{ n: number }>[] = [];
const metricsPorts = new Map<string, number>();
const targets: number[] = [];
let turns = 0;
let balancer: Server;
let cluster: TestCluster;

beforeAll(async () => {
  await new Promise<void>((resolve) => webhook.listen(0, "127.0.0.1", resolve));
  for (const name of ["push-node-1", "push-node-2", "push-node-3"]) metricsPorts.set(name, await freePort());
  cluster = await startCluster({
    together: true,
    environment: {
      REBALANCE_PER_SECOND: String(PER_SECOND),
      REBALANCE_SETTLE_SECONDS: "1",
      EVENTS: "user.online,user.offline,message.pushed,message.failed",
      FALLBACK_WEBHOOK_URL: `http://127.0.0.1:${(webhook.address() as AddressInfo).port}/`,
      LOG_LEVEL: "info",
    },
    environmentOf: (name): Readonly<Record<string, string>> => {
      const port = metricsPorts.get(name);
      return port === undefined ? {} : { METRICS_PORT: String(port) };
    },
  });
  targets.push(...cluster.nodes.map(({ port }) => port));
  balancer = createServer((client) => {
    const target = connectSocket({ port: targets[turns++ % targets.length] ?? 0, host: "127.0.0.1" });
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      from.on("error", () => to.destroy());
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => balancer.listen(0, "127.0.0.1", resolve));
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await cluster.stop();
  balancer.close();
  webhook.close();
});

async function counted(name: string, metric: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${metricsPorts.get(name)}/metrics`)).text();
  return Number(new RegExp(`^${metric}\\{.*\\} (\\d+)$`, "m").exec(text)?.[1]);
}
/** When each node has reported last. */
async function reports(): Promise<string[]> {
  const [answer] = await probeRedis(cluster.redis.url, [["HVALS", "petrel:node-loads"]]);
  return [answer].flat(2).map((value) => (typeof value === "string" ? (value.split(" ")[2] ?? "") : ""));
}
const onNodes = (metric: string): Promise<number[]> =>
  Promise.all([...metricsPorts.keys()].map((name) => counted(name, metric)));

test(`a third node joins two with ${CLIENTS} clients`, async () => {
  const recorder = new InOrderRecorder(CLIENTS);
  const welcomes = Array.from({ length: CLIENTS }, () => 0);
  const gaps: number[] = [];
  const open = async (i: number): Promise<void> => {
    const token = await cluster.tokenFor(`even-${i}`);
    const url = `ws://127.0.0.1:${(balancer.address() as AddressInfo).port}/v1/connect`;
    const client = connect<{ n: number }>({ url, getToken: () => token, WebSocket });
    clients.push(client);
    client.on("message", ({ data }) => recorder.received(i, data.n));
    client.on("welcome", () => welcomes[i]!++);
    client.on("offline", ({ code }) => void gaps.push(code));
    await client.whenOnline();
  };
  for (let start = 0; start < CLIENTS; start += AT_A_TIME) {
    await Promise.all(
      Array.from({ length: Math.min(AT_A_TIME, CLIENTS - start) }, (_, i) => open(start + i)),
    );
  }

  const third = await cluster.startNode("push-node-3");
  targets.push(third.port);
  // Messages for everyone, all the while: who could not be reached would be rung.
  const sent = Array.from({ length: CLIENTS }, () => 0);
  let goesOn = true;
  const send = async (): Promise<void> => {
    for (let i = 0; goesOn; i = (i + AT_A_TIME) % CLIENTS) {
      const messages = Array.from({ length: Math.min(AT_A_TIME, CLIENTS - i) }, (_, j) => {
        const notification = { title: "Even", body: "out" };
        return { to: { user: `even-${i + j}` }, data: { n: sent[i + j]!++ }, notification };
      });
      await cluster.post("/v1/messages/batch", { messages });
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  };
  const sending = send();
  // If the test fails first, nobody waits for it.
  sending.catch(() => undefined);

  const mean = CLIENTS / 3;
  const isEven = (counts: readonly number[]): boolean =>
    counts.every((count) => Math.abs(count - mean) <= mean / 10) &&
    counts.reduce((sum, n) => sum + n, 0) === CLIENTS;
  let counts: number[] = [];
  const isOver = async (): Promise<boolean> =>
    (await Promise.all(cluster.nodes.map((node) => node.log()))).every((log) =>
      log.includes("rebalance: over"),
    );
  await waitFor(async () => isEven((counts = await onNodes("petrel_connections_open"))) && (await isOver()), {
    what: "the nodes to be even",
    deadlineMs: 150_000,
    // A look costs each node the text of all its metrics.
    everyMs: 1_000,
  }).catch((error: unknown) => {
    throw new Error(`they have ${counts.join(", ")}`, { cause: error });
  });
  // It stays so: soon there are two rounds in which nobody is asked. (What a node had heard of the others may have been a
  // round old when it asked last.)
  let asked: number[];
  const endsAtMs = performance.now() + 60_000;
  do {
    asked = await onNodes("petrel_rebalanced_connections_total");
    for (let round = 0; round < 2; round++) {
      const before = await reports();
      await waitFor(async () => (await reports()).every((at, i) => at !== before[i]), {
        what: "another round",
        // Each look is a connection to Redis; a round takes seconds.
        everyMs: 250,
      });
    }
  } while (
    performance.now() < endsAtMs &&
    !isDeepStrictEqual(await onNodes("petrel_rebalanced_connections_total"), asked)
  );
  expect(await onNodes("petrel_rebalanced_connections_total")).toEqual(asked);
  await waitFor(async () => isEven((counts = await onNodes("petrel_connections_open"))), {
    what: "the nodes to be even still",
  });
  goesOn = false;
  await sending;

  const all = sent.reduce((sum, one) => sum + one, 0);
  await waitFor(
    () => recorder.counts().reduce((sum, one) => sum + one, 0) === all || recorder.problems.length > 0,
    {
      what: "all messages",
      deadlineMs: 60_000,
    },
  );
  expect(recorder.problems).toEqual([]);
  const moves = welcomes.map((count) => count - 1);
  const moved = moves.reduce((sum, one) => sum + one, 0);
  const { items } = (await (
    await fetch(`${cluster.collect.url}/v1/events?types=user.offline,message.pushed,message.failed`, {
      headers: { authorization: `Bearer ${cluster.apiKey}` },
    })
  ).json()) as { items: unknown[] };
  process.stdout.write(
    `rebalance: ${CLIENTS} clients on ${counts.join(", ")}; ${moved} moved, at most ${Math.max(...moves)} times; ` +
      `${gaps.length} without a socket, ${items.length} events of absence, ${offered.length} rung, ${all} messages\n`,
  );
  expect(Math.max(...moves)).toBe(1);
  expect(moved).toBe(asked.reduce((sum, one) => sum + one, 0));
  expect(items).toEqual([]);
  expect(offered).toEqual([]);
  // A machine that is too busy makes one late now and then; none was cut off otherwise.
  expect(gaps.filter((code) => code !== 1012)).toEqual([]);
  expect(gaps.length).toBeLessThan(moved / 4);
  // An absence would have shown.
  await clients[0]?.close();
  await waitFor(
    async () => {
      const response = await fetch(`${cluster.collect.url}/v1/events?types=user.offline`, {
        headers: { authorization: `Bearer ${cluster.apiKey}` },
      });
      return ((await response.json()) as { items: unknown[] }).items.length === 1;
    },
    { what: "the event of one who leaves", deadlineMs: 60_000 },
  );
}, 300_000);

// Flow: Redis is full; every service is restarted, one after the other, and a node is paused meanwhile.
// Guarantees: all of them come up; the node comes back; acknowledgements and expiries free memory, and messages are
// accepted again without help.
import { connect, type PetrelClient } from "@petrel/client";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import type { ServiceProcess } from "@petrel/shared/testing/cluster/service-process";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { sized } from "../../support/sizes.js";

const MIB = 2 ** 20;
const MESSAGE_BYTES = 16 * 1024;
/** The first users' messages are acknowledged, the others' expire. */
const READERS = sized(8, 4);
const ABSENT = sized(8, 4);
/** More than 64, the step in which acknowledged messages leave an inbox (inbox/ack.lua). */
const MESSAGES_EACH = 80;
const TOTAL_BYTES = (READERS + ABSENT) * MESSAGES_EACH * MESSAGE_BYTES;
/** Less than the readers' messages, or the others', fill alone: only both ways together free enough. */
const ROOM_BYTES = Math.floor(TOTAL_BYTES * 0.35);
const TTL_SECONDS = 20;
const NODE_TTL_MS = 3_000;

let cluster: TestCluster;
let redis: Redis;
/** Who starts now is not killed again. */
let isRestarting = false;
const clients: PetrelClient<{ n: number }>[] = [];

beforeAll(async () => {
  cluster = await startCluster({
    nodes: 2,
    together: () => isRestarting,
    environment: {
      NODE_TTL_MS: String(NODE_TTL_MS),
      INBOX_HISTORY: "0",
      LOG_LEVEL: "info",
    },
  });
  redis = await connectRedis({
    url: cluster.redis.url,
    role: "test",
    logger: createLogger({ service: "test", level: "silent" }),
  });
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  redis?.disconnect();
  await cluster?.stop();
});

const usedBytes = async (): Promise<number> =>
  Number(/^used_memory:(\d+)/m.exec(await redis.info("memory"))?.[1]);

/** The answer to a client without Petrel's allowances. */
const isFull = (): Promise<boolean> =>
  redis.set("elsewhere", "1").then(
    () => false,
    (error: unknown) => String(error).includes("OOM"),
  );

const nodeKeys = async (name: string): Promise<number> => (await redis.keys(`petrel:node:${name}.*`)).length;

const send = (user: string, n: number, ttlSeconds: number): Promise<unknown> =>
  cluster.post("/v1/messages", {
    to: { user },
    data: { n, text: "x".repeat(MESSAGE_BYTES) },
    ttlSeconds,
    fallback: "never",
  });

async function open(user: string, url: string): Promise<{ readonly got: Set<number> }> {
  const token = await cluster.tokenFor(user);
  const client = connect<{ n: number }>({ url, getToken: () => token, WebSocket });
  clients.push(client);
  const got = new Set<number>();
  client.on("error", () => undefined);
  client.on("message", ({ data }) => void got.add(data.n));
  await client.whenOnline();
  return { got };
}

async function restart(service: ServiceProcess): Promise<void> {
  expect(await isFull(), `Redis is full when ${service.name} starts again`).toBe(true);
  service.signal("SIGKILL");
  await service.exited;
  // Resolves when it is ready.
  await cluster.startAgain(service);
}

test("services start and recover on a full Redis, and drain it", async () => {
  const [nodeUrl = "", otherUrl = ""] = cluster.nodeUrls;
  const before = await usedBytes();
  for (let n = 0; n < MESSAGES_EACH; n++) {
    await Promise.all([
      ...Array.from({ length: READERS }, (_, i) => send(`reader-${i}`, n, 3_600)),
      ...Array.from({ length: ABSENT }, (_, i) => send(`absent-${i}`, n, TTL_SECONDS)),
    ]);
  }
  const waiting = await open("waiting", otherUrl);
  await redis.config("SET", "maxmemory", String(before + ROOM_BYTES));
  await expect(send("waiting", 1, 3_600)).rejects.toThrow(/503 .*PETREL_UNAVAILABLE/);

  // Longer than its key lives.
  const [node] = cluster.nodes.slice(1);
  if (node === undefined) throw new Error("there is no second node");
  node.signal("SIGSTOP");
  await waitFor(async () => (await nodeKeys(node.name)) === 0, {
    what: "the end of the paused node's key",
    deadlineMs: 30_000,
  });
  node.signal("SIGCONT");
  await waitFor(async () => (await nodeKeys(node.name)) === 1, {
    what: "the node that is back",
    deadlineMs: 30_000,
  });

  isRestarting = true;
  for (const name of ["auth", "push-node-1", "dispatch-1", "collect"]) await restart(cluster.newest(name));
  expect(await isFull()).toBe(true);

  const readers = await Promise.all(
    Array.from({ length: READERS }, (_, i) => open(`reader-${i}`, i % 2 === 0 ? nodeUrl : otherUrl)),
  );
  await waitFor(() => readers.every(({ got }) => got.size === MESSAGES_EACH), {
    what: "the messages that waited",
    deadlineMs: 60_000,
  });
  let last: unknown;
  await waitFor(
    () =>
      send("waiting", 2, 3_600).then(
        () => true,
        (error: unknown) => {
          last = error;
          return false;
        },
      ),
    { what: "a message that is accepted", deadlineMs: 90_000, everyMs: 250 },
  ).catch(async (error: unknown) => {
    const stillUsed = ((await usedBytes()) / MIB).toFixed(1);
    throw new Error(`not accepted, ${stillUsed} MiB used: ${String(last)}`, { cause: error });
  });
  // A user who was on the paused node all the time gets the message.
  await waitFor(() => waiting.got.has(2), { what: "its delivery", deadlineMs: 30_000 });
  process.stdout.write(
    `full Redis: ${(before / MIB).toFixed(1)} MiB, room for ${(ROOM_BYTES / MIB).toFixed(1)} more, filled with ` +
      `${(TOTAL_BYTES / MIB).toFixed(1)}; drained to ${((await usedBytes()) / MIB).toFixed(1)} MiB\n`,
  );
}, 300_000);

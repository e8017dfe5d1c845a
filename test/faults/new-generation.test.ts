// Flow: Redis is killed and comes back, everybody gets a message, and the node lets its clients in slowly.
// Guarantees: no phone rings for a user whom a node holds out; everybody has the message in the end.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type PetrelClient } from "@petrel/client";
import { startRestartableRedis, type RestartableRedis } from "@petrel/shared/testing/redis/restartable-redis";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import {
  startWebhookReceiver,
  type WebhookReceiver,
} from "../../services/dispatch/src/testing/webhook-receiver.js";
import { untilReady } from "../support/faults/redis-load.js";
import { sized } from "../support/sizes.js";

const USERS = sized(400, 40);
/**
 * So few that the last ones come long after the grace period, and after the time that follows a change of generation.
 */
const PER_SECOND = 8;
const BURST_OF = 40;

let directory: string;
let redis: RestartableRedis;
let receiver: WebhookReceiver;
let cluster: TestCluster;
const clients: PetrelClient<{ n: number }>[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-generation-"));
  const secretFile = join(directory, "secret");
  await writeFile(secretFile, `whsec_${randomBytes(32).toString("base64")}\n`, { mode: 0o600 });
  redis = await startRestartableRedis(["--appendfsync", "always"]);
  receiver = await startWebhookReceiver();
  cluster = await startCluster({
    together: true,
    redis: redis.current(),
    nodes: 1,
    environment: {
      CONNECTS_PER_SECOND: String(PER_SECOND),
      CONNECT_WAIT_MS: "2000",
      FALLBACK_WEBHOOK_URL: receiver.url,
      FALLBACK_WEBHOOK_SECRET_FILE: secretFile,
    },
  });
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await cluster?.stop();
  await receiver?.close();
  await redis?.stop();
  await rm(directory, { recursive: true });
});

test(`${USERS} clients whose users have a new epoch come back, and no phone rings`, async () => {
  const received = new Set<number>();
  for (let i = 0; i < USERS; i++) {
    const token = await cluster.tokenFor(`user-${i}`);
    const client = connect<{ n: number }>({
      url: cluster.nodeUrls[0] ?? "",
      getToken: () => token,
      WebSocket,
      timing: { backoffCapMs: 4_000 },
    });
    client.on("error", () => undefined);
    client.on("message", () => void received.add(i));
    clients.push(client);
    if (i % BURST_OF === BURST_OF - 1) await Promise.all(clients.map((one) => one.whenOnline()));
  }
  await redis.kill();
  await redis.startAgain();
  await untilReady(cluster, true);
  // All at once: each message sends its client away, and the crowd waits at the node's door.
  const startMs = performance.now();
  for (let start = 0; start < USERS; start += BURST_OF) {
    const messages = Array.from({ length: Math.min(BURST_OF, USERS - start) }, (_, i) => ({
      to: { user: `user-${start + i}` },
      data: { n: start + i },
      notification: { title: "t", body: "b" },
    }));
    await cluster.post("/v1/messages/batch", { messages });
  }
  await waitFor(() => received.size === USERS, { what: "everybody's message", deadlineMs: 150_000 });
  const seconds = ((performance.now() - startMs) / 1_000).toFixed(1);
  process.stdout.write(`new generation: ${USERS} back in ${seconds} s, ${receiver.requests.length} rung\n`);
  expect(receiver.requests).toHaveLength(0);
}, 300_000);

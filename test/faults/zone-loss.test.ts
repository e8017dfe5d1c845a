// A zone is cut off, and goes: a push node, a dispatcher, a collect, a sentinel and Redis' master, all at once, under
// load.
// Guarantees: what was answered 202 under ACCEPT_DURABILITY=replicas:1 arrives, once; what is left becomes ready by itself.
//
// In `npm run test:full` alone: its parts are tried one by one in every run.
import { probeRedis } from "@petrel/shared/embedded-redis/resp-probe";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import {
  startRedisSentinels,
  type TestRedisSentinels,
} from "@petrel/shared/testing/redis/start-redis-sentinels";
import type { TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, expect, test } from "vitest";
import { handledTwice, openRedisLoad, type RedisLoad } from "../support/faults/redis-load.js";
import { sized } from "../support/sizes.js";

const lostProcesses = ["push-node-2", "dispatch-2", "collect-2"];

let group: TestRedisSentinels;
let cluster: TestCluster;
let load: RedisLoad | undefined;

afterEach(async () => {
  await load?.close();
  await cluster?.stop();
  await group?.stop();
});

/** From here on the replicas get nothing of the master's. The master has no password: whoever brings one is refused. */
async function cutOff(replicas: readonly TestRedis[]): Promise<void> {
  for (const { url } of replicas) {
    await probeRedis(url, [
      ["CONFIG", "SET", "masterauth", "wrong"],
      ["CLIENT", "KILL", "TYPE", "MASTER"],
    ]);
    await waitFor(
      async () => {
        const [info] = await probeRedis(url, [["INFO", "replication"]]);
        return typeof info === "string" && info.includes("link_status:down");
      },
      { what: "a replica to be cut off", deadlineMs: 30_000 },
    );
  }
}

/** For the one that follows the other now. */
async function letFollow(replicas: readonly TestRedis[]): Promise<void> {
  for (const { url } of replicas) await probeRedis(url, [["CONFIG", "SET", "masterauth", ""]]);
}

test.runIf(sized(1, 0) === 1)(
  "a zone is lost under load: nothing confirmed is lost, and the rest keeps serving",
  async () => {
    // Two replicas, so that one is left to confirm writes when the other has become the master.
    group = await startRedisSentinels({ replicas: 2 });
    const [master] = group.servers;
    if (master === undefined) throw new Error("no server");
    cluster = await startCluster({
      // What dies by SIGKILL needs a process of its own.
      together: (name) => !lostProcesses.includes(name),
      redis: master,
      nodes: 2,
      dispatchers: 2,
      collects: 2,
      environment: { ACK_TIMEOUT_MS: "2000", ACCEPT_DURABILITY: "replicas:1", ...group.environment },
    });
    load = openRedisLoad(cluster);
    const online = Array.from({ length: 12 }, (_, i) => `on-${i}`);
    const away = Array.from({ length: 6 }, (_, i) => `away-${i}`);
    const clients = await load.connect(online);
    load.start([...online, ...away]);
    await load.untilAccepted(200);

    // The zone's links go first: what the master takes now is on no replica, and must not be confirmed.
    const replicas = group.servers.filter((server) => server !== master);
    await cutOff(replicas);
    const unconfirmed = await fetch(`${cluster.collect.url}/v1/messages`, {
      method: "POST",
      headers: { authorization: `Bearer ${cluster.apiKey}`, "content-type": "application/json" },
      body: JSON.stringify({ to: { user: "nobody" }, data: 1, fallback: "never" }),
    });
    expect(unconfirmed.status).toBe(503);
    const before = load.accepted().length;
    for (const name of lostProcesses) cluster.newest(name).signal("SIGKILL");
    master.signal("SIGKILL");
    group.sentinels.at(-1)?.signal("SIGKILL");
    await letFollow(replicas);
    const left = cluster.processes.filter(({ name }) => !lostProcesses.includes(name));
    await waitFor(async () => (await group.master()) !== master, {
      what: "the failover",
      deadlineMs: 60_000,
    });
    await waitFor(
      async () => {
        const answers = await Promise.all(left.map(({ url }) => fetch(`${url}/health/ready`)));
        return answers.every(({ ok }) => ok);
      },
      { what: "what is left to be ready", deadlineMs: 60_000 },
    );
    await load.untilAccepted(before + 200);
    await load.stop();
    await clients.allOnline(60_000);
    await load.connect(away);
    const lost = await load.lost();
    process.stdout.write(`zone loss: ${load.accepted().length} accepted, ${lost.length} lost\n`);
    expect(lost).toEqual([]);
    expect(handledTwice(load.recorder)).toEqual([]);
  },
  240_000,
);

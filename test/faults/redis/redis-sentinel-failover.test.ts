// A Redis watched by Sentinel under the services: its master is killed, a replica promoted.
// Guarantees: the services find the new master by themselves; nothing answered with 202 under
// ACCEPT_DURABILITY=replicas:1 is lost, to users and to topics; listeners of a topic are told of its new epoch.
import { afterEach, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import {
  startRedisSentinels,
  type TestRedisSentinels,
} from "@petrel/shared/testing/redis/start-redis-sentinels";
import { waitFor } from "@petrel/shared/testing/wait-for";
import {
  handledTwice,
  openRedisLoad,
  untilReady,
  watchReadiness,
  type RedisLoad,
} from "../../support/faults/redis-load.js";

let group: TestRedisSentinels;
let cluster: TestCluster;
let load: RedisLoad | undefined;

afterEach(async () => {
  await load?.close();
  load = undefined;
  await cluster?.stop();
  await group?.stop();
});

test("the master killed under load: services follow the sentinels, and nothing confirmed is lost", async () => {
  // Two, so that one is left to confirm writes when the other has become the master.
  group = await startRedisSentinels({ replicas: 2 });
  const [first] = group.servers;
  if (first === undefined) throw new Error("no server");
  cluster = await startCluster({
    together: true,
    redis: first,
    environment: { ACK_TIMEOUT_MS: "2000", ACCEPT_DURABILITY: "replicas:1", ...group.environment },
  });
  load = openRedisLoad(cluster);
  const online = Array.from({ length: 8 }, (_, i) => `on-${i}`);
  const away = Array.from({ length: 8 }, (_, i) => `away-${i}`);
  const { recorder } = load;
  const clients = await load.connect(online, ["news"]);
  const answers = () =>
    recorder.topics.events.flatMap((event) =>
      event.kind === "subscribed" && event.topic === "news" ? [event] : [],
    );
  await waitFor(() => answers().length >= online.length, { what: "all to be subscribed" });
  load.start([...online, ...away, "#news"]);
  await load.untilAccepted(150);

  const watch = watchReadiness(cluster);
  const before = load.accepted().length;
  first.signal("SIGKILL");
  const killedAtMs = performance.now();
  await waitFor(async () => (await group.master()) !== first, { what: "the failover", deadlineMs: 30_000 });
  await untilReady(cluster, true, 60_000);
  const outageMs = performance.now() - killedAtMs;
  await load.untilAccepted(before + 150);
  await load.stop();
  const notReady = await watch.stop();
  await clients.allOnline(30_000);
  await load.connect(away);
  const lost = await load.lost();
  process.stdout.write(
    `sentinel failover, replicas:1: ${load.accepted().length} accepted, ${lost.length} lost, ready again after ${Math.round(outageMs)} ms\n`,
  );
  expect(lost).toEqual([]);
  expect(notReady).toEqual([]);
  expect(handledTwice(recorder)).toEqual([]);

  const news = load.accepted().filter(({ user }) => user === "#news");
  expect(news.length).toBeGreaterThan(10);
  for (const client of online) {
    const got = recorder.topics.handled.filter((message) => message.client === client).map(({ id }) => id);
    expect(new Set(got).size, `${client}: none twice`).toBe(got.length);
    // One that was never confirmed may have been seen, and lost: then its listeners are told.
    const wasTold = recorder.topics.holes.some((hole) => hole.client === client);
    const missing = news.filter(({ id = "" }) => !got.includes(id));
    if (!wasTold) expect(missing, `${client}: none missing`).toEqual([]);
  }
  expect(new Set(answers().map(({ epoch }) => epoch)).size, "a new epoch was told").toBeGreaterThan(1);
}, 180_000);

// Redis is killed and restarted under load, with all of its data and without its tail.
// Guarantees: what was answered with 202 under ACCEPT_DURABILITY=aof is there; a lost tail shows as new epochs, and
// nothing new is taken for something seen.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { runtimeEnvironment } from "@petrel/shared/embedded-redis/inspect-server";
import { findTestServer } from "@petrel/shared/testing/redis/find-test-server";
import { startRestartableRedis, type RestartableRedis } from "@petrel/shared/testing/redis/restartable-redis";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import {
  handledTwice,
  openRedisLoad,
  readReadiness,
  untilReady,
  type RedisLoad,
} from "../../support/faults/redis-load.js";
import { sized } from "../../support/sizes.js";

const users = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}-${i + 1}`);

const KEPT_NEWS = 5;
const LOST_NEWS = 3;

let redis: RestartableRedis;
let cluster: TestCluster;
let load: RedisLoad | undefined;

afterEach(async () => {
  await load?.close();
  load = undefined;
  await cluster?.stop();
  await redis?.stop();
});

async function open(extraArgs: readonly string[], environment: Record<string, string>): Promise<RedisLoad> {
  redis = await startRestartableRedis(extraArgs);
  cluster = await startCluster({
    together: true,
    redis: redis.current(),
    environment: { ACK_TIMEOUT_MS: "2000", ACCEPT_DEADLINE_MS: "1500", ...environment },
  });
  load = openRedisLoad(cluster);
  return load;
}

test("killed and restarted on its append-only file: everything answered with 202 arrives, once", async () => {
  const { recorder, ...under } = await open(["--appendfsync", "always"], {
    ACCEPT_DURABILITY: "aof",
    READY_WITHOUT_REDIS_MS: "1000",
  });
  const online = users("on", 10);
  const away = users("away", 5);
  await under.connect(online);
  under.start([...online, ...away]);
  await under.untilAccepted(sized(200, 100));
  await redis.kill();
  const before = under.accepted().length;

  const states = await untilReady(cluster, false);
  for (const { name, checks } of states) {
    expect(checks["redis"], name).toMatch(/\S/);
    expect(checks["redis"], name).not.toBe("ok");
  }
  await waitFor(
    async () => {
      const now = await readReadiness(cluster);
      return now.every(({ name, status }) => (status === 200) === name.startsWith("push-node"));
    },
    { what: "all to be not ready, but the nodes, which hold sockets" },
  );
  const refused = await fetch(`${cluster.collect.url}/v1/messages`, {
    method: "POST",
    headers: { authorization: `Bearer ${cluster.apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({ to: { user: "on-1" }, data: { n: -1 }, ttlSeconds: 1 }),
  });
  expect(refused.status).toBe(503);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
  expect(await refused.json()).toMatchObject({ error: { code: "PETREL_UNAVAILABLE", retryable: true } });

  await redis.startAgain();
  await untilReady(cluster, true);
  await under.untilAccepted(before + sized(200, 100));
  await under.stop();
  await under.connect(away);
  expect(await under.lost()).toEqual([]);
  expect(handledTwice(recorder)).toEqual([]);
  expect(recorder.posts.filter(({ outcome }) => outcome !== "accepted")).toEqual([]);
  process.stdout.write(`restart on the AOF: ${under.accepted().length} accepted, 0 lost\n`);
});

test("a lost tail: new epochs, nothing new taken for seen, and only what came after the cut is gone", async () => {
  const extraArgs = ["--appendfsync", "always", "--aof-timestamp-enabled", "yes"];
  // The tool of Valkey 9.1 rejects the base file that its server writes by default.
  extraArgs.push("--aof-use-rdb-preamble", "no");
  const { recorder, ...under } = await open(extraArgs, {});
  const online = users("on", 6);
  const away = users("away", 6);
  await under.connect(online);
  const url = cluster.nodeUrls[0] ?? "";
  const listener = await connectClient({ url, token: await cluster.tokenFor("listener", ["news"]) });
  listener.send({ type: "subscribe", topic: "news" });
  await listener.frame("subscribed");

  under.start([...online, ...away]);
  await under.untilAccepted(sized(120, 80));
  await under.stop();
  for (let n = 1; n <= KEPT_NEWS; n++) await publishNews(n);
  const kept = under.accepted().length;
  const cutAtSeconds = Math.floor(Date.now() / 1000) + 1;
  // The file's timestamps are whole seconds, so later writes must carry a later one.
  await waitFor(() => Date.now() >= (cutAtSeconds + 1) * 1000, { what: "the next second" });

  under.start([...online, ...away]);
  await under.untilAccepted(kept + sized(120, 80));
  await under.stop();
  for (let n = 1; n <= LOST_NEWS; n++) await publishNews(KEPT_NEWS + n);
  await waitFor(() => listener.topicMessages.length === KEPT_NEWS + LOST_NEWS, { what: "all news" });
  const afterCut = under.accepted().length;
  await redis.kill();
  await truncateTo(cutAtSeconds);
  await redis.startAgain();
  await untilReady(cluster, true);
  await expectToldOfLostNews(listener, url);

  under.start([...online, ...away]);
  await under.untilAccepted(afterCut + sized(120, 80));
  await under.stop();
  await under.connect(away);
  const lost = await under.lost();
  process.stdout.write(
    `lost tail: ${under.accepted().length} accepted, ${afterCut - kept} of them after the cut, ${lost.length} lost\n`,
  );
  // Connected users had received them; nobody else can.
  expect(lost.map(({ n }) => n)).toEqual(
    recorder.posts
      .filter(({ n, user }) => n >= kept && n < afterCut && away.includes(user))
      .map(({ n }) => n),
  );
  expect(lost.length).toBeGreaterThan(0);
  expect(handledTwice(recorder)).toEqual([]);

  for (const user of online) {
    const theirs = recorder.connections.filter((connection) => connection.user === user);
    expect(new Set(theirs.map(({ epoch }) => epoch)).size, `${user} got a new epoch`).toBeGreaterThan(1);
    const numbers = recorder.handled
      .filter((message) => message.user === user)
      .map(({ epoch, seq }) => `${epoch} ${seq}`);
    expect(new Set(numbers).size, `${user}: no number twice`).toBe(numbers.length);
  }
});

async function publishNews(n: number): Promise<void> {
  await cluster.post("/v1/messages", { to: { topic: "news" }, data: { n } });
}

/**
 * The topic has a new epoch: who saw what was lost is told so before anything else comes; a position up to what
 * survived still holds.
 */
async function expectToldOfLostNews(listener: WsClient, url: string): Promise<void> {
  const isOfNews = (frame: WsClient["frames"][number]): boolean => frame["topic"] === "news";
  const answers = (): WsClient["frames"] =>
    listener.frames.filter((frame) => isOfNews(frame) && frame.type === "subscribed");
  const [before, told] = await waitFor(() => answers().length === 2 && answers(), {
    what: "the listener to be told",
  });
  expect(told).toMatchObject({ recovered: false, offset: KEPT_NEWS });
  expect(told?.["epoch"]).not.toBe(before?.["epoch"]);
  // Its user has a new epoch too, so it is asked to move, and closed a second later: on a busy machine before the news.
  const moved = await connectClient({ url, token: await cluster.tokenFor("listener", ["news"]) });
  moved.send({ type: "subscribe", topic: "news", epoch: told?.["epoch"], offset: told?.["offset"] });
  const resumed = await waitFor(() => moved.frames.find(isOfNews), { what: "its place" });
  expect(resumed).toMatchObject({ type: "subscribed", recovered: true, offset: KEPT_NEWS });
  await publishNews(KEPT_NEWS + 1);
  // A number that was lost is given again, under the new epoch.
  const next = { offset: KEPT_NEWS + 1, data: { n: KEPT_NEWS + 1 } };
  await waitFor(() => moved.topicMessages.length > 0, { what: "the next news" });
  expect(moved.topicMessages).toEqual([expect.objectContaining(next)]);
  const isStill = (): boolean => listener.closed() === undefined;
  const heard = (): WsClient["topicMessages"] => listener.topicMessages.slice(KEPT_NEWS + LOST_NEWS);
  await waitFor(() => heard().length > 0 || !isStill(), { what: "the next news where it was, or its close" });
  for (const message of heard()) expect(message).toMatchObject(next);
  expect(answers()).toHaveLength(2);

  const recoveredFrom = async (offset: number): Promise<unknown> => {
    const client = await connectClient({ url, token: await cluster.tokenFor("late", ["news"]) });
    client.send({ type: "subscribe", topic: "news", epoch: before?.["epoch"], offset });
    await waitFor(() => client.frames.some((frame) => isOfNews(frame)), { what: "the answer" });
    const answer = client.frames.find(isOfNews);
    client.close();
    return answer?.["recovered"];
  };
  expect(await recoveredFrom(KEPT_NEWS)).toBe(true);
  expect(await recoveredFrom(KEPT_NEWS + LOST_NEWS)).toBe(false);
}

/** As an operator would; the server's binary is that tool, too, under another name. */
async function truncateTo(seconds: number): Promise<void> {
  const binary = await findTestServer(process.env);
  const manifest = join(redis.current().directory, "appendonlydir", "appendonly.aof.manifest");
  const tool = spawn(binary.path, ["--truncate-to-timestamp", String(seconds), manifest], {
    argv0: "redis-check-aof",
    env: { ...runtimeEnvironment(binary, process.env) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [tool.stdout, tool.stderr])
    stream.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => tool.once("close", resolve));
  if (code !== 0 || !/truncated/i.test(said)) throw new Error(`redis-check-aof: ${code}: ${said}`);
}

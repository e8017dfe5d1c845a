// The guard of the hot path: what a message costs in Redis commands, bytes, reads and writes, beside message-cost.json.
// Guarantees: every figure is a count, so a loaded machine does not change it; one that has grown by more than a tenth
// fails. Not counted: CPU instructions (virtual machines often have no counter for them), allocations, and the acks'
// own frames, which linger and so depend on time.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient } from "@petrel/shared/testing/peers/ws-client";
import { message, openStore, routeLimits, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import type { AcceptResult } from "@petrel/shared/redis/accept/accept-answers";
import { DEFAULT_SLOW_HISTORY } from "@petrel/shared/redis/inbox/hold-history";
import { ackUsers } from "@petrel/shared/redis/inbox/ack-users";
import { connectRoute } from "@petrel/shared/redis/routes/connect-routes";
import { removeRoute } from "@petrel/shared/redis/routes/route-store";
import { openKeepAlivePost } from "../../bench/src/keep-alive-post.js";
import { compareCosts, type Costs } from "./compare-costs.js";
import { lowestTwentieth, readIo } from "./count-io.js";
import { countRedis } from "./count-redis.js";

const FILE = new URL("message-cost.json", import.meta.url);
const UPDATES = process.env["PETREL_UPDATE_COSTS"] === "1";
const HISTORY = 100;
const NODE = "push-node-1.lz4k2abc";
const DATA = JSON.stringify("x".repeat(98));
const USERS = Array.from({ length: 16 }, (_, i) => `user-${String(i).padStart(4, "0")}`);
const [ALONE = ""] = USERS;
const measured: Record<string, Readonly<Record<string, number>>> = {};

async function isAsCommitted(step: string, figures: Readonly<Record<string, number>>): Promise<void> {
  measured[step] = figures;
  if (UPDATES) return;
  const committed = JSON.parse(await readFile(FILE, "utf8")) as Costs;
  const { grown, shrunk } = compareCosts({ [step]: committed[step] ?? {} }, { [step]: figures });
  for (const line of shrunk) process.stdout.write(`less than committed (npm run guard:update): ${line}\n`);
  expect(
    grown,
    "A message costs more than is committed. Where that is meant, say why in the commit, and run: npm run guard:update",
  ).toEqual([]);
}

afterAll(async () => {
  if (UPDATES) await writeFile(FILE, `${JSON.stringify(measured, undefined, 2)}\n`);
});

let store: OpenStore;
let cluster: TestCluster;

beforeAll(async () => {
  [store, cluster] = await Promise.all([
    // Where it syncs its file, it may write to it later.
    openStore({ appendOnly: true, extraArgs: ["--appendfsync", "no"] }),
    // No second look at what has not been acknowledged: that is what a message costs when something is wrong.
    startCluster({
      nodes: 1,
      appendOnly: true,
      // Those whose own reads and writes are counted are processes of their own.
      together: (name) => name === "auth" || name === "dispatch-1",
      environment: { LOG_LEVEL: "warn", ACK_TIMEOUT_MS: "3600000" },
    }),
  ]);
  await store.listen(store.keys.channel + NODE);
  for (const userId of USERS) await connect(userId);
  // What is made once only, for a user or a server, is no message's cost.
  for (let n = 0; n < 10; n++) await ack(await accept(USERS));
});
afterAll(() => Promise.all([store.close(), cluster.stop()]));

async function connect(userId: string): Promise<string> {
  const token = { generation: 0, sessionId: "sessionsession16", jti: "jtijtijtijtiji16" };
  const connected = await connectRoute(
    store.scripts,
    store.keys,
    { userId, node: NODE, connection: randomBytes(12).toString("base64url"), platform: "web", token },
    routeLimits,
  );
  if (connected.outcome !== "connected") throw new Error(connected.outcome);
  return connected.member;
}

interface Accepted {
  readonly userId: string;
  readonly epoch: string;
  readonly seq: number;
}

async function accept(userIds: readonly string[]): Promise<Accepted[]> {
  const accepter = store.accepter();
  const results: AcceptResult[] = await Promise.all(
    userIds.map((userId) => accepter.accept(message({ userId, data: DATA }))),
  );
  return results.map((result, i) => {
    if (result.outcome !== "stored") throw new Error(result.outcome);
    return { userId: userIds[i] ?? "", epoch: result.epoch, seq: result.seq };
  });
}

async function ack(accepted: readonly Accepted[]): Promise<void> {
  await ackUsers(store.scripts, store.keys, accepted, HISTORY, DEFAULT_SLOW_HISTORY, MOMENT_MS);
}

/** A busy user's acks, however slow this machine is: they leave the user in `due`. */
const MOMENT_MS = 600_000;

const nothing = async (): Promise<void> => undefined;

test.each([
  ["one message", [ALONE]],
  ["16 messages in a call, each", USERS],
])("accept and ack: %s", async (name, userIds) => {
  const times = userIds.length;
  const accepting = { times, prepare: nothing, run: () => accept(userIds) };
  await isAsCommitted(`accept: ${name}`, await countRedis(store.redis, accepting));
  await ack(await accept(USERS));
  const acking = { times, prepare: () => accept(userIds), run: ack };
  await isAsCommitted(`ack: ${name}`, await countRedis(store.redis, acking));
});

test("accept: 16 messages in a call to four users each", async () => {
  const userIds = USERS.map((_, i) => USERS[i % 4] ?? "");
  const accepting = { times: userIds.length, prepare: nothing, run: () => accept(userIds) };
  await isAsCommitted(
    "accept: 16 messages in a call to four users, each",
    await countRedis(store.redis, accepting),
  );
});

test("a connection: connect and leave", async () => {
  const userId = "user-comes-and-goes";
  const { redis, scripts, keys } = store;
  let member = await connect(userId);
  const leave = (): Promise<void> => removeRoute(scripts, keys, userId, member, 3_000);
  const connectAgain = async (): Promise<void> => {
    member = await connect(userId);
  };
  // Before the first: the user's hash is made once only.
  await isAsCommitted("connect", await countRedis(redis, { times: 1, prepare: leave, run: connectAgain }));
  await isAsCommitted("leave", await countRedis(redis, { times: 1, prepare: connectAgain, run: leave }));
});

const WARM_UP = 50;
const MESSAGES = 200;

test("one message per POST, through the services: reads and writes of each process", async (context) => {
  const { collect, nodes, redis } = cluster;
  const pids = { collect: collect.pid, "push-node": nodes[0]?.pid ?? 0, redis: redis.pid };
  if ((await readIo(redis.pid)) === undefined) {
    return context.skip("left out: this kernel does not count a process' reads and writes (/proc/PID/io)");
  }
  const client = await connectClient({
    url: cluster.nodeUrls[0] ?? "",
    token: await cluster.tokenFor(ALONE),
  });
  const post = openKeepAlivePost(collect.port);
  const request = {
    port: collect.port,
    path: "/v1/messages",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${cluster.apiKey}` },
    body: `{"to":{"user":"${ALONE}"},"data":${DATA}}`,
  };
  const found = new Map<string, number[]>();
  // One at a time, each counted for itself: so it is known how many share a read or a write.
  for (let n = 0; n < WARM_UP + MESSAGES; n++) {
    const before = await readAll(pids);
    const delivered = once(client.socket, "message");
    await post.post(request);
    await delivered;
    const after = await readAll(pids);
    if (n < WARM_UP) continue;
    for (const [name, count] of after)
      found.set(name, [...(found.get(name) ?? []), count - (before.get(name) ?? 0)]);
  }
  post.close();
  client.close();
  const figures = [...found].map(([name, counts]) => [name, lowestTwentieth(counts)] as const);
  await isAsCommitted("one message per POST, one at a time", Object.fromEntries(figures));
});

async function readAll(pids: Readonly<Record<string, number>>): Promise<Map<string, number>> {
  const all = new Map<string, number>();
  for (const [name, pid] of Object.entries(pids)) {
    const io = await readIo(pid);
    if (io === undefined) throw new Error(`${name} is gone`);
    all.set(`${name} reads`, io.reads);
    all.set(`${name} writes`, io.writes);
  }
  return all;
}

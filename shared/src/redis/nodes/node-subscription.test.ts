// Tests a node's subscription: to every partition, back after a loss, and never dead without being noticed.
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { startRedis } from "../../testing/redis/start-redis.js";
import { waitFor } from "../../testing/wait-for.js";
import { connectRedis } from "../connection/connect.js";
import { subscribeNode, type NodeSubscription } from "./node-subscription.js";

const logger = createLogger({ service: "test", level: "silent" });

let store: OpenStore;
let proxy: Server;
let links: { readonly near: Socket; readonly far: Socket }[] = [];
let open: NodeSubscription[] = [];

beforeAll(async () => {
  store = await openStore();
  proxy = createServer((near) => {
    const far = connect(store.server.port, "127.0.0.1");
    links.push({ near, far });
    near.pipe(far).pipe(near);
    for (const [end, other] of [
      [near, far],
      [far, near],
    ] as const) {
      end.on("error", () => undefined);
      end.on("close", () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
});
afterEach(async () => {
  await Promise.all(open.map((subscription) => subscription.stop()));
  for (const { near } of links) near.destroy();
  open = [];
  links = [];
});
afterAll(async () => {
  proxy.close();
  await store.close();
});

async function subscribe(nodeId: string) {
  const { port } = proxy.address() as AddressInfo;
  const redis = await connectRedis({
    url: `redis://127.0.0.1:${port}`,
    role: "subscriber",
    logger,
    commandTimeoutMs: 500,
    // So that only the probe can find it.
    silenceTimeoutMs: 60_000,
  });
  const heard: string[] = [];
  let returns = 0;
  const subscription = await subscribeNode({
    redis,
    partitions: store.partitions,
    nodeId,
    logger,
    onText: (text) => void heard.push(text),
    onResubscribed: () => void returns++,
  });
  open.push(subscription);
  return { heard, subscription, returns: () => returns };
}

function publish(nodeId: string, partition: number, text: string): Promise<number> {
  return store.redis.spublish(`${store.partitions[partition]?.channel}${nodeId}`, text) as Promise<number>;
}

test("messages of every partition arrive, those of one in their order; other nodes' do not", async () => {
  const { heard } = await subscribe("n1");
  for (let i = 0; i < 50; i++) expect(await publish("n1", i % 2, `t${i}`)).toBe(1);
  expect(await publish("n10", 0, "for another")).toBe(0);
  await waitFor(() => heard.length >= 50, { what: "all texts" });
  expect(heard).toEqual(Array.from({ length: 50 }, (_, i) => `t${i}`));
});

test("a broken link comes back, subscribed, and reports so once it is", async () => {
  const { heard, subscription, returns } = await subscribe("n2");
  links[0]?.near.destroy();
  await waitFor(() => !subscription.isActive(), { what: "the loss" });
  await waitFor(() => returns() === 1, { what: "the return" });
  expect(subscription.isActive()).toBe(true);
  for (const partition of [0, 1]) expect(await publish("n2", partition, `p${partition}`)).toBe(1);
  await waitFor(() => heard.length === 2, { what: "texts again" });
});

test("notices a silently dead link; leaves a quiet one alone", async () => {
  const quiet = await subscribe("n3");
  const { heard, returns } = await subscribe("n4");
  const dead = links[1];
  if (dead === undefined) throw new Error("no link");
  dead.near.unpipe(dead.far);
  dead.far.unpipe(dead.near);
  dead.near.pause();
  dead.far.pause();
  await publish("n4", 0, "into the void");
  await waitFor(() => returns() === 1, { what: "the return", deadlineMs: 20_000 });
  await publish("n4", 0, "heard");
  await waitFor(() => heard.includes("heard"), { what: "a text" });
  expect(quiet.returns()).toBe(0);
  expect(quiet.subscription.isActive()).toBe(true);
});

test("does not leave a server that refuses even PING because its disk is full: what it publishes is received", async () => {
  const server = await startRedis({ extraArgs: ["--enable-protected-configs", "yes"] });
  const [commands, redis] = await Promise.all([
    connectRedis({ url: server.url, role: "commands", logger }),
    connectRedis({ url: server.url, role: "subscriber", logger }),
  ]);
  let returns = 0;
  const heard: string[] = [];
  try {
    const [keys] = store.partitions;
    if (keys === undefined) throw new Error("no partition");
    const subscription = await subscribeNode({
      redis,
      partitions: [keys],
      nodeId: "n6",
      logger,
      onText: (text) => void heard.push(text),
      onResubscribed: () => void returns++,
    });
    open.push(subscription);
    await commands.config("SET", "save", "900 1");
    await commands.config("SET", "dir", "/proc");
    await commands.bgsave();
    await waitFor(async () => (await commands.info("persistence")).includes("rdb_last_bgsave_status:err"), {
      what: "a save that failed",
    });
    await expect(commands.ping()).rejects.toThrow("MISCONF");
    const countRefused = async (): Promise<number> =>
      Number(/cmdstat_ping:.*rejected_calls=(\d+)/.exec(await commands.info("commandstats"))?.[1] ?? 0);
    const before = await countRefused();
    await waitFor(async () => (await countRefused()) >= before + 2, {
      what: "two probes that are refused",
      deadlineMs: 20_000,
    });
    await commands.spublish(`${keys.channel}n6`, "still here");
    await waitFor(() => heard.includes("still here"), { what: "the text" });
    expect(returns).toBe(0);
    expect(subscription.isActive()).toBe(true);
  } finally {
    // Else it would save before it ends.
    await commands.config("SET", "save", "");
    commands.disconnect();
    await server.stop();
  }
});

test("after a stop nothing comes back", async () => {
  const { subscription, returns } = await subscribe("n5");
  await subscription.stop();
  open = [];
  expect(subscription.isActive()).toBe(false);
  expect(await publish("n5", 0, "too late")).toBe(0);
  expect(returns()).toBe(0);
});

// Flow: topics in the client library and in the `petrel` command, on real nodes, with a node killed in the middle.
// Guarantees: the examples of docs/receive/client.md work as they stand; whatever becomes of the connections, each message
// comes once and in order, a publish happens once, and what can't be had any more is told.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { PetrelClient, type PetrelClientError, type TopicLost } from "@petrel/client";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { readmeBlocks } from "../support/repository/readme-blocks.js";

const blocks = readmeBlocks("js", "test/flows/client-topics.test.ts", "docs/receive/client.md");
const AsyncFunction = (async () => undefined).constructor as new (
  ...names: string[]
) => (...values: unknown[]) => Promise<void>;

let cluster: TestCluster;
let directory: string;
let clients: PetrelClient[] = [];
let errors: PetrelClientError[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-client-topics-"));
  const rules = join(directory, "topics.json");
  const open = { presence: "list", clientPublish: true, publishPerUserPerSecond: 1_000 };
  await writeFile(
    rules,
    JSON.stringify({
      rules: [
        { topics: "room.*", ...open },
        { topics: "short.*", historySize: 3 },
      ],
    }),
  );
  cluster = await startCluster({
    nodes: 2,
    environment: { TOPICS_FILE: rules },
    together: (name) => name !== "push-node-1",
  });
}, 60_000);
afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  clients = [];
  errors = [];
});
afterAll(async () => {
  await cluster?.stop();
  await rm(directory, { recursive: true, force: true });
});

async function newClient(userId: string, urls: readonly string[] = cluster.nodeUrls): Promise<PetrelClient> {
  const client = new PetrelClient({
    url: urls,
    WebSocket,
    getToken: () => cluster.tokenFor(userId, [{ topic: "*", can: ["subscribe", "publish", "presence"] }]),
    timing: { backoffBaseMs: 50, backoffCapMs: 200 },
  });
  clients.push(client);
  client.on("error", (error) => errors.push(error));
  client.connect();
  await client.whenOnline();
  return client;
}

const admin = async (method: string, path: string): Promise<unknown> => {
  const headers = { authorization: `Bearer ${cluster.adminKey}` };
  const answer = await askService(`${cluster.collect.url}${path}`, { method, headers });
  expect(answer.ok).toBe(true);
  return answer.status === 204 ? undefined : answer.json();
};

test("the page's examples: a room with publishing and presence, and a state that its messages follow", async () => {
  expect(blocks).toHaveLength(2);
  const client = await newClient("ada");
  const shown: unknown[] = [];
  const here: unknown[] = [];
  const [room = "", state = ""] = blocks;
  const show = (from: unknown, data: unknown) => shown.push([from, data]);
  await new AsyncFunction("client", "show", "showWhoIsHere", "reload", room)(
    client,
    show,
    (_users: number, who: unknown) => here.push(who),
    () => shown.push("lost"),
  );
  await waitFor(() => shown.length === 1 && here.length > 0, { what: "the message, and presence" });
  expect([shown, here[0]]).toEqual([[["ada", { text: "hello" }]], ["ada"]]);

  // The application's server: the position first, and then what it has counted.
  let counted = 0;
  const publish = async (): Promise<void> => {
    counted++;
    await cluster.post("/v1/messages", { to: { topic: "doc.7" }, data: counted });
  };
  await publish();
  const fetchState = async (path: string) => {
    expect(path).toBe("/my/doc/7");
    const { epoch, offset } = (await admin("GET", "/v1/topics/doc.7")) as { epoch: string; offset: number };
    // Between the two something happens: it is in the state, and its message comes all the same.
    await publish();
    return { json: () => ({ state: counted, position: { epoch, offset } }) };
  };
  const log: unknown[] = [];
  await new AsyncFunction("client", "fetch", "replaceAll", "apply", state)(
    client,
    fetchState,
    (all: unknown) => log.push(`state ${String(all)}`),
    (data: unknown) => log.push(data),
  );
  await waitFor(() => log.length === 2, { what: "the state and what follows" });
  await publish();
  await waitFor(() => log.length === 3, { what: "the next" });
  expect([log, errors]).toEqual([["state 2", 2, 3], []]);
}, 60_000);

test("a node is killed while many publish: everyone gets all, once and in one order; each publish happens once", async () => {
  const names = ["ann", "bob", "cyd", "dan"];
  const readers = await Promise.all(
    names.map((name, i) => {
      const [first = "", second = ""] = cluster.nodeUrls;
      return newClient(name, i % 2 === 0 ? [first, second] : [second, first]);
    }),
  );
  const seen = readers.map(() => [] as { readonly offset: number; readonly data: unknown }[]);
  const rooms = readers.map((client, i) =>
    client.subscribe("room.2", { onMessage: ({ offset, data }) => seen[i]?.push({ offset, data }) }),
  );
  const broadcasts: unknown[] = [];
  readers[0]?.onBroadcast(({ data }) => broadcasts.push(data));
  const kept: unknown[] = [];
  await admin("PUT", "/v1/users/ann/topics/news");
  readers[0]?.on("topic", ({ data }) => kept.push(data));
  await waitFor(() => rooms.every(({ state }) => state === "subscribed"), { what: "all of them" });
  const tellAll = async (word: string): Promise<void> => {
    await cluster.post("/v1/messages", { to: { topic: "news" }, data: word });
    const headers = { authorization: `Bearer ${cluster.adminKey}`, "content-type": "application/json" };
    const body = JSON.stringify({ to: { all: true }, data: word });
    const { status } = await askService(`${cluster.collect.url}/v1/messages`, {
      method: "POST",
      headers,
      body,
    });
    expect(status).toBe(202);
  };
  await waitFor(
    async () => {
      // Until both are subscribed: they come unasked.
      if (broadcasts.length === 0 || kept.length === 0) await tellAll("before");
      return broadcasts.length > 0 && kept.length > 0;
    },
    { what: "the broadcast and the news", everyMs: 200 },
  );
  const published: Promise<unknown>[] = [];
  const expected: string[] = [];
  for (let i = 0; i < 60; i++) {
    const data = `${names[i % 4]} ${i}`;
    expected.push(data);
    published.push(rooms[i % 4]?.publish(data) ?? Promise.reject(new Error("no room")));
    if (i === 30) {
      cluster.nodes[0]?.signal("SIGKILL");
      await tellAll("meanwhile");
    }
  }
  await Promise.all(published);
  await waitFor(() => seen.every((its) => its.length >= 60), { what: "all messages", deadlineMs: 30_000 });
  const [order = []] = seen;
  for (const its of seen) expect(its).toEqual(order);
  expect(order.map(({ offset }) => offset)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
  expect(new Set(order.map(({ data }) => data))).toEqual(new Set(expected));
  const isThere = () => broadcasts.at(-1) === "meanwhile" && kept.at(-1) === "meanwhile";
  await waitFor(isThere, { what: "what was sent meanwhile" });
  for (const its of [broadcasts, kept]) expect(its.filter((word) => word === "meanwhile")).toHaveLength(1);
  expect(errors.filter(({ code }) => code.includes("TOPIC"))).toEqual([]);
}, 90_000);

test("reports messages that are no longer in the history, and goes on", async () => {
  const client = await newClient("eve");
  const log: unknown[] = [];
  const lost: TopicLost[] = [];
  const handle = client.subscribe("short.1", {
    onMessage: ({ data }) => log.push(data),
    onLost: (one) => {
      lost.push(one);
      log.push("lost");
    },
  });
  await waitFor(() => handle.state === "subscribed", { what: "the subscription" });
  const publish = (data: number) => cluster.post("/v1/messages", { to: { topic: "short.1" }, data });
  await publish(1);
  await waitFor(() => log.length === 1, { what: "the first" });
  await client.close();
  for (const data of [2, 3, 4, 5, 6]) await publish(data);
  client.connect();
  await waitFor(() => lost.length === 1, { what: "the loss" });
  await publish(7);
  await waitFor(() => log.length === 3, { what: "the next" });
  expect(log).toEqual([1, "lost", 7]);
  expect(lost[0]).toMatchObject({ after: { offset: 1 }, position: { offset: 6 }, oldest: 4 });
}, 60_000);

test("a refusal reaches the handle, and the client stays", async () => {
  const client = await newClient("fay");
  const handle = client.subscribe("short.2", { presence: true, onError: () => undefined });
  await waitFor(() => handle.state === "refused", { what: "the refusal" });
  await expect(client.publish("short.2", 1)).rejects.toMatchObject({ code: "PETREL_FORBIDDEN" });
  expect([handle.error?.code, client.state]).toEqual(["PETREL_FORBIDDEN", "online"]);
}, 60_000);

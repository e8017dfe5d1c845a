// Flow: a token with topics from auth, messages through collect, and what sockets on two nodes are sent.
// Guarantees: the real services; what producers are answered and what subscribers see are one story.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

let cluster: TestCluster;
let sockets: WsClient[] = [];
beforeAll(async () => {
  cluster = await startCluster({ together: true, nodes: 2 });
}, 60_000);
afterEach(() => {
  for (const socket of sockets) socket.close();
  sockets = [];
});
afterAll(() => cluster?.stop());

type Body = Readonly<Record<string, unknown>>;
async function ask(method: string, url: string, body?: unknown): Promise<{ status: number; body: Body }> {
  const answer = await askService(url, {
    method,
    headers: {
      authorization: `Bearer ${cluster.adminKey}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, body: (text === "" ? {} : JSON.parse(text)) as Body };
}
const collect = (method: string, path: string, body?: unknown) =>
  ask(method, `${cluster.collect.url}${path}`, body);

async function connect(userId: string, node: number, topics?: unknown, query?: string): Promise<WsClient> {
  const { body } = await ask("POST", `${cluster.auth.url}/v1/tokens`, {
    userId,
    ...(topics === undefined ? {} : { topics }),
  });
  const socket = await connectClient({
    url: cluster.nodeUrls[node] ?? "",
    token: String(body["accessToken"]),
    ...(query === undefined ? {} : { query }),
  });
  sockets.push(socket);
  return socket;
}

const framesOf = (socket: WsClient, type: string, topic: string) =>
  socket.frames.filter((frame) => frame.type === type && frame["topic"] === topic);
const until = (socket: WsClient, type: string, topic: string, count = 1) =>
  waitFor(() => framesOf(socket, type, topic).length >= count && framesOf(socket, type, topic), {
    what: `${count} ${type} of ${topic}`,
    deadlineMs: 20_000,
  });
const dataOf = (socket: WsClient, topic: string): unknown[] =>
  socket.topicMessages.filter((message) => message.topic === topic).map(({ data }) => data);

test("a batch of users and topics: everyone gets theirs, in the order of its results, once", async () => {
  const one = await connect("ada", 0, ["room.*"]);
  const other = await connect("bob", 1, ["room.7"]);
  for (const socket of [one, other]) socket.send({ type: "subscribe", topic: "room.7" });
  for (const socket of [one, other]) await until(socket, "subscribed", "room.7");

  const messages = Array.from({ length: 20 }, (_, i) => [
    { to: { topic: "room.7" }, data: i, idempotencyKey: `room ${i}` },
    { to: { user: "ada" }, data: `ada ${i}`, idempotencyKey: `ada ${i}` },
  ]).flat();
  const first = await collect("POST", "/v1/messages/batch", { messages });
  expect(first.status).toBe(202);
  // Sent again, it is the same: no socket sees it twice.
  const again = await collect("POST", "/v1/messages/batch", { messages });
  const results = first.body["results"] as { id: string; duplicate: boolean }[];
  expect(again.body["results"]).toEqual(results.map(({ id }) => ({ id, duplicate: true })));
  await collect("POST", "/v1/messages", { to: { topic: "room.7" }, data: "last" });

  for (const socket of [one, other]) {
    await until(socket, "message", "room.7", 21);
    expect(dataOf(socket, "room.7")).toEqual([...Array.from({ length: 20 }, (_, i) => i), "last"]);
    expect(socket.topicMessages.slice(0, 20).map(({ id }) => id)).toEqual(
      results.filter((_, i) => i % 2 === 0).map(({ id }) => id),
    );
  }
  expect((await one.untilMessages(20)).map(({ data }) => data)).toEqual(
    Array.from({ length: 20 }, (_, i) => `ada ${i}`),
  );

  // What the sockets saw is what the log has, and what the states say.
  const { body: page } = await collect("GET", "/v1/topics/room.7/messages?limit=1000");
  const items = page["items"] as { id: string; offset: number; data: unknown }[];
  expect(items.map(({ id, offset }) => [id, offset])).toEqual(
    other.topicMessages.map(({ id, offset }) => [id, offset]),
  );
  expect((await collect("GET", `/v1/messages/${results[0]?.id}`)).body).toMatchObject({
    state: "published",
    topic: "room.7",
    offset: items[0]?.offset,
    epoch: page["epoch"],
  });
});

test("to everyone: without a subscription, and resumed where a client left off", async () => {
  const one = await connect("carol", 0);
  const other = await connect("dan", 1);
  const [from] = await until(one, "subscribed", "$all");
  await until(other, "subscribed", "$all");
  expect((await collect("POST", "/v1/messages", { to: { all: true }, data: "hear" })).status).toBe(202);
  for (const socket of [one, other]) {
    await until(socket, "message", "$all");
    expect(dataOf(socket, "$all")).toEqual(["hear"]);
    expect(socket.messages).toEqual([]);
  }
  one.close();
  const { body } = await collect("POST", "/v1/messages", { to: { all: true }, data: "while away" });
  const back = await connect(
    "carol",
    1,
    undefined,
    `all=${String(from?.["epoch"])}:${Number(from?.["offset"]) + 1}`,
  );
  expect((await until(back, "subscribed", "$all"))[0]).toMatchObject({ recovered: true });
  await until(back, "message", "$all");
  expect(back.topicMessages.map(({ id, data }) => [id, data])).toEqual([[body["id"], "while away"]]);
});

test("a kept topic: every connection has it, now and later, whatever the token says, until it is dropped", async () => {
  const first = await connect("erin", 0);
  const second = await connect("erin", 1);
  await first.frame("welcome");
  expect((await collect("PUT", "/v1/users/erin/topics/order.7")).status).toBe(204);
  for (const socket of [first, second]) await until(socket, "subscribed", "order.7");
  await collect("POST", "/v1/messages", { to: { topic: "order.7" }, data: 1 });
  const later = await connect("erin", 0);
  await until(later, "subscribed", "order.7");
  await collect("POST", "/v1/messages", { to: { topic: "order.7" }, data: 2 });
  for (const socket of [first, second]) await until(socket, "message", "order.7", 2);
  await until(later, "message", "order.7");
  expect([first, second, later].map((socket) => dataOf(socket, "order.7"))).toEqual([[1, 2], [1, 2], [2]]);

  expect((await collect("DELETE", "/v1/users/erin/topics/order.7")).status).toBe(204);
  for (const socket of [first, second, later]) {
    const [frame] = await until(socket, "unsubscribed", "order.7");
    expect(frame).toMatchObject({ reason: "removed" });
  }
});

test("a token's list says what may be subscribed: another topic is refused, and the connection stays", async () => {
  const socket = await connect("frank", 0, ["room.*"]);
  socket.send({ type: "subscribe", topic: "office" });
  expect(await socket.frame("error")).toMatchObject({
    code: "PETREL_FORBIDDEN",
    ref: "office",
    on: "subscribe",
  });
  socket.send({ type: "subscribe", topic: "room.1" });
  await until(socket, "subscribed", "room.1");
  expect(socket.closed()).toBeUndefined();
});

test("an erased user has no kept topic on return", async () => {
  expect((await collect("PUT", "/v1/users/grace/topics/order.8")).status).toBe(204);
  const before = await connect("grace", 0);
  await until(before, "subscribed", "order.8");
  expect((await collect("DELETE", "/v1/users/grace")).status).toBe(204);
  expect((await before.untilClosed()).code).toBe(4403);
  expect((await collect("GET", "/v1/users/grace/topics")).body).toEqual({ items: [], nextCursor: null });
  const after = await connect("grace", 1);
  // It comes behind the kept ones.
  await until(after, "subscribed", "$all");
  after.send({ type: "ping" });
  await after.frame("pong");
  expect(framesOf(after, "subscribed", "order.8")).toEqual([]);
});

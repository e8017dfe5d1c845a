// The session policy over two nodes: which connection is closed, and what its client is told.
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { WsClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { approach, openNodeBench, type NodeBench } from "../testing/node-bench.js";
import { tokenWith, type PushNode, type StartPushNodeOptions } from "../testing/start-push-node.js";

let bench: NodeBench;
let users = 0;

beforeAll(async () => {
  bench = await openNodeBench();
});
afterAll(() => bench.close());

const newUser = (): string => `u${++users}`;

async function startTwo(options: Partial<StartPushNodeOptions>): Promise<readonly [PushNode, PushNode]> {
  return [await bench.startNode(options), await bench.startNode(options)];
}

async function signIn(node: PushNode, userId: string, platform: string): Promise<WsClient> {
  const client = approach(node, { token: tokenWith({ userId, device: { id: platform, platform } }) });
  await client.frame("welcome");
  return client;
}

async function expectReplaced(client: WsClient, platform: string): Promise<void> {
  expect(await client.untilClosed()).toMatchObject({ code: 4409 });
  expect(client.frames.at(-1)).toMatchObject({
    code: "PETREL_SIGNED_IN_ELSEWHERE",
    action: "stop",
    message: expect.stringContaining(`"${platform}"`) as string,
  });
}

async function expectOpen(client: WsClient): Promise<void> {
  client.send({ type: "ping" });
  await client.frame("pong");
  expect(client.closed()).toBeUndefined();
  client.close();
}

test("one: a sign-in on the other node closes the older and names the platform", async () => {
  const [a, b] = await startTwo({ sessionPolicy: "one" });
  const userId = newUser();
  const older = await signIn(a, userId, "web");
  const newer = await signIn(b, userId, "ios");
  await expectReplaced(older, "ios");
  await expectOpen(newer);
});

test("one-per-platform: another platform stays, the limit keeps its own reason", async () => {
  const [a, b] = await startTwo({ sessionPolicy: "one-per-platform", maxConnectionsPerUser: 2 });
  const userId = newUser();
  const web = await signIn(a, userId, "web");
  const ios = await signIn(b, userId, "ios");
  const ios2 = await signIn(a, userId, "ios");
  await expectReplaced(ios, "ios");
  const tv = await signIn(b, userId, "tv");
  expect(await web.untilClosed()).toMatchObject({ code: 4409 });
  expect(web.frames.at(-1)).toMatchObject({ code: "PETREL_CONNECTION_REPLACED" });
  await expectOpen(ios2);
  await expectOpen(tv);
});

describe("a connection that missed its eviction", () => {
  test.each(["a resubscription", "a heartbeat"])("is told the right reason after %s", async (what) => {
    const [a, b] = await startTwo({ sessionPolicy: "one", routeLeaseMs: 1_500 });
    const userId = newUser();
    const older = await signIn(a, userId, "web");
    // Its node looks for nobody in that moment.
    const looking = vi.spyOn(a.registry, "ofUser").mockReturnValue([]);
    const newer = await signIn(b, userId, "ios");
    await waitFor(() => looking.mock.calls.length > 0, { what: "the eviction" });
    looking.mockRestore();
    expect(older.closed()).toBeUndefined();
    if (what === "a heartbeat") a.renewal.start();
    else await a.renewal.renewAll("resubscribed");
    await expectReplaced(older, "ios");
    await expectOpen(newer);
  });
});

test("a registration stuck on its way to Redis replaces nobody when it runs at last", async () => {
  // By Redis's clock its deadline is long over when the script runs, as after a stall.
  const stuck = await bench.startNode({ sessionPolicy: "one", redisNowMs: () => Date.now() - 60_000 });
  const { scripts } = stuck;
  const run = scripts.run.bind(scripts);
  const answers: string[] = [];
  vi.spyOn(scripts, "run").mockImplementation(async (name, keys, args) => {
    const answer = await run(name, keys, args);
    if (name !== "connect.v7") return answer;
    answers.push(answer);
    throw new Error("no answer in time");
  });
  const other = await bench.startNode({ sessionPolicy: "one" });
  const userId = newUser();
  const client = await signIn(other, userId, "web");
  const given = approach(stuck, { token: tokenWith({ userId }) });
  expect(await given.untilClosed()).toMatchObject({ code: 1013 });
  expect(answers).toEqual(["late"]);
  await expectOpen(client);
});

test("if Redis' clock has changed, a waiting connection is registered all the same", async () => {
  const node = await bench.startNode({ redisNowMs: () => Date.now() - 60_000 });
  await expectOpen(await signIn(node, newUser(), "web"));
});

test("a client that moves while its node drains is never told that it signed in elsewhere", async () => {
  const [a, b] = [
    await bench.startNode({ sessionPolicy: "one", drainWindowMs: 300 }),
    await bench.startNode({ sessionPolicy: "one" }),
  ];
  const userId = newUser();
  const old = await signIn(a, userId, "web");
  const drained = a.drain();
  await old.frame("reconnect");
  const moved = await signIn(b, userId, "web");
  expect(await old.untilClosed()).toMatchObject({ code: 1012 });
  await drained;
  expect(old.frames.some(({ type }) => type === "error")).toBe(false);
  await expectOpen(moved);
});

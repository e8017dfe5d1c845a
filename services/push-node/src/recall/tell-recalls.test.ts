// Tests what a push node does with recalled messages: on real Redis, with real sockets.
// Guarantees: a client that was sent one is told once; one that was not is neither sent it nor told; one that resumes
// is told what was recalled meanwhile.
import { cancelMessage } from "@petrel/shared/redis/recall/cancel-message";
import type { WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { join, openNodeBench, seqsOf, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";

let bench: NodeBench;
let node: PushNode;
let users = 0;
beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode();
});
afterEach(() => void vi.restoreAllMocks());
afterAll(() => bench.close());

const newUser = (): string => `r${++users}`;

/** @returns its id */
async function accept(
  userId: string,
  n: number,
  handOver: "accept" | "dispatch" = "accept",
): Promise<string> {
  const id = `${userId}_${n}`;
  const { outcome } = await bench.accept(userId, n, handOver, { id });
  expect(outcome).toBe("stored");
  return id;
}

async function cancel(userId: string, n: number): Promise<void> {
  const { scripts } = bench.store;
  const result = await cancelMessage(scripts, scripts, bench.keysOf(userId), `${userId}_${n}`);
  expect(result).toEqual({ outcome: "cancelled" });
}

/** Scripts of that name run, but their answers are held back until the returned function is called. */
function holdAnswers(method: "run" | "runForList", name: string): () => void {
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  const scripts = node.scripts as Record<typeof method, (...args: unknown[]) => Promise<unknown>>;
  const original = scripts[method].bind(node.scripts);
  vi.spyOn(scripts, method).mockImplementation(async (...args) => {
    const answer = await original(...args);
    if (String(args[0]).startsWith(name)) await released;
    return answer;
  });
  return () => {
    vi.restoreAllMocks();
    release();
  };
}

const toldOf = (client: WsClient) =>
  client.frames.filter(({ type }) => type === "recalled").map(({ seq, id }) => [seq, id]);

describe("a connection that was sent the message", () => {
  test("gets `recalled`, once, with its seq and id; the next message comes as always", async () => {
    const user = newUser();
    const [one, other] = [await join(node, user), await join(node, user)];
    await accept(user, 1);
    await one.untilMessages(1);
    await other.untilMessages(1);
    await cancel(user, 1);
    await accept(user, 2);
    for (const client of [one, other]) {
      await client.untilMessages(2);
      expect(toldOf(client)).toEqual([[1, `${user}_1`]]);
      expect(seqsOf(client)).toEqual([1, 2]);
    }
    // A repeated recall is told only once.
    for (const connection of node.registry.ofUser(user)) await node.renewal.renew(connection);
    await accept(user, 3);
    await one.untilMessages(3);
    expect(toldOf(one)).toEqual([[1, `${user}_1`]]);
  });

  test("is told on registering again, if its node missed it", async () => {
    const user = newUser();
    const client = await join(node, user);
    await accept(user, 1);
    await client.untilMessages(1);
    const [connection] = node.registry.ofUser(user);
    const member = connection?.member ?? "";
    // Without a route nobody is told.
    await bench.store.redis.zrem(bench.keysOf(user).routes(user), member);
    await cancel(user, 1);
    if (connection !== undefined) await node.renewal.renew(connection);
    await waitFor(() => toldOf(client).length > 0, { what: "the frame" });
    expect(toldOf(client)).toEqual([[1, `${user}_1`]]);
  });
});

describe("a client that comes back", () => {
  test("with its position is told what was recalled meanwhile, and is not sent it", async () => {
    const user = newUser();
    const first = await join(node, user);
    const { epoch } = (await first.frame("welcome")) as unknown as { epoch: string };
    for (const n of [1, 2, 3]) await accept(user, n);
    await first.untilMessages(3);
    first.close();
    await first.untilClosed();
    await cancel(user, 2);
    const again = await join(node, user, { query: `epoch=${epoch}&since=1` });
    await again.untilMessages(1);
    expect(seqsOf(again)).toEqual([3]);
    expect(toldOf(again)).toEqual([[2, `${user}_2`]]);
    expect(again.frames.map(({ type }) => type).indexOf("recalled")).toBe(1);
  });

  test("and reports having it all is told too: nobody had acknowledged it", async () => {
    const user = newUser();
    const first = await join(node, user);
    const { epoch } = (await first.frame("welcome")) as unknown as { epoch: string };
    await accept(user, 1);
    await first.untilMessages(1);
    first.close();
    await first.untilClosed();
    await cancel(user, 1);
    const again = await join(node, user, { query: `epoch=${epoch}&since=1` });
    await accept(user, 2);
    await again.untilMessages(1);
    expect(toldOf(again)).toEqual([[1, `${user}_1`]]);
    again.ack(2);
    await waitFor(async () => (await bench.user(user))["acked"] === "2", { what: "the ack" });
    // From now on everybody is beyond it.
    const later = await join(node, user, { query: `epoch=${epoch}&since=2` });
    await accept(user, 3);
    await later.untilMessages(1);
    expect(toldOf(later)).toEqual([]);
  });

  test("without a position had nothing and is told nothing", async () => {
    const user = newUser();
    await accept(user, 1);
    await accept(user, 2);
    await cancel(user, 1);
    const client = await join(node, user);
    await client.untilMessages(1);
    for (const connection of node.registry.ofUser(user)) await node.renewal.renew(connection);
    await accept(user, 3);
    await client.untilMessages(2);
    expect(seqsOf(client)).toEqual([2, 3]);
    expect(toldOf(client)).toEqual([]);
  });
});

describe("a connection that was not yet sent the message", () => {
  test("is neither sent it nor told, if it had already been read from the inbox", async () => {
    const user = newUser();
    await accept(user, 1);
    await accept(user, 2);
    const release = holdAnswers("runForList", "read-inbox");
    const client = await join(node, user);
    await cancel(user, 2);
    await waitFor(() => [...node.registry.ofUser(user)][0]?.recalls !== undefined, { what: "the recall" });
    release();
    await client.untilMessages(1);
    await accept(user, 3);
    await client.untilMessages(2);
    expect(seqsOf(client)).toEqual([1, 3]);
    expect(toldOf(client)).toEqual([]);
    client.ack(3);
    await waitFor(async () => (await bench.user(user))["acked"] === "3", { what: "the ack" });
  });

  test("nor if a dispatcher hands it over late", async () => {
    const user = newUser();
    const client = await join(node, user);
    await accept(user, 1, "dispatch");
    const [connection] = node.registry.ofUser(user);
    await cancel(user, 1);
    await waitFor(() => connection?.recalls !== undefined, { what: "the recall" });
    const { epoch } = await bench.user(user);
    const late = `deliver\n${user}\t1\t${epoch}\t1\t\t${user}_1\t-n\t\t1`;
    await bench.store.redis.spublish(bench.keysOf(user).channel + node.nodeId, late);
    await accept(user, 2);
    await client.untilMessages(1);
    expect(seqsOf(client)).toEqual([2]);
    expect(toldOf(client)).toEqual([]);
  });

  test("is not told either if that number was skipped before its recall arrives", async () => {
    const user = newUser();
    const client = await join(node, user);
    const [connection] = node.registry.ofUser(user);
    for (const n of [1, 2, 3]) await accept(user, n, "dispatch");
    const keys = bench.keysOf(user);
    const member = connection?.member ?? "";
    // Cancelled without telling the node; then the node reads the inbox, and then it learns of the recall.
    const score = Number(await bench.store.redis.zscore(keys.routes(user), member));
    await bench.store.redis.zrem(keys.routes(user), member);
    await cancel(user, 2);
    await bench.store.redis.zadd(keys.routes(user), score, member);
    await bench.store.redis.spublish(keys.channel + node.nodeId, `nudge\n${user}`);
    await client.untilMessages(2);
    const { epoch } = await bench.user(user);
    const late = `recalled\n${user}\t2\t${epoch}\t${user}_2`;
    await bench.store.redis.spublish(keys.channel + node.nodeId, late);
    await accept(user, 4);
    await client.untilMessages(3);
    expect(seqsOf(client)).toEqual([1, 3, 4]);
    expect(toldOf(client)).toEqual([]);
  });

  test("is told if it resumes, though the recall arrives before the answer that registers it", async () => {
    const user = newUser();
    const first = await join(node, user);
    const { epoch } = (await first.frame("welcome")) as unknown as { epoch: string };
    await accept(user, 1);
    await accept(user, 2);
    await first.untilMessages(2);
    first.close();
    await first.untilClosed();
    await waitFor(async () => (await bench.routes(user)).every((route) => route.includes("/-/")), {
      what: "the end of the first",
    });
    const release = holdAnswers("run", "connect");
    const joining = join(node, user, { query: `epoch=${epoch}&since=0` });
    await waitFor(async () => (await bench.routes(user)).some((route) => !route.includes("/-/")), {
      what: "the route",
    });
    await cancel(user, 2);
    await waitFor(() => [...node.registry.ofUser(user)][0]?.recalls !== undefined, { what: "the recall" });
    release();
    const client = await joining;
    await accept(user, 3);
    await client.untilMessages(2);
    expect(seqsOf(client)).toEqual([1, 3]);
    expect(toldOf(client)).toEqual([[2, `${user}_2`]]);
  });

  test("is neither if its recall arrives before the answer that registers it", async () => {
    const user = newUser();
    await accept(user, 1);
    await accept(user, 2);
    const release = holdAnswers("run", "connect");
    const joining = join(node, user);
    await waitFor(async () => (await bench.routes(user)).length === 1, { what: "the route" });
    await cancel(user, 1);
    await waitFor(() => [...node.registry.ofUser(user)][0]?.recalls !== undefined, { what: "the recall" });
    release();
    const client = await joining;
    await client.untilMessages(1);
    expect(seqsOf(client)).toEqual([2]);
    expect(toldOf(client)).toEqual([]);
  });
});

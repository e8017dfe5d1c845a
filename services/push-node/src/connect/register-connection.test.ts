// A connection gets its place: the welcome, where the replay starts, and the route that must never be left behind.
import { lineageOf } from "@petrel/shared/protocol/messages/stored-message";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { approach, join, openNodeBench, range, seqsOf, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";

let bench: NodeBench;
let node: PushNode;
let other: PushNode;
let users = 0;

beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode();
  other = await bench.startNode({ historySize: 1_000 });
});
afterEach(() => {
  vi.restoreAllMocks();
  bench.store.server.signal("SIGCONT");
});
afterAll(() => bench.close());

/** The script runs, but its answer is held back until the returned function is called. */
function holdConnectAnswers(): () => void {
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const run = node.scripts.run.bind(node.scripts);
  vi.spyOn(node.scripts, "run").mockImplementation(async (name, keys, args) => {
    const answer = await run(name, keys, args);
    if (name === "connect.v7") await released;
    return answer;
  });
  return () => {
    vi.restoreAllMocks();
    release();
  };
}

const newUser = (): string => `u${++users}`;

describe("welcome", () => {
  test("has its fields, then the backlog follows in order", async () => {
    const userId = newUser();
    await bench.acceptMany(userId, 250, "dispatch");
    const client = await join(node, userId);
    await client.untilMessages(250);
    const { epoch } = await bench.user(userId);
    expect(client.frames[0]).toEqual({
      type: "welcome",
      connection: expect.stringMatching(/^[\w-]{12}$/) as string,
      node: node.nodeId,
      user: userId,
      epoch,
      seq: 250,
      after: 0,
      resumed: false,
      pingSeconds: 25,
      ackWithinMs: 300,
      features: ["ack", "resume", "topics", "publish"],
    });
    expect(seqsOf(client)).toEqual(range(1, 250));
    expect(client.messages.map(({ data }) => data)).toEqual(range(1, 250));
    client.close();
  });

  test("a user seen for the first time has an epoch from then on", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    const { epoch, seq } = await client.frame("welcome");
    expect(seq).toBe(0);
    expect(await bench.accept(userId, "first")).toMatchObject({ seq: 1, epoch });
    await client.untilMessages(1);
    client.close();
  });

  test("the route has the token's platform", async () => {
    const ios = await bench.startNode({
      verifyToken: (token) =>
        Promise.resolve({
          userId: token,
          jti: "j",
          issuedAtMs: 0,
          expiresAtMs: Date.now() + 60_000,
          generation: 0,
          device: { id: "d", platform: "ios" },
        }),
    });
    const client = approach(ios, { token: "on-a-phone" });
    const { connection } = await client.frame("welcome");
    expect(await bench.routes("on-a-phone")).toEqual([
      expect.stringMatching(new RegExp(`^\\d{13}/${ios.nodeId}/${String(connection)}/ios$`)),
    ]);
    client.close();
  });
});

describe("resume", () => {
  test("acked 40, back with since=40: 41 to 100, and nothing is due below", async () => {
    const userId = newUser();
    await bench.acceptMany(userId, 100, "dispatch");
    const first = await join(node, userId);
    await first.untilMessages(100);
    const { epoch } = await first.frame("welcome");
    first.ack(40);
    await waitFor(async () => (await bench.user(userId))["acked"] === "40", { what: "the ack" });
    first.close();

    const second = await join(other, userId, { query: `epoch=${String(epoch)}&since=40` });
    await second.untilMessages(60);
    expect(second.frames[0]).toMatchObject({ after: 40, resumed: true, seq: 100 });
    expect(seqsOf(second)).toEqual(range(41, 100));
    second.close();
  });

  test("a since above acked counts as an ack", async () => {
    const userId = newUser();
    await bench.acceptMany(userId, 10, "dispatch");
    const { epoch } = await bench.user(userId);
    const client = await join(node, userId, { query: `epoch=${String(epoch)}&since=10` });
    expect(await bench.user(userId)).toMatchObject({ acked: "10" });
    expect(await bench.isDue(userId)).toBe(false);
    expect(client.messages).toEqual([]);
    client.close();
  });

  test("of another epoch, or from the future: replays from the user's own cursor", async () => {
    const userId = newUser();
    await bench.acceptMany(userId, 3, "dispatch");
    const { epoch } = await bench.user(userId);
    for (const query of ["epoch=other.0&since=2", `epoch=${String(epoch)}&since=4`]) {
      const client = await join(node, userId, { query });
      await client.untilMessages(3);
      expect(client.frames[0]).toMatchObject({ after: 0, resumed: false, epoch });
      client.close();
    }
  });

  test("if messages after since were trimmed: not resumed, and the remaining ones come", async () => {
    const userId = newUser();
    await bench.acceptMany(userId, 200, "dispatch");
    const inbox = bench.keysOf(userId).inbox(userId);
    const first = await join(other, userId, { ack: "turn" });
    await first.untilMessages(200);
    await waitFor(async () => (await bench.user(userId))["acked"] === "200", { what: "all acks" });
    first.close();
    await bench.store.redis.xtrim(inbox, "MINID", "150-0");
    const { epoch } = await first.frame("welcome");
    const second = await join(node, userId, { query: `epoch=${String(epoch)}&since=20` });
    await second.untilMessages(51);
    expect(second.frames[0]).toMatchObject({ resumed: false, after: 149 });
    expect(seqsOf(second)).toEqual(range(150, 200));
    second.close();
  });
});

describe("while messages come", () => {
  test("20 connects racing with a stream of accepts: no gap, no duplicate, for anyone", async () => {
    const userId = newUser();
    const crowd = [
      await bench.startNode({ maxConnectionsPerUser: 100 }),
      await bench.startNode({ maxConnectionsPerUser: 100 }),
    ];
    const total = 600;
    let accepted = 0;
    const stream = (async () => {
      while (accepted < total) {
        const batch = range(1, 1 + Math.floor(Math.random() * 4));
        // Some are left to the dispatcher: a gap on the wire.
        await Promise.all(
          batch.map((n) => bench.accept(userId, n, Math.random() < 0.2 ? "dispatch" : "accept")),
        );
        accepted += batch.length;
      }
    })();
    const clients = [];
    for (let i = 0; i < 20; i++) {
      const target = crowd[i % 2];
      if (target === undefined) throw new Error("no node");
      await waitFor(() => accepted >= i * 25, { what: "more messages", everyMs: 1 });
      clients.push(approach(target, { token: `user.${userId}` }));
    }
    await stream;
    const last = await bench.accept(userId, "last");
    const { seq } = last as { seq: number };
    for (const client of clients) await client.untilMessages(seq);
    for (const client of clients) {
      expect(seqsOf(client)).toEqual(range(1, seq));
      client.close();
    }
  });

  test("what is handed over before the connect script's answer is not lost", async () => {
    const userId = newUser();
    const release = holdConnectAnswers();
    const client = approach(node, { token: `user.${userId}` });
    await waitFor(async () => (await bench.routes(userId)).length === 1, { what: "the script" });
    await bench.acceptMany(userId, 3);
    const connection = await waitFor(() => [...node.registry.ofUser(userId)][0], { what: "the connection" });
    await waitFor(() => connection.targetSeq === 3, { what: "the envelopes" });
    expect(connection.phase).toBe("registering");
    release();
    // None comes after them that would repair a gap.
    await client.untilMessages(3, 3_000);
    expect(client.frames[0]).toMatchObject({ type: "welcome", seq: 0, after: 0 });
    expect(seqsOf(client)).toEqual([1, 2, 3]);
    client.close();
  });

  test("what nobody received, because the subscription was lost at that moment, is not lost either", async () => {
    const userId = newUser();
    const release = holdConnectAnswers();
    const client = approach(node, { token: `user.${userId}` });
    await waitFor(async () => (await bench.routes(userId)).length === 1, { what: "the script" });
    await bench.acceptMany(userId, 3, "dispatch");
    await node.renewal.renewAll("resubscribed");
    release();
    await client.untilMessages(3, 3_000);
    expect(seqsOf(client)).toEqual([1, 2, 3]);
    client.close();
  });

  test("of another epoch before the answer: reconnect", async () => {
    const userId = newUser();
    const release = holdConnectAnswers();
    const client = approach(node, { token: `user.${userId}` });
    await waitFor(async () => (await bench.routes(userId)).length === 1, { what: "the script" });
    await bench.store.redis.hset(bench.keysOf(userId).generation, "replid", "another");
    await bench.accept(userId, "of the next generation");
    const connection = await waitFor(() => [...node.registry.ofUser(userId)][0], { what: "the connection" });
    await waitFor(() => connection.targetSeq === 1, { what: "the envelope" });
    release();
    expect(await client.untilClosed()).toMatchObject({ code: 1012 });
    expect(client.messages).toEqual([]);
  });

  test("accepted exactly at the connect, alternately before and after", async () => {
    for (let round = 0; round < 20; round++) {
      const userId = newUser();
      const racing = approach(round % 2 === 0 ? node : other, { token: `user.${userId}` });
      const accepts: Promise<unknown>[] = [];
      for (let n = 1; racing.frames.length === 0 && n < 500; n++) {
        accepts.push(bench.accept(userId, n));
        await new Promise((resolve) => setImmediate(resolve));
      }
      await Promise.all(accepts);
      await bench.accept(userId, "last");
      await racing.untilMessages(accepts.length + 1);
      expect(seqsOf(racing)).toEqual(range(1, accepts.length + 1));
      racing.close();
    }
  });
});

describe("routes", () => {
  test("a closing socket removes its route", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    expect(await bench.routes(userId)).toHaveLength(1);
    client.close();
    await waitFor(async () => (await bench.routes(userId)).length === 0, { what: "the route's end" });
    expect([...node.registry.ofUser(userId)]).toEqual([]);
  });

  test("so does one that is cut", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    client.socket.terminate();
    await waitFor(async () => (await bench.routes(userId)).length === 0, { what: "the route's end" });
  });

  test("one that closes during the connect script's call leaves none", async () => {
    const userId = newUser();
    const release = holdConnectAnswers();
    const client = approach(node, { token: `user.${userId}` });
    await waitFor(async () => (await bench.routes(userId)).length === 1, { what: "the script" });
    client.socket.terminate();
    await waitFor(() => [...node.registry.ofUser(userId)].length === 0, { what: "the socket's end" });
    expect(await bench.routes(userId)).toHaveLength(1);
    release();
    await waitFor(async () => (await bench.routes(userId)).length === 0, { what: "no route" });
  });

  test("closes at every moment of the connect leave none", async () => {
    const userIds = Array.from({ length: 40 }, newUser);
    await Promise.all(
      userIds.map(async (userId, i) => {
        const client = approach(node, { token: `user.${userId}` });
        await waitFor(() => client.socket.readyState === client.socket.OPEN, {
          what: "the upgrade",
          everyMs: 1,
        });
        for (let turn = 0; turn < i; turn++) await new Promise((resolve) => setImmediate(resolve));
        client.socket.terminate();
      }),
    );
    await waitFor(() => userIds.every((userId) => [...node.registry.ofUser(userId)].length === 0), {
      what: "nothing in the registry",
    });
    await waitFor(
      async () => {
        const routes = await Promise.all(userIds.map((userId) => bench.routes(userId)));
        return routes.every((members) => members.length === 0);
      },
      { what: "no routes" },
    );
  });

  test("if the connect script's answer is lost, its route is removed when Redis is back", async () => {
    const userId = newUser();
    const impatient = await bench.startNode({ commandTimeoutMs: 1_500 });
    await impatient.redis.ping();
    bench.store.server.signal("SIGSTOP");
    const client = approach(impatient, { token: `user.${userId}` });
    expect(await client.untilClosed()).toMatchObject({ code: 1013 });
    expect(client.frames).toMatchObject([{ type: "error", code: "PETREL_UNAVAILABLE", action: "resume" }]);
    await waitFor(() => impatient.registry.size === 0, { what: "an empty registry" });
    bench.store.server.signal("SIGCONT");
    // It runs late, as the user's hash shows, which it created.
    await waitFor(async () => "epoch" in (await bench.user(userId)), { what: "the script" });
    await waitFor(async () => (await bench.routes(userId)).length === 0, { what: "no route" });
  });
});

describe("the limit, decided across nodes", () => {
  test("a sixth connection closes the oldest by connect time, although heartbeats raised its score", async () => {
    const userId = newUser();
    const five = [];
    for (let i = 0; i < 5; i++) {
      five.push(await join(node, userId));
      // Connect times are milliseconds: one each.
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    const [oldestRoute = ""] = await bench.routes(userId);
    await bench.store.redis.zadd(
      bench.keysOf(userId).routes(userId),
      "XX",
      Date.now() + 600_000,
      oldestRoute,
    );
    const sixth = await join(other, userId);
    const [oldest, ...rest] = five;
    expect(await oldest?.untilClosed()).toMatchObject({ code: 4409 });
    expect(oldest?.frames.at(-1)).toMatchObject({ code: "PETREL_CONNECTION_REPLACED", action: "stop" });
    expect(await bench.routes(userId)).toHaveLength(5);
    await bench.accept(userId, "to the five");
    for (const client of [...rest, sixth]) {
      await client.untilMessages(1);
      expect(client.closed()).toBeUndefined();
      client.close();
    }
  });

  test("if the newest is refused: 4429, and nothing of it is left", async () => {
    const userId = newUser();
    const strict = await bench.startNode({ whenUserFull: "refuse", maxConnectionsPerUser: 2 });
    const two = [await join(strict, userId), await join(strict, userId)];
    const third = approach(strict, { token: `user.${userId}` });
    expect(await third.untilClosed()).toMatchObject({ code: 4429 });
    expect(third.frames).toMatchObject([
      { type: "error", code: "PETREL_TOO_MANY_CONNECTIONS", action: "backoff" },
    ]);
    await waitFor(() => strict.registry.size === 2, { what: "two in the registry" });
    expect(await bench.routes(userId)).toHaveLength(2);
    for (const client of two) {
      expect(client.closed()).toBeUndefined();
      client.close();
    }
  });
});

test("the welcome reports an epoch that changed between two connects", async () => {
  const userId = newUser();
  await bench.accept(userId, "one", "dispatch");
  const first = await join(node, userId);
  await first.untilMessages(1);
  const { epoch: before } = await first.frame("welcome");
  await bench.store.redis.hset(bench.keysOf(userId).generation, "replid", "another");
  const second = await join(node, userId, { query: `epoch=${String(before)}&since=1` });
  const { epoch: after, resumed } = await second.frame("welcome");
  expect(after).not.toBe(before);
  expect(lineageOf(String(after))).toBe(lineageOf(String(before)));
  expect(resumed).toBe(false);
  // Nothing is lost: it comes again, under the same number.
  await second.untilMessages(1);
  expect(seqsOf(second)).toEqual([1]);
  first.close();
  second.close();
});

// Revocations, as they come over the channel of all nodes, and as a connection finds them itself.
import { TokenRevocations } from "@petrel/shared/redis/auth/token-revocations";
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { WsClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { approach, openNodeBench, type NodeBench } from "../testing/node-bench.js";
import { tokenWith, type PushNode } from "../testing/start-push-node.js";

const REVOKED = { type: "error", code: "PETREL_TOKEN_REVOKED", action: "stop" };

let bench: NodeBench;
let nodes: readonly [PushNode, PushNode];
let revocations: TokenRevocations;
let users = 0;

beforeAll(async () => {
  bench = await openNodeBench();
  nodes = [await bench.startNode(), await bench.startNode()];
  const { scripts, partitions } = bench.store;
  revocations = new TokenRevocations({ scripts, partitions, maxTokenLifeMs: 60_000 });
});
afterEach(() => void vi.restoreAllMocks());
afterAll(() => bench.close());

const newUser = (): string => `u${++users}`;

async function signIn(
  node: PushNode,
  userId: string,
  claims: {
    readonly generation?: number;
    readonly sessionId?: string;
    readonly jti?: string;
    readonly formerNames?: string[];
  } = {},
): Promise<WsClient> {
  const client = approach(node, { token: tokenWith({ userId, ...claims }) });
  await client.frame("welcome");
  return client;
}

async function expectRevoked(client: WsClient): Promise<void> {
  expect(await client.untilClosed()).toMatchObject({ code: 4403 });
  expect(client.frames.at(-1)).toMatchObject(REVOKED);
}

async function expectOpen(...clients: readonly WsClient[]): Promise<void> {
  for (const client of clients) {
    client.send({ type: "ping" });
    await client.frame("pong");
    expect(client.closed()).toBeUndefined();
    client.close();
  }
}

describe("announced to every node", () => {
  test("a user: everything so far, on every node; nobody else, and nothing issued since", async () => {
    const [userId, other] = [newUser(), newUser()];
    const clients = [await signIn(nodes[0], userId), await signIn(nodes[1], userId)];
    const bystander = await signIn(nodes[0], other);
    const generation = await revocations.revokeUser(userId);
    for (const client of clients) await expectRevoked(client);
    const since = await signIn(nodes[1], userId, { generation });
    await revocations.revokeSession(userId, "another");
    await expectOpen(bystander, since);
    await waitFor(async () => (await bench.routes(userId)).length === 0, { what: "no routes, no grace" });
  });

  test("a session: only its connections", async () => {
    const userId = newUser();
    const mine = [
      await signIn(nodes[0], userId, { sessionId: "s1" }),
      await signIn(nodes[1], userId, { sessionId: "s1" }),
    ];
    const others = [await signIn(nodes[0], userId, { sessionId: "s2" }), await signIn(nodes[1], userId)];
    await revocations.revokeSession(userId, "s1");
    for (const client of mine) await expectRevoked(client);
    await expectOpen(...others);
  });

  test("a token by the name that the previous release gave it", async () => {
    const jti = `jti-${newUser()}`;
    const mine = await signIn(nodes[0], newUser(), { jti, formerNames: [`old-${jti}`] });
    const other = await signIn(nodes[0], newUser(), { jti: "other", formerNames: ["old-other"] });
    await revocations.revokeToken(`old-${jti}`);
    await expectRevoked(mine);
    await expectOpen(other);
  });

  test("a token: its connections, whoever owns them, although every partition announces it", async () => {
    const jti = `jti-${newUser()}`;
    const mine = [
      await signIn(nodes[0], newUser(), { jti }),
      await signIn(nodes[0], newUser(), { jti }),
      await signIn(nodes[1], newUser(), { jti }),
    ];
    const other = await signIn(nodes[0], newUser(), { jti: `${jti}x` });
    const walks = vi.spyOn(nodes[0].registry, "all");
    await revocations.revokeToken(jti);
    for (const client of mine) await expectRevoked(client);
    expect(walks.mock.calls.length).toBeLessThanOrEqual(bench.store.partitions.length);
    await expectOpen(other);
  });

  test("an erased user: with its own code", async () => {
    const userId = newUser();
    const client = await signIn(nodes[1], userId);
    await bench.store.redis.spublish(bench.keysOf(userId).control, `erase-user\n${userId}`);
    expect(await client.untilClosed()).toMatchObject({ code: 4403 });
    expect(client.frames.at(-1)).toMatchObject({ code: "PETREL_USER_ERASED", action: "stop" });
  });

  test("an erasure that is heard late: only the tokens from before it; the user has signed in anew", async () => {
    const userId = newUser();
    const { control } = bench.keysOf(userId);
    const erasedAtMs = await bench.store.nowMs();
    const before = await signIn(nodes[0], userId, { generation: erasedAtMs - 1 });
    const since = await signIn(nodes[0], userId, { generation: erasedAtMs });
    await bench.store.redis.spublish(control, `erase-user\n${userId}\n\t${erasedAtMs}`);
    expect(await before.untilClosed()).toMatchObject({ code: 4403 });
    await expectOpen(since);
  });

  test("nothing queued for the client is sent after it: no more messages come", async () => {
    const userId = newUser();
    const client = await signIn(nodes[0], userId);
    await revocations.revokeUser(userId);
    await bench.accept(userId, "too late");
    await expectRevoked(client);
    expect(client.messages).toEqual([]);
  });
});

describe("found by the connection itself", () => {
  test("an already revoked token: 4403 on every node, and no route", async () => {
    const userId = newUser();
    await revocations.revokeUser(userId);
    for (const node of nodes) {
      const client = approach(node, { token: tokenWith({ userId }) });
      await expectRevoked(client);
      expect(client.frames).toMatchObject([REVOKED]);
    }
    expect(await bench.routes(userId)).toEqual([]);
  });

  test("one revoked during the connect script's call", async () => {
    const userId = newUser();
    const { scripts } = nodes[0];
    const run = scripts.run.bind(scripts);
    vi.spyOn(scripts, "run").mockImplementation(async (name, keys, args) => {
      const answer = await run(name, keys, args);
      if (name === "connect.v7") {
        await revocations.revokeUser(userId);
        await waitFor(() => [...nodes[0].registry.ofUser(userId)].every(({ isOpen }) => !isOpen), {
          what: "the message",
        });
      }
      return answer;
    });
    const client = approach(nodes[0], { token: tokenWith({ userId }) });
    await expectRevoked(client);
    expect(client.frames).toMatchObject([REVOKED]);
    await waitFor(async () => (await bench.routes(userId)).length === 0, { what: "no route" });
  });

  /** A revocation that a node with a lost subscription misses: written, but announced to nobody. */
  async function revokeUnheard(userId: string): Promise<void> {
    await bench.store.redis.set(bench.keysOf(userId).tokenGeneration(userId), String(Date.now()));
  }

  test("one whose revocation was missed: closed when the subscription is back", async () => {
    const userId = newUser();
    const client = await signIn(nodes[0], userId);
    await revokeUnheard(userId);
    await nodes[0].renewal.renewAll("resubscribed");
    await expectRevoked(client);
  });

  test("also if it was just being registered", async () => {
    const userId = newUser();
    const { scripts } = nodes[0];
    const run = scripts.run.bind(scripts);
    let first = true;
    vi.spyOn(scripts, "run").mockImplementation(async (name, keys, args) => {
      const answer = await run(name, keys, args);
      if (name === "connect.v7" && first) {
        first = false;
        await revokeUnheard(userId);
        await nodes[0].renewal.renewAll("resubscribed");
      }
      return answer;
    });
    await expectRevoked(approach(nodes[0], { token: tokenWith({ userId }) }));
  });

  test("one whose revocation is lost for good: closed by a heartbeat", async () => {
    const node = await bench.startNode({ routeLeaseMs: 1_500, renewing: true });
    const [userId, other] = [newUser(), newUser()];
    const client = await signIn(node, userId);
    const bystander = await signIn(node, other);
    await revokeUnheard(userId);
    await expectRevoked(client);
    await expectOpen(bystander);
  });
});

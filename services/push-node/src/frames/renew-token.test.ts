// A fresh token over an open connection, and revocations that come while it is being checked.
import { TokenRevocations } from "@petrel/shared/redis/auth/token-revocations";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { WsClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { approach, openNodeBench, typesOf, type NodeBench } from "../testing/node-bench.js";
import { tokenWith, verifyTestToken, type PushNode } from "../testing/start-push-node.js";

const REVOKED = { type: "error", code: "PETREL_TOKEN_REVOKED", action: "stop" };

let bench: NodeBench;
let node: PushNode;
let revocations: TokenRevocations;
let users = 0;

beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode();
  const { scripts, partitions } = bench.store;
  revocations = new TokenRevocations({ scripts, partitions, maxTokenLifeMs: 60_000 });
});
afterAll(() => bench.close());

const newUser = (): string => `u${++users}`;

async function signIn(at: PushNode, userId: string, sessionId = "old"): Promise<WsClient> {
  const client = approach(at, { token: tokenWith({ userId, sessionId, jti: `${userId}-${sessionId}` }) });
  await client.frame("welcome");
  return client;
}

function fresh(userId: string, sessionId = "new"): { type: "token"; token: string } {
  return { type: "token", token: tokenWith({ userId, sessionId, jti: `${userId}-${sessionId}` }) };
}

async function expectRevoked(client: WsClient): Promise<void> {
  expect(await client.untilClosed()).toMatchObject({ code: 4403 });
  expect(client.frames.at(-1)).toMatchObject(REVOKED);
}

async function expectOpen(client: WsClient): Promise<void> {
  const pongs = (): number => client.frames.filter(({ type }) => type === "pong").length;
  const before = pongs();
  client.send({ type: "ping" });
  await waitFor(() => pongs() > before || client.closed() !== undefined, { what: "a pong" });
  expect(client.closed()).toBeUndefined();
}

test("the connection uses the new token from then on, and no longer the old one", async () => {
  const userId = newUser();
  const client = await signIn(node, userId);
  client.send(fresh(userId));
  await client.frame("token_accepted");
  await revocations.revokeSession(userId, "old");
  await revocations.revokeToken(`${userId}-old`);
  await node.renewal.renewAll("test");
  await expectOpen(client);
  await revocations.revokeSession(userId, "new");
  await expectRevoked(client);
});

test("a revoked one: 4403", async () => {
  const userId = newUser();
  const client = await signIn(node, userId);
  await revocations.revokeSession(userId, "new");
  client.send(fresh(userId));
  await expectRevoked(client);
});

test("if revocations cannot be looked up, the client is told, and the connection continues under the old one", async () => {
  const down = await bench.startNode({
    isRevoked: () => Promise.reject(new PetrelError("PETREL_UNAVAILABLE", "Redis does not answer.")),
  });
  const userId = newUser();
  const client = await signIn(down, userId);
  client.send(fresh(userId));
  expect(await client.frame("error")).toMatchObject({ code: "PETREL_UNAVAILABLE", ref: "token" });
  await revocations.revokeSession(userId, "new");
  await expectOpen(client);
  await revocations.revokeSession(userId, "old");
  await expectRevoked(client);
});

describe("while it is being checked", () => {
  /** A node whose look-ups are answered when the test says so, with what was true when they were made. */
  async function startHeld() {
    const held: (() => void)[] = [];
    const slow = await bench.startNode({
      isRevoked: async (token) => {
        const answer = await revocations.isRevoked(token);
        await new Promise<void>((resolve) => held.push(resolve));
        return answer;
      },
    });
    return { slow, held };
  }

  test.each([
    ["the new token", (userId: string) => revocations.revokeToken(`${userId}-new`)],
    ["the new session", (userId: string) => revocations.revokeSession(userId, "new")],
    ["the old session", (userId: string) => revocations.revokeSession(userId, "old")],
    ["the user", (userId: string) => revocations.revokeUser(userId)],
  ])("%s is revoked after the look-up and before its answer: not lost", async (_what, revoke) => {
    const { slow, held } = await startHeld();
    const userId = newUser();
    const client = await signIn(slow, userId);
    client.send(fresh(userId));
    await waitFor(() => held.length === 1, { what: "the look-up" });
    await revoke(userId);
    await expectRevoked(client);
    held[0]?.();
    expect(client.frames.some(({ type }) => type === "token_accepted")).toBe(false);
  });

  test("it is revoked while the subscription is down, and registering again happens before the answer: not lost", async () => {
    const { slow, held } = await startHeld();
    const userId = newUser();
    const client = await signIn(slow, userId);
    client.send(fresh(userId));
    await waitFor(() => held.length === 1, { what: "the look-up" });
    await bench.store.redis.set(bench.keysOf(userId).revokedSession(userId, "new"), "1");
    await slow.renewal.renewAll("resubscribed");
    held[0]?.();
    await expectRevoked(client);
  });

  test("a newer one arrives: that one counts", async () => {
    const { slow, held } = await startHeld();
    const userId = newUser();
    const client = await signIn(slow, userId);
    client.send(fresh(userId, "first"));
    await waitFor(() => held.length === 1, { what: "the look-up" });
    client.send(fresh(userId, "second"));
    await waitFor(() => held.length === 2, { what: "the other look-up" });
    held[1]?.();
    await client.frame("token_accepted");
    held[0]?.();
    await expectOpen(client);
    await revocations.revokeSession(userId, "first");
    await expectOpen(client);
    expect(client.frames.filter(({ type }) => type === "token_accepted")).toHaveLength(1);
    await revocations.revokeSession(userId, "second");
    await expectRevoked(client);
  });
});

describe("a token's expiry", () => {
  test("a fresh one that has already expired is refused", async () => {
    const userId = newUser();
    const client = await signIn(node, userId);
    client.send({ type: "token", token: tokenWith({ userId, expiresAtMs: Date.now() - 1 }) });
    expect(await client.untilClosed()).toMatchObject({ code: 4401 });
    expect(typesOf(client.frames)).toEqual(["welcome", "error"]);
  });

  test("with less than 30 s left: announced right after the welcome", async () => {
    const client = approach(node, {
      token: tokenWith({ userId: newUser(), expiresAtMs: Date.now() + 10_000 }),
    });
    // No round of the shared timer runs here.
    expect((await client.frame("token_expiring"))["inSeconds"]).toBeLessThanOrEqual(10);
    expect(typesOf(client.frames)).toEqual(["welcome", "token_expiring"]);
    client.close();
  });

  test("nothing is announced before the welcome, where it would be missed", async () => {
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    const slow = await bench.startNode({ verifyToken: verifyTestToken });
    const run = slow.scripts.run.bind(slow.scripts);
    slow.scripts.run = async (name, keys, args) => {
      const answer = await run(name, keys, args);
      if (name === "connect.v7") await released;
      return answer;
    };
    const userId = newUser();
    const client = approach(slow, { token: tokenWith({ userId, expiresAtMs: Date.now() + 10_000 }) });
    await waitFor(() => [...slow.registry.ofUser(userId)].length === 1, { what: "the connection" });
    slow.watch.tick();
    release();
    await client.frame("token_expiring");
    expect(typesOf(client.frames)).toEqual(["welcome", "token_expiring"]);
    client.close();
  });
});

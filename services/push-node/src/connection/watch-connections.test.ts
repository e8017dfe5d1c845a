// The shared timer, driven by hand on a stepped clock: silence, and the token's expiry.
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { WsClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { approach, join, openNodeBench, type NodeBench } from "../testing/node-bench.js";
import { openRaw, type RawClient } from "../testing/raw-client.js";
import type { PushNode } from "../testing/start-push-node.js";

const PING_SECONDS = 10;

let bench: NodeBench;
let users = 0;

beforeAll(async () => {
  bench = await openNodeBench();
});
afterAll(() => bench.close());

const newUser = (): string => `u${++users}`;

/** One tick a second; what the clients answer is read in between. */
async function pass(node: PushNode, seconds: number, client?: WsClient): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    node.clock.step(1_000);
    node.watch.tick();
    if (client !== undefined) await roundTrip(client);
  }
}

/** Whatever was on the wire before has been read by then, on both sides. */
async function roundTrip(client: WsClient): Promise<void> {
  const before = client.frames.length;
  client.send({ type: "ping" });
  await waitFor(() => client.frames.length > before || client.closed(), { what: "a pong", everyMs: 1 });
}

/** A client that never answers a ping. */
async function silentClient(node: PushNode, userId: string): Promise<RawClient> {
  const raw = await openRaw({ port: node.port, headers: { authorization: `Bearer user.${userId}` } });
  await waitFor(() => [...node.registry.ofUser(userId)].length === 1, { what: "the connection" });
  return raw;
}

describe("silence", () => {
  test("cuts the connection after two ping intervals", async () => {
    const node = await bench.startNode({ pingSeconds: PING_SECONDS });
    const userId = newUser();
    const raw = await silentClient(node, userId);
    await pass(node, 2 * PING_SECONDS);
    expect([...node.registry.ofUser(userId)]).toHaveLength(1);
    await waitFor(() => raw.frames().some(({ opcode }) => opcode === 9), { what: "a ping" });
    expect(raw.frames().filter(({ opcode }) => opcode === 9)).toHaveLength(2);
    await pass(node, 2);
    await raw.untilGone();
    expect(node.closes).toEqual([1006]);
    await waitFor(async () => (await bench.routes(userId)).length === 0, { what: "no route" });
  });

  test("keeps one that answers pings", async () => {
    const node = await bench.startNode({ pingSeconds: PING_SECONDS });
    const client = await join(node, newUser());
    const witness = await join(node, newUser());
    // Only `witness` sends frames; `client` is kept by the pongs of its protocol alone.
    await pass(node, 5 * PING_SECONDS, witness);
    expect(client.closed()).toBeUndefined();
    client.close();
    witness.close();
  });

  test("keeps one that only sends frames, as behind a proxy that swallows protocol pings", async () => {
    const node = await bench.startNode({ pingSeconds: PING_SECONDS });
    const userId = newUser();
    const raw = await silentClient(node, userId);
    for (let i = 0; i < 5; i++) {
      await pass(node, PING_SECONDS);
      raw.text({ type: "ping" });
      await waitFor(() => raw.frames().filter(({ payload }) => payload.includes("pong")).length === i + 1, {
        what: "the pong",
      });
    }
    expect([...node.registry.ofUser(userId)]).toHaveLength(1);
    raw.socket.destroy();
  });

  test("spreads pings: not everyone in the same second", async () => {
    const node = await bench.startNode({ pingSeconds: PING_SECONDS });
    const raws = await Promise.all(Array.from({ length: 10 }, () => silentClient(node, newUser())));
    const pinged = (): number => raws.filter((raw) => raw.frames().some(({ opcode }) => opcode === 9)).length;
    const [first] = raws;
    if (first === undefined) throw new Error("nobody");
    await pass(node, 2);
    first.text({ type: "ping" });
    await waitFor(() => first.frames().some(({ payload }) => payload.includes("pong")), { what: "a pong" });
    expect(pinged()).toBeGreaterThan(0);
    expect(pinged()).toBeLessThan(5);
    await pass(node, PING_SECONDS - 2);
    await waitFor(() => pinged() === 10, { what: "a ping for everybody" });
    for (const raw of raws) raw.socket.destroy();
  });

  test("does not blame clients for a pause of this process", async () => {
    const node = await bench.startNode({ pingSeconds: PING_SECONDS });
    const clients = await Promise.all(Array.from({ length: 20 }, () => join(node, newUser())));
    await pass(node, 1);
    node.clock.step(10 * 60_000);
    node.watch.tick();
    const [first] = clients;
    if (first === undefined) throw new Error("nobody");
    await pass(node, 3 * PING_SECONDS, first);
    expect(clients.filter((client) => client.closed() !== undefined)).toEqual([]);
    for (const client of clients) client.close();
  });
});

describe("the token's end", () => {
  test("is announced, then closes with 4401", async () => {
    const node = await bench.startNode();
    const endsAtMs = Date.now() + 60_000;
    const client = approach(node, { token: `until.${endsAtMs}.${newUser()}` });
    await client.frame("welcome");
    await pass(node, 25, client);
    expect(client.frames.some(({ type }) => type === "token_expiring")).toBe(false);
    await pass(node, 10, client);
    const notices = client.frames.filter(({ type }) => type === "token_expiring");
    expect(notices).toHaveLength(1);
    expect(notices[0]?.["inSeconds"]).toBeGreaterThan(20);
    expect(notices[0]?.["inSeconds"]).toBeLessThanOrEqual(30);
    await pass(node, 30, client);
    expect(await client.untilClosed()).toMatchObject({ code: 4401 });
    expect(client.frames.at(-1)).toMatchObject({
      type: "error",
      code: "PETREL_TOKEN_EXPIRED",
      action: "refresh",
    });
  });

  test("moves with a fresh token, and is announced in its own time", async () => {
    const node = await bench.startNode();
    const userId = newUser();
    const client = approach(node, { token: `until.${Date.now() + 40_000}.${userId}` });
    await client.frame("welcome");
    await pass(node, 15, client);
    await client.frame("token_expiring");
    client.send({ type: "token", token: `until.${Date.now() + 100_000}.${userId}` });
    await client.frame("token_accepted");
    await pass(node, 45, client);
    expect(client.closed()).toBeUndefined();
    await pass(node, 20, client);
    expect(client.frames.filter(({ type }) => type === "token_expiring")).toHaveLength(2);
    await pass(node, 30, client);
    expect(await client.untilClosed()).toMatchObject({ code: 4401 });
  });
});

// From the upgrade to the welcome: clients without a credential, with a bad one, or with early frames.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { setImmediate as nextTurn } from "node:timers/promises";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Frame } from "@petrel/shared/testing/peers/ws-client";
import { approach, join, openNodeBench, typesOf, type NodeBench } from "../testing/node-bench.js";
import { maskedFrame, openRaw } from "../testing/raw-client.js";
import { tokenWith, verifyTestToken, type PushNode } from "../testing/start-push-node.js";

let bench: NodeBench;
let node: PushNode;

beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode({ authTimeoutMs: 300 });
});
afterAll(() => bench.close());

describe("a bad credential completes the upgrade, gets the reason, then a close", () => {
  test.each([
    ["wrong", "nonsense", "PETREL_TOKEN_INVALID", 4401, "refresh"],
    ["over", "expired.alice", "PETREL_TOKEN_EXPIRED", 4401, "refresh"],
    ["not checkable now", "down", "PETREL_UNAVAILABLE", 1013, "resume"],
  ])("%s", async (_name, token, code, closeCode, action) => {
    const client = approach(node, { token });
    expect(await client.untilClosed()).toMatchObject({ code: closeCode });
    expect(client.frames).toEqual([{ type: "error", code, message: expect.any(String) as string, action }]);
    expect(client.socket.protocol).toBe("petrel.v1");
  });

  test("expired, though the check allows some seconds: no welcome, and nobody's slot is taken", async () => {
    const strict = await bench.startNode({ sessionPolicy: "one" });
    const device = await join(strict, "ida");
    const token = tokenWith({ userId: "ida", expiresAtMs: Date.now() - 1 });
    const client = approach(strict, { token });
    expect(await client.untilClosed()).toMatchObject({ code: 4401 });
    expect(client.frames).toMatchObject([{ type: "error", code: "PETREL_TOKEN_EXPIRED", action: "refresh" }]);
    device.send({ type: "ping" });
    await device.frame("pong");
    device.close();
  });

  test("an Authorization of another scheme", async () => {
    const client = approach(node, { headers: { authorization: "Basic abc" } });
    expect(await client.untilClosed()).toMatchObject({ code: 4401 });
  });

  test("a ticket that nobody issued", async () => {
    const client = approach(node, { query: "ticket=t1" });
    expect(await client.untilClosed()).toMatchObject({ code: 4401 });
    expect(client.frames).toMatchObject([{ type: "error", code: "PETREL_TICKET_INVALID" }]);
  });
});

describe("a credential as the first frame", () => {
  test("a valid one", async () => {
    const client = approach(node);
    await waitFor(() => client.socket.readyState === client.socket.OPEN, { what: "the upgrade" });
    client.send({ type: "auth", token: "user.first" });
    expect(await client.frame("welcome")).toMatchObject({ user: "first" });
    // Its timeout does not fire afterwards.
    await waitFor(() => client.closed() !== undefined, { what: "nothing", deadlineMs: 500 }).catch(() => "");
    expect(client.closed()).toBeUndefined();
    client.close();
  });

  test("in the same bytes as the handshake, followed by an ack and a ping", async () => {
    const raw = await openRaw({ port: node.port });
    const sent = [{ type: "auth", token: "user.eager" }, { type: "ack", seq: 0 }, { type: "ping" }];
    raw.socket.write(
      Buffer.concat(sent.map((frame) => maskedFrame(1, Buffer.from(JSON.stringify(frame)), true))),
    );
    await waitFor(() => raw.frames().length >= 3, { what: "welcome and pong" });
    const frames = raw.frames().map(({ payload }) => JSON.parse(payload.toString()) as Frame);
    expect(typesOf(frames)).toEqual(["welcome", "pong"]);
    raw.socket.destroy();
  });

  test("none in time: 4401", async () => {
    const startMs = performance.now();
    const client = approach(node);
    expect(await client.untilClosed()).toMatchObject({ code: 4401 });
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(290);
    expect(client.frames).toMatchObject([{ type: "error", code: "PETREL_AUTH_TIMEOUT", action: "refresh" }]);
  });

  test("pings do not extend the time", async () => {
    const client = approach(node);
    await waitFor(() => client.socket.readyState === client.socket.OPEN, { what: "the upgrade" });
    client.send({ type: "ping" });
    expect(await client.untilClosed()).toMatchObject({ code: 4401 });
    expect(client.frames.map(({ type }) => type)).toEqual(["pong", "error"]);
  });

  test.each([
    ["another type", `{"type":"ack","seq":0}`, 4401, "PETREL_UNAUTHENTICATED"],
    ["not JSON", "auth", 4400, "PETREL_BAD_FRAME"],
    ["without a token", `{"type":"auth"}`, 4400, "PETREL_BAD_FRAME"],
    ["a bad token", `{"type":"auth","token":"nonsense"}`, 4401, "PETREL_TOKEN_INVALID"],
  ])("%s", async (_name, text, closeCode, code) => {
    const client = approach(node);
    await waitFor(() => client.socket.readyState === client.socket.OPEN, { what: "the upgrade" });
    client.sendText(text);
    expect(await client.untilClosed()).toMatchObject({ code: closeCode });
    expect(client.frames).toMatchObject([{ type: "error", code }]);
  });

  test("a binary frame: 1003", async () => {
    const client = approach(node);
    await waitFor(() => client.socket.readyState === client.socket.OPEN, { what: "the upgrade" });
    client.socket.send(Buffer.from("{}"));
    expect(await client.untilClosed()).toMatchObject({ code: 1003 });
    expect(client.frames).toMatchObject([{ type: "error", code: "PETREL_BINARY_FRAME" }]);
  });
});

describe("while the token is being checked", () => {
  async function startHeld() {
    const held: (() => void)[] = [];
    const slow = await bench.startNode({
      verifyToken: async (token) => {
        await new Promise<void>((resolve) => held.push(resolve));
        return verifyTestToken(token);
      },
    });
    return { slow, held };
  }

  test("frames wait, and are handled after the welcome, in order", async () => {
    const { slow, held } = await startHeld();
    const client = approach(slow, { token: "user.patient" });
    await waitFor(() => held.length === 1 && client.socket.readyState === client.socket.OPEN, {
      what: "the check, and the upgrade",
    });
    client.send({ type: "ping" });
    client.send({ type: "subscribe", topic: "t" });
    client.send({ type: "ping" });
    await nextTurn();
    expect(client.frames).toEqual([]);
    held[0]?.();
    await waitFor(() => client.frames.length === 5, { what: "the answers" });
    expect(typesOf(client.frames)).toEqual(["welcome", "pong", "error", "pong"]);
    client.close();
  });

  test("too many of them: 4400, and later ones are not kept", async () => {
    const { slow, held } = await startHeld();
    const raw = await openRaw({ port: slow.port, headers: { authorization: "Bearer user.flood" } });
    await waitFor(() => held.length === 1, { what: "the check" });
    const ping = maskedFrame(1, Buffer.from(`{"type":"ping","padding":"${"x".repeat(60_000)}"}`), true);
    for (let i = 0; i < 17; i++) raw.socket.write(ping);
    expect(await raw.closeCode()).toBe(4400);
    const before = process.memoryUsage().heapUsed + process.memoryUsage().external;
    for (let i = 0; i < 500; i++) raw.socket.write(ping);
    await waitFor(() => raw.socket.writableLength === 0, { what: "the flood's end" });
    // What is not kept is garbage, but not collected at once.
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const grown = (): number => {
      collect();
      return process.memoryUsage().heapUsed + process.memoryUsage().external - before;
    };
    await waitFor(() => grown() < 25 * 1024 * 1024, { what: "the flood to be forgotten" });
    raw.socket.destroy();
  });

  test("a client that leaves meanwhile leaves nothing behind", async () => {
    const { slow, held } = await startHeld();
    const client = approach(slow, { token: "user.gone" });
    await waitFor(() => held.length === 1, { what: "the check" });
    client.socket.terminate();
    await waitFor(() => slow.closes.length === 1, { what: "its end" });
    held[0]?.();
    await slow.redis.ping();
    expect(slow.registry.size).toBe(0);
    expect(await bench.routes("gone")).toEqual([]);
  });

  test("a stop that begins meanwhile sends it elsewhere", async () => {
    const { slow, held } = await startHeld();
    const client = approach(slow, { token: "user.late" });
    await waitFor(() => held.length === 1, { what: "the check" });
    slow.startDraining();
    held[0]?.();
    expect(await client.untilClosed()).toMatchObject({ code: 1012 });
    expect(client.frames).toMatchObject([{ type: "reconnect", afterMs: 0, reason: "PETREL_SHUTTING_DOWN" }]);
    expect(await bench.routes("late")).toEqual([]);
  });
});

test("a check that fails without an answer is not the client's fault: 1013", async () => {
  const broken = await bench.startNode({
    verifyToken: () => Promise.reject(new TypeError("a fault of ours")),
  });
  const client = approach(broken, { token: "user.any" });
  expect(await client.untilClosed()).toMatchObject({ code: 1013 });
});

test("treats a user whose id is another's prefix as another user", async () => {
  const [short, long] = [await join(node, "pre"), await join(node, "prefix")];
  await bench.accept("prefix", "for the long one");
  await long.untilMessages(1);
  expect(short.messages).toEqual([]);
  short.close();
  long.close();
});

test("an error of the catalogue keeps its code", async () => {
  const odd = await bench.startNode({
    verifyToken: () => Promise.reject(new PetrelError("PETREL_UNAUTHENTICATED", "Revoked.")),
  });
  const client = approach(odd, { token: "user.any" });
  expect(await client.untilClosed()).toMatchObject({ code: 4401 });
  expect(client.frames).toMatchObject([{ code: "PETREL_UNAUTHENTICATED", message: "Revoked." }]);
});

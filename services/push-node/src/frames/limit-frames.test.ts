// How many frames a client may send, before its welcome and after, on real sockets.
// Guarantees: a flood ends with the code that says so, and finally without one; acks that move forward are free.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { approach, join, openNodeBench, type NodeBench } from "../testing/node-bench.js";
import { maskedFrame, openRaw, type RawClient } from "../testing/raw-client.js";
import type { PushNode } from "../testing/start-push-node.js";

let bench: NodeBench;
let node: PushNode;
beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode({ framesPerUserPerSecond: 50 });
});
afterAll(() => bench.close());

const PING = '{"type":"ping"}';

async function raw(userId: string): Promise<RawClient> {
  const client = await openRaw({ port: node.port, headers: { authorization: `Bearer user.${userId}` } });
  await waitFor(() => client.frames().length > 0, { what: "the welcome" });
  return client;
}

describe("a user's frames", () => {
  test("beyond the limit: error, 4429, and later frames are not answered", async () => {
    const client = await join(node, "chatty");
    for (let i = 0; i < 1_000; i++) client.sendText(PING);
    expect(await client.untilClosed()).toMatchObject({ code: 4429 });
    expect(client.frames.at(-1)).toMatchObject({
      type: "error",
      code: "PETREL_RATE_LIMITED",
      action: "backoff",
    });
    expect(client.frames.filter(({ type }) => type === "pong").length).toBeLessThanOrEqual(60);
  });

  test("a client that keeps sending after the close is disconnected", async () => {
    const client = await raw("deaf");
    const many = Buffer.concat(Array.from({ length: 2_000 }, () => maskedFrame(1, Buffer.from(PING), true)));
    // It does not answer the close, for which it would have five seconds.
    for (let i = 0; i < 10; i++) client.socket.write(many);
    await client.untilGone(4_000);
  });

  test("over several connections of one user together", async () => {
    const [a, b] = [await join(node, "double"), await join(node, "double")];
    for (let i = 0; i < 40; i++) {
      a.sendText(PING);
      b.sendText(PING);
    }
    await waitFor(() => a.closed()?.code === 4429 || b.closed()?.code === 4429, { what: "the refusal" });
    a.close();
    b.close();
  });

  test("protocol pings and pongs count as well", async () => {
    for (const opcode of [9, 10]) {
      const client = await raw(`control${opcode}`);
      client.socket.write(
        Buffer.concat(Array.from({ length: 500 }, () => maskedFrame(opcode, Buffer.alloc(0), true))),
      );
      expect(await client.closeCode()).toBe(4429);
      client.socket.destroy();
    }
  });

  test("below the limit nothing happens, and a second later there is room again", async () => {
    const client = await join(node, "calm");
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 40; i++) client.sendText(PING);
      await waitFor(() => client.frames.filter(({ type }) => type === "pong").length === (round + 1) * 40, {
        what: "the pongs",
      });
      const endMs = performance.now() + 1_200;
      await waitFor(() => performance.now() > endMs, { what: "a second and a sub-window" });
    }
    expect(client.closed()).toBeUndefined();
    client.close();
  });

  test("acks that move forward are free; repeating the same one is not", async () => {
    const client = await join(node, "acks");
    await bench.acceptMany("acks", 300);
    await client.untilMessages(300);
    for (let seq = 1; seq <= 300; seq++) client.ack(seq);
    await waitFor(async () => (await bench.user("acks"))["acked"] === "300", { what: "the acks" });
    expect(client.closed()).toBeUndefined();
    for (let i = 0; i < 300; i++) client.ack(300);
    expect(await client.untilClosed()).toMatchObject({ code: 4429 });
  });
});

describe("before welcome", () => {
  test.each([
    ["pings", (client: RawClient) => client.text({ type: "ping" })],
    ["protocol pings", (client: RawClient) => client.send(9, Buffer.alloc(0))],
    ["protocol pongs", (client: RawClient) => client.send(10, Buffer.alloc(0))],
  ])("more than a few %s: 4400", async (_name, send) => {
    const client = await openRaw({ port: node.port });
    for (let i = 0; i < 40; i++) send(client);
    expect(await client.closeCode()).toBe(4400);
    client.socket.destroy();
  });

  test("frames kept until then are small in total", async () => {
    const patient = await bench.startNode({ verifyToken: () => new Promise(() => undefined) });
    const client = approach(patient, { token: "user.a" });
    await waitFor(() => client.socket.readyState === client.socket.OPEN, { what: "the upgrade" });
    client.send({ type: "ping", pad: "x".repeat(60_000) });
    expect(await client.untilClosed()).toMatchObject({ code: 4400 });
  });
});

// A crowd's sockets, before the event loop has taken any of them: the kernel holds them for this node.
import { existsSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openNodeBench, type NodeBench } from "../testing/node-bench.js";

/** Linux' own account of its sockets, and the bound on what a listener may ask for. */
const TABLE = "/proc/net/tcp";
const BOUND = "/proc/sys/net/core/somaxconn";
/** More than the 511 that Node asks for. */
const CROWD = 700;
const LISTENING = "0A";

let bench: NodeBench;
beforeAll(async () => {
  bench = await openNodeBench();
});
afterAll(() => bench.close());

/** Connections that wait to be accepted. */
function waitingAt(port: number): number {
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  for (const line of readFileSync(TABLE, "utf8").split("\n")) {
    const [, local = "", , state, queues = ""] = line.trim().split(/\s+/);
    if (state === LISTENING && local.endsWith(`:${hexPort}`))
      return Number.parseInt(queues.split(":")[1] ?? "", 16);
  }
  throw new Error(`nobody listens at ${port}`);
}

test("accepts more than 511 connections within one turn of the event loop", async (context) => {
  if (!existsSync(TABLE) || Number(readFileSync(BOUND, "utf8")) < CROWD)
    return context.skip(`left out: only Linux says how many wait, and where ${BOUND} allows ${CROWD}`);
  const { port } = await bench.startNode({});
  const sockets: Socket[] = [];
  for (let i = 0; i < CROWD; i++) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    sockets.push(socket);
  }
  // The calls themselves are made in the next tick, all before the loop looks at any socket.
  const waiting = await new Promise<number>((resolve) => process.nextTick(() => resolve(waitingAt(port))));
  for (const socket of sockets) socket.destroy();
  expect(waiting).toBe(CROWD);
});

// The memory of an idle connection, and that nothing of its handshake is kept.
import { spawn, type ChildProcess } from "node:child_process";
import { IncomingMessage, ServerResponse } from "node:http";
import { queryObjects, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { openNodeBench, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";

const CONNECTIONS = sized(2_000, 500);
const LIMIT_BYTES = 8 * 1024;
/** A token that is kept would exceed the limit. */
const TOKEN_PADDING_BYTES = 5_500;

/** Clients in a process of their own, so that only the server's end is measured: sockets that say hello and wait. */
const CLIENTS = `
const { connect } = require("node:net");
const [port, count, padding] = process.argv.slice(1);
let next = 0;
function open() {
  if (next >= Number(count)) return;
  const claims = { userId: "idle" + next, jti: "jti-of-a-usual-length-" + next, sessionId: "a-usual-session-" + next };
  const text = JSON.stringify({ ...claims, padding: "x".repeat(Number(padding)) });
  const token = "claims." + Buffer.from(text).toString("base64url");
  next++;
  const socket = connect(Number(port), "127.0.0.1", () => socket.write(
    "GET /v1/connect HTTP/1.1\\r\\nHost: a\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n" +
    "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n" +
    "User-Agent: " + "a usual browser ".repeat(8) + "\\r\\n" +
    "Sec-WebSocket-Protocol: petrel.v1, bearer." + token + "\\r\\n\\r\\n"));
  socket.once("data", open);
  socket.on("error", () => {});
}
for (let i = 0; i < 50; i++) open();
`;

let bench: NodeBench;
let node: PushNode;
let clients: ChildProcess | undefined;

beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode();
});
afterAll(async () => {
  clients?.kill();
  await bench.close();
});

function heapBytes(collect: () => void): number {
  for (let i = 0; i < 4; i++) collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Instances of a class that are still reachable. */
function alive(constructor: Function): number {
  return queryObjects(constructor) as number;
}

test(`${CONNECTIONS} idle connections keep nothing of their handshakes and cost little`, async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const before = {
    bytes: heapBytes(collect),
    requests: alive(IncomingMessage),
    responses: alive(ServerResponse),
  };
  const args = [node.port, CONNECTIONS, TOKEN_PADDING_BYTES].map(String);
  clients = spawn(process.execPath, ["-e", CLIENTS, ...args], { stdio: "ignore" });
  await waitFor(() => node.registry.size === CONNECTIONS && node.opened() === CONNECTIONS, {
    what: "all connections",
    deadlineMs: 90_000,
  });
  await waitFor(() => [...node.registry.all()].every(({ phase }) => phase === "live"), { what: "live ones" });
  const perConnection = Math.round((heapBytes(collect) - before.bytes) / CONNECTIONS);
  process.stdout.write(`an idle connection keeps ${perConnection} bytes of heap\n`);
  expect(alive(IncomingMessage) - before.requests).toBeLessThan(20);
  expect(alive(ServerResponse) - before.responses).toBeLessThan(20);
  expect(perConnection).toBeLessThan(LIMIT_BYTES);
}, 150_000);

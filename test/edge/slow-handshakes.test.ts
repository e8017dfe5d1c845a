// Flow: thousands of sockets that never become connections, against a running node: silent ones, halves of requests,
// headers a byte at a time, upgrades without a credential, bad tokens; from many addresses and from one.
// Guarantees: a well-behaved client connects at its first attempt, even from the flood's own address; what the flood
// holds is bounded, in number and in memory, and ends by itself.
import { readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { openRaw } from "../../services/push-node/src/testing/raw-client.js";
import { sized } from "../support/sizes.js";

const HALF_OPEN = sized(2_000, 320);
const SLOW_HEADERS = sized(500, 80);
const ADDRESSES = 200;
/** Fewer than the flood, so that the bounds are reached. */
const MAX_PENDING = sized(1_000, 200);
const MAX_PENDING_PER_ADDRESS = sized(500, 100);
const MAX_UNAUTHENTICATED = sized(400, 60);
/** Of well-behaved clients beside the bad tokens, one after the other. */
const PATIENT = sized(5, 3);
/** Two hundred of them still come ten times as fast as they are let in. */
const REFUSED_PAUSE_MS = sized(0, 200);
const HEADERS_TIMEOUT_MS = 4_000;
/** Generous: a waiting socket takes some ten KB; the rest is the garbage of accepting thousands. */
const MAX_GROWTH_MB = 120;

let cluster: TestCluster;
const open = new Set<Socket>();

beforeAll(async () => {
  cluster = await startCluster({
    together: (name) => !name.startsWith("push-node"),
    environmentOf: (name): Record<string, string> => ({
      HEADERS_TIMEOUT_MS: String(HEADERS_TIMEOUT_MS),
      MAX_PENDING_SOCKETS: String(MAX_PENDING),
      MAX_PENDING_SOCKETS_PER_ADDRESS: String(MAX_PENDING_PER_ADDRESS),
      MAX_UNAUTHENTICATED: String(MAX_UNAUTHENTICATED),
      MAX_UNAUTHENTICATED_PER_ADDRESS: String(MAX_UNAUTHENTICATED / 2),
      CONNECTS_PER_SECOND: name === "push-node-2" ? "50" : "5000",
      CONNECT_WAIT_MS: name === "push-node-2" ? "2000" : "10000",
    }),
  });
});
afterEach(() => {
  for (const socket of open) socket.destroy();
});
afterAll(() => cluster.stop());

interface Flooder {
  readonly socket: Socket;
  isGone: boolean;
}

/** Opens sockets that do not wait for each other, and does something with each once it is open. */
async function flood(
  count: number,
  port: number,
  addressOf: (i: number) => string,
  begin: (socket: Socket, i: number) => void,
): Promise<Flooder[]> {
  const all: Flooder[] = [];
  for (let at = 0; at < count; at += 100) {
    const some = Array.from({ length: Math.min(100, count - at) }, (_, j) => {
      // Half-open on purpose: when the other end closes, an attacker's socket would stay.
      const socket = connect({
        port,
        host: "127.0.0.1",
        localAddress: addressOf(at + j),
        allowHalfOpen: true,
      });
      const flooder: Flooder = { socket, isGone: false };
      open.add(socket);
      const gone = (): void => {
        flooder.isGone = true;
        open.delete(socket);
      };
      socket.on("error", gone);
      socket.on("end", gone);
      socket.on("close", gone);
      socket.resume();
      socket.once("connect", () => begin(socket, at + j));
      return flooder;
    });
    await waitFor(() => some.every(({ socket, isGone }) => isGone || !socket.connecting), {
      what: "a hundred sockets",
      everyMs: 5,
    });
    all.push(...some);
  }
  return all;
}

const UPGRADE =
  "GET /v1/connect HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/** Four ways of never finishing a request. */
function halfOpen(socket: Socket, i: number): void {
  const parts = ["", "GE", UPGRADE, `${UPGRADE}\r\n`];
  socket.write(parts[i % parts.length] ?? "");
}

function slowHeaders(socket: Socket): void {
  socket.write(UPGRADE);
  const timer = setInterval(() => socket.write("X: y\r\n"), 500);
  socket.on("close", () => clearInterval(timer));
}

/** @returns the milliseconds until its welcome */
async function connectOnce(port: number, user: string, localAddress: string): Promise<number> {
  const token = await cluster.tokenFor(user);
  const startMs = performance.now();
  const client = await openRaw({ port, localAddress, headers: { authorization: `Bearer ${token}` } });
  await waitFor(() => client.frames().length > 0 || client.isGone(), {
    what: "the welcome",
    everyMs: 5,
    deadlineMs: 15_000,
  });
  const tookMs = performance.now() - startMs;
  expect(client.answer.split("\r\n")[0]).toContain("101");
  expect(client.frames()[0]?.payload.toString()).toContain('"welcome"');
  client.socket.destroy();
  return tookMs;
}

async function residentMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

const many = (i: number): string => `127.0.${1 + Math.floor((i % ADDRESSES) / 100)}.${1 + (i % 100)}`;
const one = (): string => "127.0.0.1";

test.each([
  [`${ADDRESSES} addresses`, many],
  ["the well-behaved client's address", one],
])(`${HALF_OPEN} half-open handshakes and ${SLOW_HEADERS} slow headers from %s`, async (name, addressOf) => {
  const node = cluster.newest("push-node-1");
  const beforeMb = await residentMb(node.pid);
  const times: number[] = [];
  const flooders: Flooder[] = [];
  let peakMb = 0;
  for (let part = 0; part < 4; part++) {
    flooders.push(
      ...(await flood(HALF_OPEN / 4, node.port, (i) => addressOf(i + (part * HALF_OPEN) / 4), halfOpen)),
      ...(await flood(SLOW_HEADERS / 4, node.port, addressOf, slowHeaders)),
    );
    times.push(await connectOnce(node.port, `legitimate-${part}`, "127.0.0.1"));
    peakMb = Math.max(peakMb, await residentMb(node.pid));
  }
  const bound = MAX_PENDING + MAX_UNAUTHENTICATED;
  await waitFor(() => flooders.filter(({ isGone }) => !isGone).length <= bound, {
    what: `no more than ${bound} of them`,
    deadlineMs: HEADERS_TIMEOUT_MS / 2,
  });
  times.push(await connectOnce(node.port, "legitimate", "127.0.0.1"));
  // Sockets that say nothing more, or a little now and then, are gone after their time.
  await waitFor(() => flooders.every(({ isGone }) => isGone), {
    what: "the end of all",
    deadlineMs: 30_000,
  });
  for (const { socket } of flooders) socket.destroy();
  times.push(await connectOnce(node.port, "afterwards", "127.0.0.1"));
  const afterMb = await residentMb(node.pid);
  process.stdout.write(
    `from ${name}: a well-behaved client was welcome after ${times.map((ms) => ms.toFixed(0)).join(", ")} ms; ` +
      `the node had ${beforeMb.toFixed(0)} MB before, ${peakMb.toFixed(0)} MB at most, ${afterMb.toFixed(0)} MB after\n`,
  );
  expect(peakMb - beforeMb).toBeLessThan(MAX_GROWTH_MB);
  expect(afterMb - beforeMb).toBeLessThan(MAX_GROWTH_MB);
  expect(node.isRunning()).toBe(true);
});

test("bad tokens from one address do not use another's turns", async () => {
  const node = cluster.newest("push-node-2");
  let isFlooding = true;
  let refused = 0;
  const flooding = Array.from({ length: 200 }, async () => {
    while (isFlooding) {
      const client = await openRaw({
        port: node.port,
        localAddress: "127.0.0.2",
        headers: { authorization: "Bearer a.b.c" },
      });
      const isRefused = !client.answer.startsWith("HTTP/1.1 101");
      client.socket.destroy();
      if (!isRefused) continue;
      refused++;
      await sleep(REFUSED_PAUSE_MS);
    }
  });
  // At fifty a second, with two seconds' worth allowed to wait, the queue is full by now.
  await waitFor(() => refused > 200, { what: "a full line", deadlineMs: 30_000 });
  const times: number[] = [];
  for (let i = 0; i < PATIENT; i++) times.push(await connectOnce(node.port, `patient-${i}`, "127.0.0.3"));
  isFlooding = false;
  await Promise.all(flooding);
  process.stdout.write(
    `beside ${refused} refused bad tokens, welcome after ${times.map((ms) => ms.toFixed(0)).join(", ")} ms\n`,
  );
});

// Bench, fan-out: a steady flow of single messages to a few users, and their pings, beside whatever else goes on.
// Guarantees: every message that was accepted counts; one that did not come is told, not left out of the latencies.
import { WebSocket } from "ws";
import { openKeepAlivePost } from "../keep-alive-post.js";
import { findMark, markedMessage, numberOf, sentAtUsOf } from "../subscribers/marked-message.js";
import { LatencyHistogram } from "../subscribers/latency-histogram.js";
import { monotonicUs } from "../subscribers/monotonic-clock.js";
import type { PetrelContender } from "../contenders/open-petrel.js";

export interface SingleFigures {
  readonly sent: number;
  readonly received: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** From a `ping` frame to its `pong`. */
  readonly pings: number;
  readonly pongs: number;
  readonly pongP99Ms: number;
}

export interface SingleMessages {
  /** Sends for so long, and waits for what is under way. */
  readonly measure: (seconds: number) => Promise<SingleFigures>;
  readonly close: () => void;
}

const USERS = 20;
const PER_SECOND = 100;
const PING_EVERY_MS = 50;
const LATE_MS = 10_000;
const seqOf = /"seq":(\d+)/;

interface Counted {
  readonly messages: LatencyHistogram;
  readonly pongs: LatencyHistogram;
  received: number;
  pongCount: number;
}

export async function openSingleMessages({ cluster }: PetrelContender): Promise<SingleMessages> {
  let counted: Counted = newCount();
  let pinging: { socket: WebSocket; sentAtUs: number } | undefined;
  const sockets: WebSocket[] = [];
  for (let i = 0; i < USERS; i++) {
    const token = await cluster.tokenFor(userOf(i));
    const url = cluster.nodeUrls[i % cluster.nodeUrls.length] ?? "";
    const socket = new WebSocket(url, ["petrel.v1", `bearer.${token}`], { perMessageDeflate: false });
    sockets.push(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("message", () => resolve());
      socket.once("error", reject);
    });
    socket.on("message", (data: Buffer) => {
      const nowUs = monotonicUs();
      const mark = findMark(data, 0, data.length);
      const seq = mark === -1 ? undefined : seqOf.exec(data.toString("latin1", 0, mark))?.[1];
      if (seq !== undefined && numberOf(data, mark) > 0) {
        counted.messages.record(nowUs - sentAtUsOf(data, mark));
        counted.received++;
        socket.send(`{"type":"ack","seq":${seq}}`);
      } else if (mark === -1 && pinging?.socket === socket && data.includes('"pong"')) {
        counted.pongs.record(nowUs - pinging.sentAtUs);
        counted.pongCount++;
        pinging = undefined;
      }
    });
  }
  return {
    measure: async (seconds) => {
      counted = newCount();
      const mine = counted;
      let pings = 0;
      const pingTimer = setInterval(() => {
        // One at a time: the next waits for the answer.
        if (pinging !== undefined) return;
        const socket = sockets[pings++ % USERS];
        if (socket === undefined) return;
        pinging = { socket, sentAtUs: monotonicUs() };
        socket.send('{"type":"ping"}');
      }, PING_EVERY_MS);
      const sent = await sendAtRate(cluster, seconds);
      clearInterval(pingTimer);
      const endMs = performance.now() + LATE_MS;
      while ((mine.received < sent || pinging !== undefined) && performance.now() < endMs)
        await new Promise((resolve) => setTimeout(resolve, 10));
      pinging = undefined;
      return {
        sent,
        received: mine.received,
        p50Ms: mine.messages.percentileMs(0.5),
        p99Ms: mine.messages.percentileMs(0.99),
        pings,
        pongs: mine.pongCount,
        pongP99Ms: mine.pongs.percentileMs(0.99),
      };
    },
    close: () => {
      for (const socket of sockets) socket.terminate();
    },
  };
}

/** @returns how many were accepted */
async function sendAtRate({ collect, apiKey }: PetrelContender["cluster"], seconds: number): Promise<number> {
  const connections = Array.from({ length: USERS }, () => openKeepAlivePost(collect.port));
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${apiKey}` };
  const endMs = performance.now() + seconds * 1000;
  let sent = 0;
  const everyMs = (1000 * USERS) / PER_SECOND;
  await Promise.all(
    connections.map(async (connection, i) => {
      await pause((everyMs * i) / USERS);
      for (let dueMs = performance.now(); dueMs < endMs; dueMs += everyMs) {
        await pause(dueMs - performance.now());
        const data = markedMessage(++sent, monotonicUs());
        const body = `{"to":{"user":"${userOf(i)}"},"data":${data}}`;
        await connection.post({ port: collect.port, path: "/v1/messages", headers, body });
      }
    }),
  );
  for (const connection of connections) connection.close();
  return sent;
}

function userOf(i: number): string {
  return `single-${i}`;
}

function newCount(): Counted {
  return { messages: new LatencyHistogram(), pongs: new LatencyHistogram(), received: 0, pongCount: 0 };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}

// Bench, drop test: every client is sent messages at a steady pace and cut off at moments drawn from a seed.
// Guarantees: the same moments and the same load for every target; each client is cut off exactly as often as asked,
// and only while it is connected.
import { seededRandom } from "@petrel/shared/testing/faults/seeded-random";
import { DropRecorder } from "./drop-test-recorder.js";
import { readCpu } from "../process-cpu.js";

export interface DropOptions {
  readonly clients: number;
  /** To each client. */
  readonly messages: number;
  /** Of each client. */
  readonly drops: number;
  /** Between two messages to the same client, in milliseconds; longer if the target does not keep up. */
  readonly everyMs: number;
  readonly seed: number;
  /** How long nothing may come before the run is given up. */
  readonly patienceMs: number;
}

/** One client of the target, which reconnects by itself. */
export interface DroppedClient {
  readonly isConnected: () => boolean;
  /** Cuts the socket without a close frame. */
  readonly drop: () => void;
}

/** A cluster to test. */
export interface DropTarget {
  readonly name: string;
  /** Server processes by name, Redis among them. */
  readonly pids: ReadonlyMap<string, number>;
  /** Resolves when it is connected; tells the recorder of every `open` and message. */
  readonly connect: (index: number, recorder: DropRecorder) => Promise<DroppedClient>;
  /** Resolves when message `n` is accepted for each of these clients. */
  readonly send: (indices: readonly number[], n: number) => Promise<void>;
  readonly close: () => Promise<void>;
}

export interface DropResult {
  readonly name: string;
  readonly clients: number;
  readonly drops: number;
  readonly accepted: number;
  readonly delivered: number;
  readonly duplicates: number;
  readonly outOfOrder: number;
  readonly repeated: number;
  readonly backwards: number;
  readonly replaysMs: readonly number[];
  readonly incompleteReplays: number;
  /** Of all server processes, user and system. */
  readonly cpuUsPerMessage: number;
  readonly cpuByProcess: ReadonlyMap<string, number>;
  readonly seconds: number;
}

const CONNECT_AT_A_TIME = 50;
const SEND_AT_A_TIME = 100;
const TICK_MS = 10;

/** Runs it and closes the target. */
export async function runDrops(target: DropTarget, options: DropOptions): Promise<DropResult> {
  try {
    return await run(target, options);
  } finally {
    await target.close();
  }
}

async function run(target: DropTarget, options: DropOptions): Promise<DropResult> {
  const indices = Array.from({ length: options.clients }, (_, i) => i);
  const recorders = indices.map(() => new DropRecorder(options.messages));
  const clients: DroppedClient[] = [];
  for (const some of inGroups(indices, CONNECT_AT_A_TIME)) {
    clients.push(
      ...(await Promise.all(some.map((i) => target.connect(i, recorders[i] ?? new DropRecorder(0))))),
    );
  }
  const before = readCpu(target.pids);
  const startMs = performance.now();
  const sending = { progress: 0 };
  const dropped = dropAtMoments(clients, recorders, options, sending);
  for (let n = 0; n < options.messages; n++) {
    const roundMs = performance.now();
    const pacing = setInterval(() => {
      sending.progress = n + Math.min(0.99, (performance.now() - roundMs) / options.everyMs);
    }, TICK_MS);
    await Promise.all(
      inGroups(indices, SEND_AT_A_TIME).map(async (some) => {
        await target.send(some, n);
        for (const i of some) recorders[i]!.accepted = n + 1;
      }),
    );
    await pause(options.everyMs - (performance.now() - roundMs));
    clearInterval(pacing);
  }
  sending.progress = options.messages;
  await dropped;
  await untilAllIsThere(recorders, options);
  const seconds = (performance.now() - startMs) / 1000;
  // The last acks are still on their way.
  await pause(200);
  const after = readCpu(target.pids);
  for (const recorder of recorders) recorder.cutOff();

  const messages = options.clients * options.messages;
  const cpuByProcess = new Map(
    [...after].map(([name, ns]) => [name, (ns - (before.get(name) ?? 0)) / 1000 / messages]),
  );
  return {
    name: target.name,
    clients: options.clients,
    drops: options.drops,
    accepted: sum(recorders, ({ accepted }) => accepted),
    delivered: sum(recorders, ({ delivered }) => delivered),
    duplicates: sum(recorders, ({ duplicates }) => duplicates),
    outOfOrder: sum(recorders, ({ outOfOrder }) => outOfOrder),
    repeated: sum(recorders, ({ repeated }) => repeated),
    backwards: sum(recorders, ({ backwards }) => backwards),
    replaysMs: recorders.flatMap(({ replaysMs }) => replaysMs).sort((a, b) => a - b),
    incompleteReplays: sum(recorders, ({ incomplete }) => incomplete),
    cpuUsPerMessage: [...cpuByProcess.values()].reduce((total, one) => total + one, 0),
    cpuByProcess,
    seconds,
  };
}

/** Resolves when each client was cut off as often as asked, always while messages were being sent. */
async function dropAtMoments(
  clients: readonly DroppedClient[],
  recorders: readonly DropRecorder[],
  { drops, messages, seed }: DropOptions,
  sending: { readonly progress: number },
): Promise<void> {
  const random = seededRandom(seed);
  const moments = clients.map(() =>
    Array.from({ length: drops }, () => random.next() * messages).sort((a, b) => a - b),
  );
  let left = clients.length * drops;
  while (left > 0) {
    for (const [i, client] of clients.entries()) {
      const [moment] = moments[i] ?? [];
      // A client that is not back yet is cut off as soon as it is.
      if (moment === undefined || moment > sending.progress || !client.isConnected()) continue;
      moments[i]?.shift();
      recorders[i]?.cutOff();
      client.drop();
      left--;
    }
    await pause(TICK_MS);
  }
}

async function untilAllIsThere(recorders: readonly DropRecorder[], options: DropOptions): Promise<void> {
  const expected = options.clients * options.messages;
  let last = -1;
  let movedAtMs = performance.now();
  for (;;) {
    const delivered = sum(recorders, (recorder) => recorder.delivered);
    if (delivered >= expected) return;
    if (delivered !== last) movedAtMs = performance.now();
    if (performance.now() - movedAtMs > options.patienceMs) return;
    last = delivered;
    await pause(50);
  }
}

export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function inGroups<T>(all: readonly T[], size: number): T[][] {
  const groups: T[][] = [];
  for (let start = 0; start < all.length; start += size) groups.push(all.slice(start, start + size));
  return groups;
}

function sum<T>(all: readonly T[], figure: (one: T) => number): number {
  return all.reduce((total, one) => total + figure(one), 0);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}

// Bench, fan-out: the loads: how topics, sockets and messages are laid out, and when the publishers publish.
// Guarantees: the same load for every contender; numbers of messages never repeat within a run.
import type { FanOutOptions, WorkloadName } from "./fan-out-options.js";
import type { Publish, RoundPlan } from "./measure-round.js";

export interface Workload {
  readonly title: string;
  /** The topic of each socket. */
  readonly socketTopics: readonly string[];
  readonly plan: (first: number) => RoundPlan;
}

const ROOM = "bench.room";
const SEEN_DEADLINE_MS = 15_000;

export function workloadOf(name: WorkloadName, options: FanOutOptions): Workload {
  if (name === "many") return manyTopics(options);
  return oneRoom({ ...options, ...(name === "alone" ? { publishers: 1 } : {}) }, name !== "burst");
}

/** @param waitsForAll each publisher waits until everyone has its message, before its next one */
function oneRoom({ sockets, messages, publishers }: FanOutOptions, waitsForAll: boolean): Workload {
  return {
    title: `one topic of ${sockets}, ${messages} messages by ${publishers} at a time, the next one ${
      waitsForAll ? "when everyone has it" : "when it is answered"
    }`,
    socketTopics: Array.from({ length: sockets }, () => ROOM),
    plan: (first) => ({
      first,
      topics: Array.from({ length: messages }, () => ROOM),
      publishers,
      run: async (publish, subscribers) => {
        let next = first;
        let isLate = false;
        const loop = async (publisher: number): Promise<void> => {
          for (let n = next++; n < first + messages; n = next++) {
            await publish(publisher, n);
            // One that is late is waited for once; the verdict tells what is missing.
            if (waitsForAll && !isLate) isLate = !(await isWithin(SEEN_DEADLINE_MS, subscribers.whenSeen(n)));
          }
        };
        await Promise.all(Array.from({ length: publishers }, (_, publisher) => loop(publisher)));
      },
    }),
  };
}

function manyTopics({ topics, members, rate, seconds, publishers }: FanOutOptions): Workload {
  const names = Array.from({ length: topics }, (_, i) => `bench.topic.${i}`);
  return {
    title: `${topics} topics of ${members}, ${rate} messages a second over them for ${seconds} s`,
    // The members of a topic are on both nodes.
    socketTopics: Array.from({ length: members }, () => names).flat(),
    plan: (first) => ({
      first,
      topics: Array.from({ length: rate * seconds }, (_, i) => names[i % topics] ?? ""),
      publishers,
      run: (publish) => atRate(publish, first, rate * seconds, rate),
    }),
  };
}

/** Many connections, so that no message waits for the answer to another. */
const CONNECTIONS = 64;
const TICK_MS = 4;

async function atRate(publish: Publish, first: number, count: number, perSecond: number): Promise<void> {
  const startMs = performance.now();
  const idle = Array.from({ length: CONNECTIONS }, (_, i) => i);
  const waiting: (() => void)[] = [];
  const done: Promise<void>[] = [];
  const send = async (n: number): Promise<void> => {
    while (idle.length === 0) await new Promise<void>((resolve) => waiting.push(resolve));
    const connection = idle.pop() ?? 0;
    try {
      await publish(connection, n);
    } finally {
      idle.push(connection);
      waiting.shift()?.();
    }
  };
  for (let sent = 0; sent < count;) {
    const due = Math.min(count, Math.ceil(((performance.now() - startMs) * perSecond) / 1000));
    for (; sent < due; sent++) done.push(send(first + sent));
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  await Promise.all(done);
}

async function isWithin(deadlineMs: number, wanted: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => (timer = setTimeout(resolve, deadlineMs, false)));
  const inTime = await Promise.race([wanted.then(() => true), late]);
  clearTimeout(timer);
  return inTime;
}

// Bench, fan-out: the loads: how topics, sockets and messages are laid out, and when the publishers publish.
// Guarantees: the same load for every contender; numbers of messages never repeat within a run.
import type { FanOutOptions, WorkloadName } from "./fan-out-options.js";
import type { RoundPlan } from "../rounds/measure-round.js";
import { atRate } from "../rounds/publish-plans.js";

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
export function oneRoom(
  { sockets, messages, publishers }: Pick<FanOutOptions, "sockets" | "messages" | "publishers">,
  waitsForAll: boolean,
): Workload {
  return {
    title: `one topic of ${sockets}, ${messages} messages by ${publishers} at a time, the next one ${
      waitsForAll ? "when everyone has it" : "when it is answered"
    }`,
    socketTopics: Array.from({ length: sockets }, () => ROOM),
    plan: (first) => ({
      first,
      topics: Array.from({ length: messages }, () => ROOM),
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

function manyTopics({ topics, members, rate, seconds }: FanOutOptions): Workload {
  const names = Array.from({ length: topics }, (_, i) => `bench.topic.${i}`);
  return {
    title: `${topics} topics of ${members}, ${rate} messages a second over them for ${seconds} s`,
    // The members of a topic are on both nodes.
    socketTopics: Array.from({ length: members }, () => names).flat(),
    plan: (first) => ({
      first,
      topics: Array.from({ length: rate * seconds }, (_, i) => names[i % topics] ?? ""),
      run: (publish) => atRate(publish, first, rate * seconds, rate),
    }),
  };
}

async function isWithin(deadlineMs: number, wanted: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => (timer = setTimeout(resolve, deadlineMs, false)));
  const inTime = await Promise.race([wanted.then(() => true), late]);
  clearTimeout(timer);
  return inTime;
}

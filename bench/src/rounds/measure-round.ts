// Bench: one round of one contender: CPU time of its processes from the first message to the last delivery.
// Guarantees: what was not delivered by the deadline is told, not waited for.
import type { SenderLibrary, Side } from "../contenders/contender.js";
import { openKeepAlivePost, type KeepAlivePost } from "../keep-alive-post.js";
import { readCpu } from "../process-cpu.js";
import { judgeDeliveries } from "../subscribers/judge-deliveries.js";
import { markedMessage } from "../subscribers/marked-message.js";
import { monotonicUs } from "../subscribers/monotonic-clock.js";
import type { Subscribers } from "../subscribers/start-subscribers.js";
import type { MeasuredRound } from "./measured-round.js";

const LATE_MS = 15_000;
/** Acks, trims and the like that follow a delivery. */
const SETTLE_MS = 100;

export interface Target {
  readonly side: Pick<Side, "publication" | "batch">;
  /** Sends instead of requests to the side. */
  readonly library?: SenderLibrary | undefined;
  readonly pids: ReadonlyMap<string, number>;
  readonly subscribers: Subscribers;
}

/** As one of the publishers, publishes message `n`, or that and those that follow, so many together, in one request. */
export type Publish = (publisher: number, n: number, count?: number) => Promise<void>;

export interface RoundPlan {
  readonly first: number;
  /** The topic, or the user, of each message of the round, in order. */
  readonly topics: readonly string[];
  /** Resolves when all have been published. */
  readonly run: (publish: Publish, subscribers: Subscribers) => Promise<void>;
  /** What follows a delivery and belongs to it takes so long. */
  readonly settleMs?: number;
}

export async function measureRound(target: Target, plan: RoundPlan): Promise<MeasuredRound> {
  const { pids, subscribers } = target;
  const published = new Map<string, number[]>();
  for (const [i, topic] of plan.topics.entries()) {
    const numbers = published.get(topic);
    if (numbers === undefined) published.set(topic, [plan.first + i]);
    else numbers.push(plan.first + i);
  }
  await subscribers.begin({
    first: plan.first,
    messages: plan.topics.length,
    deliveriesOf: ({ topics }) => published.get(topics[0] ?? "")?.length ?? 0,
  });
  const publisher = openPublisher(target, plan);
  const before = readCpu(pids);
  const startMs = performance.now();
  await plan.run(publisher.publish, subscribers);
  await subscribers.whenAll(LATE_MS);
  const seconds = (performance.now() - startMs) / 1000;
  await new Promise((resolve) => setTimeout(resolve, plan.settleMs ?? SETTLE_MS));
  const after = readCpu(pids);
  publisher.close();
  const verdict = judgeDeliveries(await subscribers.report(), published);
  const cpuUs = new Map(
    [...after].map(([name, ns]) => [name, (ns - (before.get(name) ?? 0)) / 1000 / verdict.expected]),
  );
  return { cpuUs, totalUs: [...cpuUs.values()].reduce((sum, us) => sum + us, 0), seconds, verdict };
}

function openPublisher(
  { side, library }: Target,
  { first, topics }: RoundPlan,
): { publish: Publish; close: () => void } {
  const posts = new Map<number, KeepAlivePost>();
  const message = (n: number): { topic: string; data: string } => ({
    topic: topics[n - first] ?? "",
    data: markedMessage(n, monotonicUs()),
  });
  return {
    publish: async (publisher, n, count = 1) => {
      const { topic, data } = message(n);
      if (library !== undefined) {
        await library.send(topic, data);
        return;
      }
      const request =
        count === 1
          ? side.publication(publisher, topic, data)
          : side.batch?.(
              publisher,
              Array.from({ length: count }, (_, i) => message(n + i)),
            );
      if (request === undefined) throw new Error("it takes no batches");
      let connection = posts.get(publisher);
      if (connection === undefined) {
        connection = openKeepAlivePost(request.port);
        posts.set(publisher, connection);
      }
      await connection.post(request);
    },
    close: () => {
      for (const connection of posts.values()) connection.close();
    },
  };
}

// Bench, fan-out: one round of one contender: CPU time of its processes from the first message to the last delivery.
// Guarantees: what was not delivered by the deadline is told, not waited for.
import type { Contender } from "../contenders/contender.js";
import { readCpu } from "../process-cpu.js";
import { judgeDeliveries } from "../subscribers/judge-deliveries.js";
import { markedMessage } from "../subscribers/marked-message.js";
import { monotonicUs } from "../subscribers/monotonic-clock.js";
import type { Subscribers } from "../subscribers/start-subscribers.js";
import { openKeepAlivePost, type KeepAlivePost } from "../keep-alive-post.js";
import type { FanOutRound } from "./fan-out-result.js";

const LATE_MS = 15_000;
/** Acks, trims and the like that follow a delivery. */
const SETTLE_MS = 100;

export interface Target {
  readonly contender: Contender;
  readonly subscribers: Subscribers;
}

/** Publishes message `n` as one of the publishers. */
export type Publish = (publisher: number, n: number) => Promise<void>;

export interface RoundPlan {
  readonly first: number;
  /** The topic of each message of the round, in order. */
  readonly topics: readonly string[];
  readonly publishers: number;
  /** Resolves when all have been published. */
  readonly run: (publish: Publish, subscribers: Subscribers) => Promise<void>;
}

export async function measureRound(
  { contender, subscribers }: Target,
  plan: RoundPlan,
): Promise<FanOutRound> {
  const published = new Map<string, number[]>();
  for (const [i, topic] of plan.topics.entries())
    published.set(topic, [...(published.get(topic) ?? []), plan.first + i]);
  await subscribers.begin({
    first: plan.first,
    messages: plan.topics.length,
    deliveriesOf: ({ topics }) => published.get(topics[0] ?? "")?.length ?? 0,
  });
  const posts = new Map<number, KeepAlivePost>();
  const publish: Publish = async (publisher, n) => {
    const data = markedMessage(n, monotonicUs());
    const request = contender.publication(publisher, plan.topics[n - plan.first] ?? "", data);
    let connection = posts.get(publisher);
    if (connection === undefined) {
      connection = openKeepAlivePost(request.port);
      posts.set(publisher, connection);
    }
    await connection.post(request);
  };
  const before = readCpu(contender.pids);
  const startMs = performance.now();
  await plan.run(publish, subscribers);
  await subscribers.whenAll(LATE_MS);
  const seconds = (performance.now() - startMs) / 1000;
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const after = readCpu(contender.pids);
  for (const connection of posts.values()) connection.close();
  const verdict = judgeDeliveries(await subscribers.report(), published);
  const cpuUs = new Map(
    [...after].map(([name, ns]) => [name, (ns - (before.get(name) ?? 0)) / 1000 / verdict.expected]),
  );
  return { cpuUs, totalUs: [...cpuUs.values()].reduce((sum, us) => sum + us, 0), seconds, verdict };
}

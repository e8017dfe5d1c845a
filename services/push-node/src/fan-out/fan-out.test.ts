// Tests when fan-out begins a pass: at once for a quiet topic; a busy one rests in between, so messages share a pass.
import { partitionKeys } from "@petrel/shared/redis/keys";
import { DEFAULT_TOPIC_RULE } from "@petrel/shared/protocol/topics/topic-rules";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Connection } from "../connection/connection.js";
import { TopicSubscription } from "../connection/subscription.js";
import { FanOut } from "./fan-out.js";
import { NodeTopic } from "./node-topic.js";
import { RingBudget } from "./ring-budget.js";
import { TopicCatchUp } from "./topic-catch-up.js";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "performance"] }));
afterEach(() => void vi.useRealTimers());

/** A topic of some members; to write to one takes `writeMs`. */
function openTopic(members: number, writeMs: number) {
  const topic = new NodeTopic("t", partitionKeys(0), {
    rule: DEFAULT_TOPIC_RULE,
    budget: new RingBudget(1_000_000),
  });
  const page = { epoch: "e", offset: 0, oldest: 1, previous: undefined, length: 0, messages: [] };
  topic.restart({ ...page, isComplete: true, nowMs: 0 });
  topic.pass = undefined;
  topic.phase = "following";
  topic.isHeard = true;
  let writes = 0;
  const write = (): void => {
    writes++;
    vi.advanceTimersByTime(writeMs);
  };
  const connection = { isOpen: true, waitingBytes: 0, mustDrain: false, write } as unknown as Connection;
  for (let i = 0; i < members; i++) {
    const member = new TopicSubscription(connection, "t");
    member.era = topic.era;
    member.isBehind = false;
    topic.add(member);
  }
  const passes: number[] = [];
  const fanOut = new FanOut({
    catchUp: new TopicCatchUp({
      redisNowMs: () => undefined,
      outboundBoundBytes: 1_000,
      topicOf: () => topic,
      readLog: () => Promise.resolve(),
      onSent: () => undefined,
    }),
    outboundBoundBytes: 1_000,
    observer: { passed: (_topic, { from, to }) => void passes.push(to - from) },
  });
  const publish = (): void => {
    const offset = topic.offset + 1;
    topic.append({ offset, epoch: "e", atMs: 0, expiresAtMs: 1, id: `m${offset}`, from: "", data: "1" });
    fanOut.due(topic);
  };
  return { publish, passes, writes: () => writes };
}

/** Many turns of the event loop. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

test("a message for a quiet topic is sent at once", async () => {
  const { publish, passes } = openTopic(4, 3);
  publish();
  await turns();
  expect(passes).toEqual([1]);
  vi.advanceTimersByTime(10);
  publish();
  await turns();
  expect(passes).toEqual([1, 1]);
});

test("after a long pass a topic rests: what comes meanwhile shares the next pass", async () => {
  const { publish, passes, writes } = openTopic(4, 2);
  publish();
  await turns();
  publish();
  await turns();
  publish();
  await turns();
  expect(passes).toEqual([1]);
  vi.advanceTimersByTime(7);
  await turns();
  expect(passes).toEqual([1]);
  vi.advanceTimersByTime(1);
  await turns();
  expect(passes).toEqual([1, 2]);
  expect(writes()).toBe(8);
});

test("a rest is never longer than 10 ms", async () => {
  const { publish, passes } = openTopic(4, 200);
  publish();
  await turns();
  publish();
  vi.advanceTimersByTime(10);
  await turns();
  expect(passes).toEqual([1, 1]);
});

test("a topic of few members does not rest", async () => {
  const { publish, passes } = openTopic(4, 0);
  publish();
  await turns();
  publish();
  await turns();
  expect(passes).toEqual([1, 1]);
});

// The span of a sampled topic message on a node: its parent is the publish, and it says how many were served.
import type { Span, Tracing } from "@petrel/shared/kernel/tracing/tracing";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { DEFAULT_TOPIC_RULE } from "@petrel/shared/protocol/topics/topic-rules";
import { partitionKeys } from "@petrel/shared/redis/keys";
import { expect, test } from "vitest";
import { NodeTopic, type FanOutPass } from "../fan-out/node-topic.js";
import { RingBudget } from "../fan-out/ring-budget.js";
import { traceFanOut } from "./trace-fan-out.js";

const topic = new NodeTopic("room", partitionKeys(1), {
  rule: DEFAULT_TOPIC_RULE,
  budget: new RingBudget(0),
});
const passed: number[] = [];
const next = { passed: (_topic: NodeTopic, _pass: FanOutPass, ms: number) => void passed.push(ms) };

function passOf(traces: readonly string[]): FanOutPass {
  return { from: 0, to: 1, bytes: Buffer.from("x"), cursor: -1, begunMs: 0, sinceMs: 0, sent: 7, traces };
}

test("each sampled message of a pass has its span, below its publisher's", () => {
  const begun: [string, string | undefined, object][] = [];
  let ended = 0;
  const span = { end: () => void ended++ } as unknown as Span;
  const tracing: Tracing = {
    beginTrace: () => undefined,
    beginSpan: (name, context, { attributes }) => {
      begun.push([name, context, attributes]);
      return span;
    },
  };
  const observer = traceFanOut(tracing, "node.1", next);
  observer.passed(topic, passOf([]), 1);
  expect(begun).toEqual([]);
  observer.passed(topic, passOf(["00-aa-bb-01", "00-cc-dd-01"]), 2);
  expect(begun.map(([name, context]) => [name, context])).toEqual([
    ["fan out", "00-aa-bb-01"],
    ["fan out", "00-cc-dd-01"],
  ]);
  expect(begun[0]?.[2]).toMatchObject({
    "messaging.destination.partition.id": "1",
    "petrel.node": "node.1",
    "petrel.subscribers": 7,
  });
  expect([ended, passed]).toEqual([2, [1, 2]]);
});

test("without tracing nothing is wrapped", () => {
  expect(traceFanOut(NO_TRACING, "node.1", next)).toBe(next);
});

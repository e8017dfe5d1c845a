// Tests which rule holds for a topic.
import { expect, test } from "vitest";
import { DEFAULT_TOPIC_RULE, TopicRules } from "./topic-rules.js";

test("the first matching rule applies, else the defaults", () => {
  const rule = (topics: string, historySize: number) => ({ ...DEFAULT_TOPIC_RULE, topics, historySize });
  const rules = new TopicRules([rule("room.1", 1), rule("room.*", 2), rule("room.2", 3)]);
  const sizeOf = (topic: string): number => rules.ruleOf(topic).historySize;
  expect(["room.1", "room.2", "news"].map(sizeOf)).toEqual([1, 2, 100]);
});

test("clients may not publish broadcasts, whatever the rules say", () => {
  const rules = new TopicRules([{ ...DEFAULT_TOPIC_RULE, clientPublish: true, presence: "list" }]);
  expect(rules.ruleOf("$all")).toMatchObject({ clientPublish: false, presence: "off" });
});

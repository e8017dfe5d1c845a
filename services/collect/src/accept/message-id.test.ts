// Tests the names of messages.
import { partitionOfMessageId } from "@petrel/shared/protocol/messages/ids";
import { recipientOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { keyedMessageId, RandomMessageIds } from "./message-id.js";

// Few characters, including those of the length prefixes, so that parts can run into one another.
const anyText = fc.string({ unit: fc.constantFrom("a", "1", ":", '"', "\ud800"), maxLength: 4 });

test("an id names its partition and has the form that look-ups accept", () => {
  const ids = new RandomMessageIds();
  for (const partition of [0, 7, 4095]) {
    expect(partitionOfMessageId(ids.next(partition))).toBe(partition);
    expect(partitionOfMessageId(keyedMessageId(partition, "shop", "key", "alice"))).toBe(partition);
  }
});

test("the id for a key never changes: it is the first half of a SHA-256", () => {
  expect(keyedMessageId(3, "shop", "order-1", "alice")).toBe("p3_Sc6I9engLsLMQ0N1fflSMw");
});

test("a user and a topic with the same name are two recipients", () => {
  const ids = ["alice", recipientOfTopic("alice"), recipientOfTopic("$all"), "all"].map((recipient) =>
    keyedMessageId(0, "shop", "key", recipient),
  );
  expect(new Set(ids).size).toBe(4);
});

test("another owner, key or user gives another id; the same three give the same one", () => {
  const triple = fc.tuple(anyText, anyText, anyText);
  fc.assert(
    fc.property(triple, triple, (a, b) => {
      expect(keyedMessageId(0, ...a)).toBe(keyedMessageId(0, ...a));
      const same = a.every((text, i) => text === b[i]);
      expect(keyedMessageId(0, ...a) === keyedMessageId(0, ...b)).toBe(same);
    }),
    { numRuns: sized(2_000, 700) },
  );
});

test("depends on where one part ends and the next begins", () => {
  expect(keyedMessageId(0, "ab", "c", "d")).not.toBe(keyedMessageId(0, "a", "bc", "d"));
  expect(keyedMessageId(0, "a", "bc", "d")).not.toBe(keyedMessageId(0, "a", "b", "cd"));
});

test("treats keys with different lone surrogates as different", () => {
  expect(keyedMessageId(0, "shop", "\ud800", "alice")).not.toBe(keyedMessageId(0, "shop", "\ud801", "alice"));
});

test("random ids do not repeat when the pool is used up", () => {
  const ids = new RandomMessageIds();
  const made = new Set(Array.from({ length: 2_000 }, () => ids.next(0)));
  expect(made.size).toBe(2_000);
});

// Tests events, positions and cursors as texts.
// Guarantees: what is encoded is read back; nothing else is read.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeEventCursor, encodeEventCursor } from "./event-cursor.js";
import { describeEvent } from "./event-item.js";
import { decodeEventPosition, encodeEventId, encodeEventPosition } from "./event-position.js";
import { eventOfLetter, eventTypes, isEventType, letterOfEvent } from "./event-types.js";
import { decodeStoredEvent, encodeStoredEvent, type StoredEvent } from "./stored-event.js";

const whole = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const position = fc.record({ mark: whole, ms: whole, n: whole });
const word = fc.string({ maxLength: 20 }).map((text) => text.replace(/[\t\n]/g, ""));
const stored: fc.Arbitrary<StoredEvent> = fc.record({
  who: word,
  seq: fc.constantFrom("", "0", "12"),
  epoch: word,
  type: fc.constantFrom(...eventTypes),
  atMs: whole,
  words: fc.tuple(word, word, word, word),
  trace: fc.option(word, { nil: undefined }),
});

const base: StoredEvent = {
  who: "alice",
  seq: "7",
  epoch: "e.1",
  type: "message.pushed",
  atMs: 1_000,
  words: ["m1", "500", "apns", ""],
  trace: undefined,
};

test("each type has its own letter", () => {
  expect(new Set(eventTypes.map(letterOfEvent)).size).toBe(eventTypes.length);
  for (const type of eventTypes) expect(eventOfLetter(letterOfEvent(type))).toBe(type);
  expect(isEventType("message.read")).toBe(false);
  expect(isEventType("toString")).toBe(false);
});

test("reads a stored event back", () => {
  fc.assert(
    fc.property(stored, (event) => {
      expect(decodeStoredEvent(encodeStoredEvent(event))).toEqual(event);
    }),
  );
});

test("ignores a later release's event", () => {
  expect(decodeStoredEvent(encodeStoredEvent(base).replace("\tp\t", "\tz\t"))).toBeUndefined();
});

test("reads a position and a cursor back, and nothing else", () => {
  fc.assert(
    fc.property(position, (one) => {
      expect(decodeEventPosition(encodeEventPosition(one))).toEqual(one);
    }),
  );
  fc.assert(
    fc.property(fc.array(position, { minLength: 1, maxLength: 9 }), (all) => {
      const cursor = encodeEventCursor(all);
      expect(cursor).toMatch(/^[A-Za-z0-9_-]+$/);
      expect(decodeEventCursor(cursor, all.length)).toEqual(all);
      expect(decodeEventCursor(cursor, all.length + 1)).toBeUndefined();
      expect(decodeEventCursor(`${cursor}A`, all.length)).toBeUndefined();
      expect(decodeEventCursor(cursor.slice(0, -1), all.length)).toBeUndefined();
    }),
  );
  fc.assert(
    fc.property(fc.string(), (text) => {
      const found = decodeEventCursor(text, 1);
      if (found !== undefined) expect(encodeEventCursor(found)).toBe(text);
      const one = decodeEventPosition(text);
      if (one !== undefined) expect(encodeEventPosition(one)).toBe(text);
    }),
  );
});

describe("as senders see it", () => {
  test("a pushed message names its channel", () => {
    const trace = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    expect(describeEvent("id", { ...base, trace })).toEqual({
      id: "id",
      type: "message.pushed",
      at: "1970-01-01T00:00:01.000Z",
      user: "alice",
      message: "m1",
      data: { seq: 7, epoch: "e.1", acceptedAt: "1970-01-01T00:00:00.500Z", channel: "apns" },
      traceId: "a".repeat(32),
    });
  });

  test("a failed message, and one that was collapsed, say why", () => {
    const failed = describeEvent("id", {
      ...base,
      type: "message.failed",
      words: ["m1", "500", "rejected", "Bad."],
    });
    expect(failed.data.reason).toEqual({ code: "rejected", message: "Bad." });
    const collapsed = describeEvent("id", {
      ...base,
      type: "message.expired",
      words: ["m1", "500", "PETREL_COLLAPSED", ""],
    });
    expect(collapsed.data.reason).toMatchObject({ code: "PETREL_COLLAPSED" });
    const expired = describeEvent("id", { ...base, type: "message.expired", words: ["m1", "500", "", ""] });
    expect(expired.data.reason).toBeUndefined();
  });

  test("a message that never had a number, a topic's, has none", () => {
    const cancelled: StoredEvent = { ...base, who: "#news", seq: "0", epoch: "@", type: "message.cancelled" };
    expect(describeEvent("id", cancelled)).toEqual({
      id: "id",
      type: "message.cancelled",
      at: "1970-01-01T00:00:01.000Z",
      topic: "news",
      message: "m1",
      data: { acceptedAt: "1970-01-01T00:00:00.500Z" },
    });
  });

  test("users, topics and devices", () => {
    const words = ["17", "", "", ""] as const;
    expect(describeEvent("id", { ...base, type: "user.online", words })).toMatchObject({
      user: "alice",
      data: { version: 17 },
    });
    expect(describeEvent("id", { ...base, who: "#room", type: "topic.vacated", words })).toMatchObject({
      topic: "room",
      data: { version: 17 },
    });
    const device = describeEvent("id", {
      ...base,
      type: "device.invalidated",
      words: ["d1", "ios", "unregistered", "forgotten"],
    });
    expect(device.data).toEqual({
      device: "d1",
      platform: "ios",
      reason: "unregistered",
      outcome: "forgotten",
    });
    expect(device.message).toBeUndefined();
  });
});

test("a cursor takes up to 30 characters a partition, so that one of a thousand fits into a request's head", () => {
  const lateMs = Date.UTC(2050, 0);
  const lengthOf = (partitions: number): number =>
    encodeEventCursor(Array.from({ length: partitions }, () => ({ mark: lateMs, ms: lateMs, n: 46_655 })))
      .length;
  for (const partitions of [4, 64, 1_000])
    expect(lengthOf(partitions)).toBeLessThanOrEqual(30 * partitions + 10);
  expect(lengthOf(1_000)).toBeLessThan(31 * 1_024);
});

test("an event's id names its partition and its place", () => {
  expect(encodeEventId(3, { mark: 35, ms: 36, n: 0 })).toBe("3.z.10.0");
});

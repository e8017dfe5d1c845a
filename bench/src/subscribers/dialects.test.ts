// Tests what clients of each server answer, and when they count as subscribed.
import { expect, test } from "vitest";
import { dialects } from "./dialects.js";

const topics = ["bench.a", "bench.b"];

test("Petrel: one frame subscribes to all topics after welcome; others' subscriptions do not count", () => {
  const { hear } = dialects.petrel;
  const { answers = [] } = hear('{"type":"welcome","connection":"c"}', topics);
  expect(answers.map((one) => JSON.parse(one) as unknown)).toEqual([
    { type: "subscribe", topics: [{ topic: "bench.a" }, { topic: "bench.b" }] },
  ]);
  expect(hear('{"type":"subscribed","topic":"$all"}', topics).subscribed).toBe(0);
  expect(hear('{"type":"subscribed","topic":"bench.b"}', topics).subscribed).toBe(1);
  expect(hear('{"type":"error","code":"PETREL_FORBIDDEN","message":"no"}', topics).refused).toBe("no");
});

test("Petrel: the broadcast arrives without a subscription", () => {
  const { hear } = dialects.petrel;
  expect(hear('{"type":"welcome"}', ["$all"]).answers).toBeUndefined();
  expect(hear('{"type":"subscribed","topic":"$all"}', ["$all"]).subscribed).toBe(1);
});

test("Socket.IO: open, connect, joined, ping", () => {
  const { hear } = dialects["socket.io"];
  expect(hear('0{"sid":"x"}', topics).answers).toEqual(['40{"topics":["bench.a","bench.b"]}']);
  expect(hear('40{"sid":"y"}', topics)).toEqual({});
  expect(hear('42["joined"]', topics).subscribed).toBe(2);
  expect(hear("2", topics).answers).toEqual(["3"]);
  expect(hear('44{"message":"no"}', topics).refused).toContain("no");
});

test("Centrifugo: connect, subscribe, its ping", () => {
  const { hear, opening } = dialects.centrifugo;
  expect(opening).toEqual(['{"id":1,"connect":{}}']);
  expect(hear('{"id":1,"connect":{"client":"x"}}', topics).answers).toEqual([
    '{"id":2,"subscribe":{"channel":"bench.a"}}',
    '{"id":3,"subscribe":{"channel":"bench.b"}}',
  ]);
  expect(hear('{"id":2,"subscribe":{}}', topics).subscribed).toBe(1);
  expect(hear("{}", topics).answers).toEqual(["{}"]);
  expect(hear('{"id":2,"error":{"code":103}}', topics).refused).toContain("103");
});

test("plain: one word", () => {
  expect(dialects.plain.hear("subscribed", topics).subscribed).toBe(2);
  expect(dialects.nchan.isSubscribedByUpgrade).toBe(true);
});

test("a Petrel user is ready at the welcome and acknowledges a message by its number", () => {
  const { hear, ack } = dialects["petrel-user"];
  expect(hear('{"type":"welcome","connection":"c"}', ["u1"]).subscribed).toBe(1);
  expect(hear('{"type":"subscribed","topic":"$all"}', ["u1"])).toEqual({});
  expect(hear('{"type":"error","code":"PETREL_FORBIDDEN","message":"no"}', ["u1"]).refused).toBe("no");
  expect(JSON.parse(ack?.(7) ?? "")).toEqual({ type: "ack", seq: 7 });
});

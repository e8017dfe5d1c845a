// Tests what a browser gets to show.
import { expect, test } from "vitest";
import { job } from "../../testing/channel-conformance.js";
import { buildPush, topicOf } from "./build-push.js";
import { MAX_PLAINTEXT } from "./encrypt-payload.js";

function built(notification: object, more: object = {}): unknown {
  const push = buildPush({ ...job, notification: JSON.stringify(notification), ...more });
  return push.ok ? JSON.parse(push.text.toString()) : push.reason;
}
const petrel = { id: job.id, seq: job.seq, epoch: job.epoch };

test("has title and body for a service worker, which learns the message's id", () => {
  expect(built({ title: "t", body: "b", sound: "ping", apns: { x: 1 } })).toEqual({
    notification: { title: "t", body: "b" },
    petrel,
  });
});

test("is declarative with an address to open; browser-only fields are added", () => {
  const web = {
    navigate: "https://shop.example/1",
    icon: "/i.png",
    lang: "de",
    requireInteraction: true,
    data: { a: 1 },
  };
  expect(built({ title: "t", body: "b", badge: 3, web })).toEqual({
    web_push: 8030,
    mutable: true,
    notification: { title: "t", body: "b", ...web },
    app_badge: 3,
    petrel,
  });
});

test("uses the collapse key as the tag, unless the message has its own", () => {
  const collapseKey = "score";
  expect(built({ title: "t", body: "b" }, { collapseKey })).toMatchObject({ notification: { tag: "score" } });
  expect(built({ title: "t", body: "b", web: { tag: "x" } }, { collapseKey })).toMatchObject({
    notification: { tag: "x" },
  });
});

test("refuses a push larger than every service must accept, with its size", () => {
  const title = (length: number): unknown => built({ title: "x".repeat(length), body: "" });
  const room = MAX_PLAINTEXT - JSON.stringify({ notification: { title: "", body: "" }, petrel }).length;
  expect(title(room)).toMatchObject({ petrel });
  expect(title(room + 1)).toBe(
    `too large: ${MAX_PLAINTEXT + 1} bytes as a push message, of ${MAX_PLAINTEXT}`,
  );
});

test("a topic is 32 url-safe characters, the same for the same key", () => {
  expect(topicOf("score of 7")).toMatch(/^[A-Za-z0-9_-]{32}$/);
  expect(topicOf("score of 7")).toBe(topicOf("score of 7"));
  expect(topicOf("score of 8")).not.toBe(topicOf("score of 7"));
});

// Tests that a notification's text and what its fallback reads survive joining and splitting.
import { expect, test } from "vitest";
import { joinNotification, splitNotification } from "./notification-text.js";

test.each([
  [{ title: "t", body: "b" }, "score"],
  [{ title: "t", body: "b", badge: 3 }, 'a "quoted" \\ key'],
  [{ title: "t", body: 'x,"collapseKey":"not this"}' }, "k"],
  [{ title: "t", body: 'x,"channels":["web"]}' }, ',"channels":["web"]}'],
  [{ title: "t", body: "b", apns: { custom: { a: 1, collapseKey: "nested" } } }, "k"],
])("%j with %j", (value, collapseKey) => {
  const notification = JSON.stringify(value);
  const text = joinNotification(notification, { collapseKey });
  expect(JSON.parse(text)).toEqual({ ...value, collapseKey });
  expect(splitNotification(text)).toEqual({ notification, collapseKey, channels: undefined });
  const channels = ["web", "apns"];
  const all = joinNotification(notification, { collapseKey, channels });
  expect(JSON.parse(all)).toEqual({ ...value, collapseKey, channels });
  expect(splitNotification(all)).toEqual({ notification, collapseKey, channels });
  const narrowed = joinNotification(notification, { channels: ["webhook"] });
  expect(splitNotification(narrowed)).toEqual({
    notification,
    collapseKey: undefined,
    channels: ["webhook"],
  });
});

test.each([
  { title: "t", body: "b" },
  { title: "t", body: 'x,"collapseKey":"not this"}' },
  { title: "t", body: "b", apns: { a: 1, collapseKey: "nested" } },
  { title: "t", body: "b", apns: { a: 1, channels: ["nested"] } },
  { title: "t", body: "b", apns: { list: [{ a: 1, collapseKey: "nested" }] } },
])("%j has none", (value) => {
  const notification = JSON.stringify(value);
  expect(joinNotification(notification, {})).toBe(notification);
  expect(splitNotification(notification)).toEqual({
    notification,
    collapseKey: undefined,
    channels: undefined,
  });
});

test("without a notification there is nothing to collapse; numbers keep their spelling", () => {
  expect(joinNotification("", { collapseKey: "k", channels: ["web"] })).toBe("");
  expect(splitNotification("")).toEqual({ notification: "", collapseKey: undefined, channels: undefined });
  const notification = '{"badge":12345678901234567890}';
  expect(splitNotification(joinNotification(notification, { collapseKey: "k" })).notification).toBe(
    notification,
  );
});

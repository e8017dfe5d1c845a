// Tests that a notification's text and its collapse key survive joining and splitting.
import { expect, test } from "vitest";
import { joinCollapseKey, splitCollapseKey } from "./notification-text.js";

test.each([
  [{ title: "t", body: "b" }, "score"],
  [{ title: "t", body: "b", badge: 3 }, 'a "quoted" \\ key'],
  [{ title: "t", body: 'x,"collapseKey":"not this"}' }, "k"],
  [{ title: "t", body: "b", apns: { custom: { a: 1, collapseKey: "nested" } } }, "k"],
])("%j with %j", (value, collapseKey) => {
  const notification = JSON.stringify(value);
  const text = joinCollapseKey(notification, collapseKey);
  expect(JSON.parse(text)).toEqual({ ...value, collapseKey });
  expect(splitCollapseKey(text)).toEqual({ notification, collapseKey });
});

test.each([
  { title: "t", body: "b" },
  { title: "t", body: 'x,"collapseKey":"not this"}' },
  { title: "t", body: "b", apns: { a: 1, collapseKey: "nested" } },
  { title: "t", body: "b", apns: { list: [{ a: 1, collapseKey: "nested" }] } },
])("%j has none", (value) => {
  const notification = JSON.stringify(value);
  expect(joinCollapseKey(notification, undefined)).toBe(notification);
  expect(splitCollapseKey(notification)).toEqual({ notification, collapseKey: undefined });
});

test("without a notification there is nothing to collapse; numbers stay as they were written", () => {
  expect(joinCollapseKey("", "k")).toBe("");
  expect(splitCollapseKey("")).toEqual({ notification: "", collapseKey: undefined });
  const notification = '{"badge":12345678901234567890}';
  expect(splitCollapseKey(joinCollapseKey(notification, "k")).notification).toBe(notification);
});

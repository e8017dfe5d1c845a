// Tests what each of WeChat's codes means.
import { expect, test } from "vitest";
import { judgeWechatAnswer, requestIdOf, untilQuotaMs } from "./judge-wechat-answer.js";

const judge = (errcode: number, errmsg = "words rid: 65d46579-2cdf0712-588f4db2", isRepetition = false) =>
  judgeWechatAnswer({ errcode, errmsg }, isRepetition);

test.each([
  [0, { kind: "taken" }],
  [-1, { kind: "retry", reason: "-1: WeChat is busy (words)" }],
  [40001, { kind: "renew-token" }],
  [40014, { kind: "renew-token" }],
  [42001, { kind: "renew-token" }],
  [45011, { kind: "rest", until: "next-minute" }],
  [45009, { kind: "rest", until: "next-day" }],
  [43101, { kind: "refused" }],
  [40003, { kind: "unbind", why: "openid-invalid" }],
  [43004, { kind: "unbind", why: "not-following" }],
  [43116, { kind: "misconfigured", reason: "43116: the template is banned (words)" }],
  [45109, { kind: "misconfigured" }],
  [40037, { kind: "misconfigured" }],
  [48001, { kind: "misconfigured" }],
  [40164, { kind: "misconfigured" }],
  [40125, { kind: "misconfigured" }],
  [43117, { kind: "failed", reason: "43117: too many messages to this user (words)" }],
  [41030, { kind: "failed" }],
  [99999, { kind: "failed", reason: "99999: refused (words)" }],
])("%i means %o", (errcode, meaning) => expect(judge(errcode)).toMatchObject(meaning));

test("47003 names the field", () => {
  expect(judge(47003, "argument invalid! data.thing1.value invalid rid: 1-2-3")).toEqual({
    kind: "failed",
    reason: "47003: WeChat does not take data.thing1 (argument invalid! data.thing1.value invalid)",
  });
  expect(judge(47003, "argument invalid!")).toMatchObject({
    reason: expect.stringContaining("a field of the template"),
  });
});

test("a duplicate means the earlier attempt arrived, if there was one", () => {
  expect(judge(40241, "The message is duplicate in 60 seconds", true)).toEqual({ kind: "taken" });
  expect(judge(40241, "The message is duplicate in 60 seconds", false)).toMatchObject({ kind: "failed" });
});

test("keeps the request's number separate", () => {
  expect(requestIdOf("user refuse to accept the msg rid: 64229bc2-48d0e8b1-2008ed9b")).toBe(
    "64229bc2-48d0e8b1-2008ed9b",
  );
  expect(requestIdOf("ok")).toBeUndefined();
});

test("a minute's limit ends with the minute, a day's at midnight in Beijing", () => {
  const at = (time: string): number => Date.parse(time);
  expect(untilQuotaMs("next-minute", at("2026-01-01T10:00:59.500Z"))).toBe(500);
  expect(untilQuotaMs("next-day", at("2026-01-01T15:59:00.000Z"))).toBe(60_000);
  expect(untilQuotaMs("next-day", at("2026-01-01T16:00:00.000Z"))).toBe(24 * 60 * 60_000);
});

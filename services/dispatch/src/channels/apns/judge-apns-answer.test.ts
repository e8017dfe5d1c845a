// Tests the meaning of each of Apple's answers, and checks the docs page against the table.
import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { apnsReasons, judgeApnsAnswer, meaningOfStatus } from "./judge-apns-answer.js";

const nothing = { apnsId: "x", reason: undefined, timestampMs: undefined, retryAfterMs: undefined };

describe("an answer", () => {
  test.each([
    [200, undefined, { kind: "taken" }],
    [410, "Unregistered", { kind: "forget", reason: "unregistered", timestampMs: 1_700_000_000_123 }],
    [410, "ExpiredToken", { kind: "forget", reason: "expired-token", timestampMs: 1_700_000_000_123 }],
    [400, "BadDeviceToken", { kind: "quarantine", reason: "bad-device-token" }],
    [400, "DeviceTokenNotForTopic", { kind: "quarantine", reason: "device-token-not-for-topic" }],
    [403, "InvalidProviderToken", { kind: "halt", reason: "InvalidProviderToken" }],
    [403, "BadCertificate", { kind: "halt", reason: "BadCertificate" }],
    [403, "ExpiredProviderToken", { kind: "renew-token" }],
    [429, "TooManyProviderTokenUpdates", { kind: "pause-token", afterMs: 7_000 }],
    [429, "TooManyRequests", { kind: "retry", reason: "TooManyRequests", afterMs: 7_000 }],
    [500, "InternalServerError", { kind: "retry", reason: "InternalServerError", afterMs: 7_000 }],
    [503, "Shutdown", { kind: "retry", reason: "Shutdown", afterMs: 7_000 }],
    [413, "PayloadTooLarge", { kind: "failed", reason: "PayloadTooLarge" }],
    [400, "BadTopic", { kind: "failed", reason: "BadTopic" }],
  ])("%i %s", (status, reason, verdict) => {
    const answer = { ...nothing, reason, timestampMs: 1_700_000_000_123, retryAfterMs: 7_000 };
    expect(judgeApnsAnswer({ ...answer, status })).toEqual(verdict);
  });

  test("without Retry-After the delay is unspecified, except for the pause", () => {
    expect(judgeApnsAnswer({ ...nothing, status: 503 })).toEqual({ kind: "retry", reason: "HTTP 503" });
    expect(judgeApnsAnswer({ ...nothing, status: 429, reason: "TooManyProviderTokenUpdates" })).toEqual({
      kind: "pause-token",
      afterMs: 300_000,
    });
  });

  test("removes no token without Apple's explicit reason", () => {
    for (const reason of [undefined, "SomethingNew", "constructor", "BadTopic"]) {
      expect(judgeApnsAnswer({ ...nothing, status: 410, reason }).kind).toBe("quarantine");
    }
    expect(judgeApnsAnswer({ ...nothing, status: 500, reason: "Unregistered" }).kind).toBe("retry");
  });

  test("every answer has a meaning, and only 200 counts as accepted", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 999 }),
        fc.option(fc.oneof(fc.string(), fc.constantFrom(...Object.keys(apnsReasons))), { nil: undefined }),
        (status, reason) => {
          const { kind: verdict } = judgeApnsAnswer({ ...nothing, status, reason });
          expect(verdict === "taken").toBe(status === 200);
          if (verdict === "forget") expect(status).toBe(410);
        },
      ),
    );
  });
});

describe("docs/phones/apns.md", () => {
  const page = readFileSync(new URL("../../../../../docs/phones/apns.md", import.meta.url), "utf8");

  test("lists each answer with its meaning, and no other", () => {
    const rows = [...page.matchAll(/^\| (\d{3}) \| `(\w+)` \| \*\*([a-z-]+)\*\*/gm)];
    const listed = rows.map(([, status, reason, meaning]) => [reason, { status: Number(status), meaning }]);
    expect(Object.fromEntries(listed)).toEqual(apnsReasons);
    expect(listed).toHaveLength(Object.keys(apnsReasons).length);
  });

  test("says what the status alone means", () => {
    for (const [, status = "", meaning = ""] of page.matchAll(
      /^\| (\d{3}) \| anything else \| \*\*([a-z-]+)\*\*/gm,
    )) {
      expect(meaningOfStatus(Number(status)), status).toBe(meaning);
    }
  });
});

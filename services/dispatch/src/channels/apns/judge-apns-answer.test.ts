// Tests what each of Apple's answers means, and holds the page to the table.
import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { apnsReasons, judgeApnsAnswer, meaningOfStatus } from "./judge-apns-answer.js";

const nothing = { apnsId: "x", reason: undefined, timestampMs: undefined, retryAfterMs: undefined };

describe("an answer", () => {
  test.each([
    [200, undefined, { verdict: "taken" }],
    [410, "Unregistered", { verdict: "forget", reason: "unregistered", timestampMs: 1_700_000_000_123 }],
    [410, "ExpiredToken", { verdict: "forget", reason: "expired-token", timestampMs: 1_700_000_000_123 }],
    [400, "BadDeviceToken", { verdict: "quarantine", reason: "bad-device-token" }],
    [400, "DeviceTokenNotForTopic", { verdict: "quarantine", reason: "device-token-not-for-topic" }],
    [403, "InvalidProviderToken", { verdict: "halt", reason: "InvalidProviderToken" }],
    [403, "BadCertificate", { verdict: "halt", reason: "BadCertificate" }],
    [403, "ExpiredProviderToken", { verdict: "renew-token" }],
    [429, "TooManyProviderTokenUpdates", { verdict: "pause-token", afterMs: 7_000 }],
    [429, "TooManyRequests", { verdict: "retry", reason: "TooManyRequests", afterMs: 7_000 }],
    [500, "InternalServerError", { verdict: "retry", reason: "InternalServerError", afterMs: 7_000 }],
    [503, "Shutdown", { verdict: "retry", reason: "Shutdown", afterMs: 7_000 }],
    [413, "PayloadTooLarge", { verdict: "failed", reason: "PayloadTooLarge" }],
    [400, "BadTopic", { verdict: "failed", reason: "BadTopic" }],
  ])("%i %s", (status, reason, verdict) => {
    const answer = { ...nothing, reason, timestampMs: 1_700_000_000_123, retryAfterMs: 7_000 };
    expect(judgeApnsAnswer({ ...answer, status })).toEqual(verdict);
  });

  test("without Retry-After nothing is said of when, but for the pause", () => {
    expect(judgeApnsAnswer({ ...nothing, status: 503 })).toEqual({ verdict: "retry", reason: "HTTP 503" });
    expect(judgeApnsAnswer({ ...nothing, status: 429, reason: "TooManyProviderTokenUpdates" })).toEqual({
      verdict: "pause-token",
      afterMs: 300_000,
    });
  });

  test("no token is forgotten without Apple's word for it", () => {
    for (const reason of [undefined, "SomethingNew", "constructor", "BadTopic"]) {
      expect(judgeApnsAnswer({ ...nothing, status: 410, reason }).verdict).toBe("quarantine");
    }
    expect(judgeApnsAnswer({ ...nothing, status: 500, reason: "Unregistered" }).verdict).toBe("retry");
  });

  test("whatever comes has a meaning, and only 200 is taken", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 999 }),
        fc.option(fc.oneof(fc.string(), fc.constantFrom(...Object.keys(apnsReasons))), { nil: undefined }),
        (status, reason) => {
          const { verdict } = judgeApnsAnswer({ ...nothing, status, reason });
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

// Tests close reasons.
// Guarantees: every text fits a close frame, and anything that is not a text does no harm.
import { anyText } from "@petrel/shared/testing/any-text";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { closeReason } from "./close-reason.js";

const bytes = (text: string): number => Buffer.byteLength(text);

describe("close reason", () => {
  it("fits a close frame and is the longest prefix that does", () => {
    fc.assert(
      fc.property(anyText({ maxLength: 200 }), (text) => {
        const reason = closeReason(text);
        expect(text.startsWith(reason)).toBe(true);
        expect(bytes(reason)).toBeLessThanOrEqual(123);
        const [next = ""] = text.slice(reason.length);
        if (next !== "") expect(bytes(reason + next)).toBeGreaterThan(123);
      }),
    );
  });

  it("accepts any value", () => {
    expect(closeReason(new Error("no room"))).toBe("no room");
    for (const other of [undefined, null, 7, {}, Symbol("s"), Object.create(null), () => "x"]) {
      expect(closeReason(other)).toBe("closed by the application");
    }
  });
});

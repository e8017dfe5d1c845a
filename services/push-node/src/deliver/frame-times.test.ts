// A frame's time is what `Date` writes, whatever was asked before.
import { array, assert, integer, property } from "fast-check";
import { expect, test } from "vitest";
import { FrameTimes } from "./frame-times.js";

test("formats every moment like Date, in any order", () => {
  const moment = integer({ min: -8_640_000_000_000, max: 253_402_300_799_999 });
  const near = integer({ min: 1_796_000_000_000, max: 1_796_000_003_000 });
  assert(
    property(array(moment), array(near), (far, close) => {
      const times = new FrameTimes();
      for (const atMs of [...far, ...close, ...far]) {
        expect(times.textOf(atMs)).toBe(new Date(atMs).toISOString());
      }
    }),
  );
});

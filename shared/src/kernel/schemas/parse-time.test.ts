// Tests that a time is read as RFC 3339 says, and only such a time.
import { assert, integer, pre, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { parseTime } from "./parse-time.js";

describe("a time", () => {
  test.each([
    ["2030-01-02T03:04:05Z", "2030-01-02T03:04:05.000Z"],
    ["2030-01-02t03:04:05z", "2030-01-02T03:04:05.000Z"],
    ["2030-01-02T03:04:05.5Z", "2030-01-02T03:04:05.500Z"],
    ["2030-01-02T03:04:05+02:30", "2030-01-02T00:34:05.000Z"],
    ["2030-01-01T00:00:00-11:59", "2030-01-01T11:59:00.000Z"],
    ["2028-02-29T23:59:60Z", "2028-03-01T00:00:00.000Z"],
    // Never earlier than written.
    ["2030-01-02T03:04:05.0001Z", "2030-01-02T03:04:05.001Z"],
    ["2030-01-02T03:04:05.999999Z", "2030-01-02T03:04:06.000Z"],
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"],
  ])("%s", (text, expected) => {
    expect(new Date(parseTime(text) ?? Number.NaN).toISOString()).toBe(expected);
  });

  test.each([
    "",
    "tomorrow",
    "2030-01-02",
    "2030-01-02T03:04:05",
    "2030-01-02 03:04:05Z",
    "2030-02-29T00:00:00Z",
    "2030-13-01T00:00:00Z",
    "2030-00-01T00:00:00Z",
    "2030-01-00T00:00:00Z",
    "2030-01-01T24:00:00Z",
    "2030-01-01T00:60:00Z",
    "2030-01-01T00:00:61Z",
    "2030-01-01T00:00:00+24:00",
    "2030-01-01T00:00:00+0100",
    "2030-01-01T00:00:00.Z",
    "+02030-01-01T00:00:00Z",
    "1900000000",
    "2030-01-02T03:04:05Z\n",
  ])("refuses %j", (text) => expect(parseTime(text)).toBeUndefined());

  test("reads what JavaScript writes, at any offset", () => {
    assert(
      property(integer({ min: 0, max: 4e12 }), integer({ min: -14 * 60, max: 14 * 60 }), (ms, offset) => {
        const local = new Date(ms + offset * 60_000).toISOString().slice(0, -1);
        const part = (n: number): string => String(Math.trunc(Math.abs(n))).padStart(2, "0");
        const zone = `${offset < 0 ? "-" : "+"}${part(offset / 60)}:${part(offset % 60)}`;
        pre(ms + offset * 60_000 >= 0);
        expect(parseTime(local + zone)).toBe(ms);
      }),
    );
  });
});

// Tests what a token may allow with topics.
import { describe, expect, test } from "vitest";
import { isGranted, readTopicGrants } from "./topic-grants.js";

describe("a list of patterns", () => {
  test("a string allows subscribing, an object its own rights", () => {
    expect(readTopicGrants(["room.*", { topic: "news", can: ["publish", "presence"] }])).toEqual({
      ok: true,
      grants: [
        { topic: "room.*", can: ["subscribe"] },
        { topic: "news", can: ["publish", "presence"] },
      ],
    });
  });

  test.each([
    ["not a list", "room", ""],
    ["101 patterns", Array.from({ length: 101 }, (_, i) => `t${i}`), ""],
    ["more than 2 KiB", Array.from({ length: 20 }, (_, i) => `${i}`.padEnd(120, "x")), ""],
    ["a star in the middle", ["ok", "room.*.x"], "/1"],
    ["two stars", ["room.**"], "/0"],
    ["a space", ["a b"], "/0"],
    ["nothing", [""], "/0"],
    ["the broadcast", ["$all"], "/0"],
    ["a number", [1], "/0"],
    ["no rights", [{ topic: "a", can: [] }], "/0/can"],
    ["an unknown right", [{ topic: "a", can: ["subscribe", "read"] }], "/0/can"],
    ["a right twice", [{ topic: "a", can: ["publish", "publish"] }], "/0/can"],
    ["a field too many", [{ topic: "a", can: ["publish"], more: 1 }], "/0/more"],
    ["no topic", [{ can: ["publish"] }], "/0/topic"],
  ])("refuses %s, naming its place", (_what, value, at) => {
    expect(readTopicGrants(value)).toMatchObject({ ok: false, at });
  });
});

describe("a right", () => {
  test("grants nothing without a list", () => {
    expect(isGranted(undefined, "news", "subscribe")).toBe(false);
  });

  test("rights of all matching patterns add up", () => {
    const read = readTopicGrants(["room.*", { topic: "room.1", can: ["publish"] }]);
    const grants = read.ok ? read.grants : [];
    expect(isGranted(grants, "room.1", "subscribe")).toBe(true);
    expect(isGranted(grants, "room.1", "publish")).toBe(true);
    expect(isGranted(grants, "room.2", "publish")).toBe(false);
    expect(isGranted(grants, "room", "subscribe")).toBe(false);
  });

  test("a single star matches everything", () => {
    expect(isGranted([{ topic: "*", can: ["subscribe"] }], "a", "subscribe")).toBe(true);
  });
});

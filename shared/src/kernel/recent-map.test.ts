// Tests that the map stays within its bound, and that keys in use stay.
import { expect, test } from "vitest";
import { RecentMap } from "./recent-map.js";

test("remembers what was set, never more than its bound", () => {
  const map = new RecentMap<number>(100);
  for (let i = 0; i < 1_000; i++) {
    map.set(`k${i}`, i);
    expect(map.get(`k${i}`)).toBe(i);
    expect(map.size).toBeLessThanOrEqual(100);
  }
  expect(map.get("k0")).toBeUndefined();
});

test("keeps entries that are read, however many others come", () => {
  const map = new RecentMap<number>(10);
  map.set("busy", 7);
  for (let i = 0; i < 1_000; i++) {
    map.set(`k${i}`, i);
    expect(map.get("busy")).toBe(7);
  }
});

test("an entry set again exists once, with its last value", () => {
  const map = new RecentMap<number>(4);
  map.set("a", 1);
  map.set("b", 1);
  map.set("a", 2);
  expect(map.get("a")).toBe(2);
  expect(map.size).toBe(2);
});

// Tests the bounded, short-lived cache.
// Guarantees: checked against a model: nothing too old, never too many, the least recently used goes first.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ExpiringCache } from "./expiring-cache.js";

const operation = fc.record({
  kind: fc.constantFrom("get", "set", "delete"),
  key: fc.constantFrom("a", "b", "c", "d", "e"),
  waitMs: fc.nat(6),
});

test("behaves like a list sorted by last use", () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 100 }), (operations) => {
      const cache = new ExpiringCache<number>({ maxEntries: 3, ttlMs: 10 });
      // Least recently used first.
      let model: { key: string; value: number; untilMs: number }[] = [];
      let nowMs = 0;
      operations.forEach(({ kind, key, waitMs }, value) => {
        nowMs += waitMs;
        const entry = model.find((e) => e.key === key);
        const others = model.filter((e) => e.key !== key);
        if (kind === "get") {
          const live = entry !== undefined && entry.untilMs > nowMs;
          expect(cache.get(key, nowMs)).toBe(live ? entry.value : undefined);
          model = live ? [...others, entry] : others;
        } else if (kind === "set") {
          cache.set(key, value, nowMs);
          model = [...others, { key, value, untilMs: nowMs + 10 }].slice(-3);
        } else {
          cache.delete(key);
          model = others;
        }
        expect(cache.size).toBe(model.length);
      });
    }),
  );
});

// Who is connected here: held against a plain model.
import { array, assert, boolean, constantFrom, nat, property, record } from "fast-check";
import { describe, expect, test } from "vitest";
import type { Connection } from "./connection.js";
import { ConnectionRegistry } from "./connection-registry.js";

function connectionOf(userId: string): Connection {
  return { userId, slot: 0 } as Connection;
}

describe("registry", () => {
  test("holds what a list would after any series of additions and removals", () => {
    const step = record({ user: constantFrom("a", "b", "c"), remove: boolean(), which: nat(4) });
    assert(
      property(array(step, { maxLength: 60 }), (steps) => {
        const registry = new ConnectionRegistry(4);
        const model: Connection[] = [];
        const removed: Connection[] = [];
        for (const { user, remove, which } of steps) {
          if (remove) {
            // Some that are gone already: a socket may end twice.
            const one = model[which] ?? removed[which % Math.max(1, removed.length)];
            if (one === undefined) continue;
            registry.delete(one);
            const at = model.indexOf(one);
            if (at !== -1) removed.push(...model.splice(at, 1));
          } else {
            const one = connectionOf(user);
            registry.add(one);
            model.push(one);
          }
          for (const userId of ["a", "b", "c"]) {
            expect(new Set(registry.ofUser(userId))).toEqual(
              new Set(model.filter((c) => c.userId === userId)),
            );
          }
          expect(new Set(registry.all())).toEqual(new Set(model));
          expect(registry.size).toBe(model.length);
          expect(registry.users).toBe(new Set(model.map(({ userId }) => userId)).size);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("fills slots evenly, and each connection is in exactly its own", () => {
    const registry = new ConnectionRegistry(4);
    for (let i = 0; i < 8; i++) registry.add(connectionOf(`u${i}`));
    for (let slot = 0; slot < 4; slot++) expect([...registry.inSlot(slot)]).toHaveLength(2);
  });
});

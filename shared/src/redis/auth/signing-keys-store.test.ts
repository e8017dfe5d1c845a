// Tests the shared signing keys on a real Redis, with real races.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { type SigningKeyRecord, SigningKeysStore } from "./signing-keys-store.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

function key(kid: string): SigningKeyRecord {
  return { kid, alg: "ES256", state: "active", sealedPrivateKey: "v1.…", createdAtMs: 1, activatedAtMs: 1 };
}

test("of several concurrent replacements of the same keys one wins, and all learn which", async () => {
  const stores = Array.from({ length: 5 }, () => new SigningKeysStore(store.scripts));
  for (let round = 0; round < 20; round++) {
    const { revision } = await stores[0]!.read();
    expect(revision).toBe(String(round));
    const agreed = await Promise.all(stores.map((one, i) => one.replace(revision, [key(`${round}-${i}`)])));
    expect(new Set(agreed.map(({ keys }) => JSON.stringify(keys))).size).toBe(1);
    expect(agreed.filter(({ isTaken }) => isTaken)).toHaveLength(1);
    expect(new Set(agreed.map((one) => one.revision))).toEqual(new Set([String(round + 1)]));
    expect((await stores[1]!.read()).keys).toEqual(agreed[0]?.keys);
  }
});

test("is empty at first; reading changes nothing; the time is Redis'", async () => {
  const keys = new SigningKeysStore(store.scripts);
  const before = await store.nowMs();
  const none = await keys.read();
  expect(none).toMatchObject({ revision: "0", keys: [] });
  expect(none.nowMs).toBeGreaterThanOrEqual(before);
  expect(none.nowMs).toBeLessThanOrEqual(await store.nowMs());
  expect(await store.redis.dbsize()).toBe(0);
  expect((await keys.replace("0", [key("a")])).keys).toEqual([key("a")]);
  expect((await keys.replace("0", [key("b")])).keys).toEqual([key("a")]);
  expect((await keys.replace("7", [key("b")])).keys).toEqual([key("a")]);
  expect((await keys.replace("1", [key("b")])).keys).toEqual([key("b")]);
});

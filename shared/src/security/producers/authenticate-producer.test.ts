// Tests who may send: cached, in bounded memory, refused when in doubt. Each test counts the reads of the store, which
// stands in for the network.
import { expect, test } from "vitest";
import type { ErrorCode } from "../../protocol/error-codes.js";
import { ProducerAuthenticator, requireScope, type StoredProducerKey } from "./authenticate-producer.js";
import { hashProducerSecret } from "./producer-keys.js";

const good = "Bearer shop.s3cret";

function storedKey(more: Partial<StoredProducerKey> = {}): StoredProducerKey {
  return {
    id: "shop",
    owner: "shop-backend",
    scopes: ["send", "read"],
    secretSha256: hashProducerSecret("s3cret"),
    ...more,
  };
}

function setUp(options: { maxEntries?: number } = {}) {
  const keys = new Map<string, StoredProducerKey>([["shop", storedKey()]]);
  const state = { nowMs: 0, reads: 0, down: false, gate: Promise.resolve() };
  const authenticator = new ProducerAuthenticator({
    ...options,
    ttlMs: 5_000,
    clock: { monotonicMs: () => state.nowMs, wallMs: () => state.nowMs },
    findKey: async (id) => {
      state.reads++;
      const found = keys.get(id);
      await state.gate;
      if (state.down) throw new Error("connect ECONNREFUSED");
      return found;
    },
  });
  return { keys, state, authenticator };
}

function withCode(code: ErrorCode) {
  return expect.objectContaining({ code });
}

test("a good key gives a frozen producer, and is read once while cached", async () => {
  const { authenticator, state } = setUp();
  const producer = await authenticator.authenticate(good);
  expect(producer).toEqual({ keyId: "shop", owner: "shop-backend", scopes: ["send", "read"] });
  expect(Object.isFrozen(producer) && Object.isFrozen(producer.scopes)).toBe(true);
  state.nowMs = 3_749;
  expect(await authenticator.authenticate(good)).toBe(producer);
  expect(state.reads).toBe(1);
  // Shortly before it expires, it is refreshed in the background.
  state.nowMs = 4_999;
  expect(await authenticator.authenticate(good)).toBe(producer);
  await authenticator.authenticate(good);
  expect(state.reads).toBe(2);
});

test.each([undefined, "", "Bearer shop", "Basic c2hvcDpz", "Bearer shop.wrong", "Bearer nobody.s3cret"])(
  "%j is not authenticated",
  async (header) => {
    const { authenticator } = setUp();
    await expect(authenticator.authenticate(header)).rejects.toEqual(withCode("PETREL_UNAUTHENTICATED"));
  },
);

test("refuses a wrong secret though the key is cached, and does not spoil it", async () => {
  const { authenticator } = setUp();
  await authenticator.authenticate(good);
  await expect(authenticator.authenticate("Bearer shop.wrong")).rejects.toEqual(
    withCode("PETREL_UNAUTHENTICATED"),
  );
  await authenticator.authenticate(good);
});

test("looks an unknown key up once while that is cached, too", async () => {
  const { authenticator, state } = setUp();
  for (let i = 0; i < 3; i++) {
    await expect(authenticator.authenticate("Bearer nobody.x")).rejects.toThrow();
  }
  expect(state.reads).toBe(1);
});

test("invented ids push no real key out", async () => {
  const { authenticator, state } = setUp({ maxEntries: 2 });
  await authenticator.authenticate(good);
  for (let i = 0; i < 10; i++) {
    await expect(authenticator.authenticate(`Bearer invented${i}.x`)).rejects.toThrow();
  }
  state.reads = 0;
  await authenticator.authenticate(good);
  expect(state.reads).toBe(0);
});

test("concurrent checks share one read", async () => {
  const { authenticator, state } = setUp();
  await Promise.all(Array.from({ length: 50 }, () => authenticator.authenticate(good)));
  expect(state.reads).toBe(1);
});

test("refuses a revoked key when its cache time is over, at once if it is invalidated", async () => {
  const { authenticator, keys, state } = setUp();
  await authenticator.authenticate(good);
  keys.set("shop", storedKey({ revokedAt: "2026-01-01T00:00:00.000Z" }));
  await authenticator.authenticate(good);
  authenticator.forget("shop");
  await expect(authenticator.authenticate(good)).rejects.toEqual(withCode("PETREL_UNAUTHENTICATED"));
  keys.set("shop", storedKey());
  state.nowMs = 5_000;
  await authenticator.authenticate(good);
  keys.set("shop", storedKey({ revokedAt: "2026-01-01T00:00:00.000Z" }));
  state.nowMs = 10_000;
  await expect(authenticator.authenticate(good)).rejects.toEqual(withCode("PETREL_UNAUTHENTICATED"));
});

test("does not keep a read that was running when the key was invalidated", async () => {
  const { authenticator, keys, state } = setUp();
  let open = (): void => undefined;
  state.gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const early = authenticator.authenticate(good);
  keys.set("shop", storedKey({ revokedAt: "2026-01-01T00:00:00.000Z" }));
  authenticator.forget("shop");
  open();
  await early;
  await expect(authenticator.authenticate(good)).rejects.toEqual(withCode("PETREL_UNAUTHENTICATED"));
});

test("with the store down nobody is refused for good: 503 for uncached keys, no negative entry", async () => {
  const { authenticator, state } = setUp();
  state.down = true;
  await expect(authenticator.authenticate(good)).rejects.toEqual(withCode("PETREL_UNAVAILABLE"));
  state.down = false;
  await authenticator.authenticate(good);
  state.down = true;
  state.nowMs = 29_999;
  await authenticator.authenticate(good);
  state.nowMs = 30_000;
  await expect(authenticator.authenticate(good)).rejects.toEqual(withCode("PETREL_UNAVAILABLE"));
});

test("forbids a missing scope, by name", async () => {
  const { authenticator } = setUp();
  const producer = await authenticator.authenticate(good);
  requireScope(producer, "send");
  expect(() => requireScope(producer, "admin")).toThrow(withCode("PETREL_FORBIDDEN"));
  expect(() => requireScope(producer, "admin")).toThrow('"admin"');
});

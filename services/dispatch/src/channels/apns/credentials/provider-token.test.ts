// Tests the provider token on real Redis, with several processes' worth of makers and one clock for all.
import { generateKeyPairSync, verify } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ProviderTokenStore } from "@petrel/shared/redis/fallback/provider-token-store";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { ProviderTokens } from "./provider-token.js";

const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const MINUTE_MS = 60_000;

let store: OpenStore;
beforeAll(async () => {
  store = await openStore();
});
beforeEach(() => store.clear());
afterAll(() => store.close());

class SteppedClock {
  nowMs = 1_700_000_000_000;
  setBackMs = 0;
  wallMs = (): number => this.nowMs - this.setBackMs;
  step(minutes: number): void {
    this.nowMs += minutes * MINUTE_MS;
  }
}

/** Like a dispatcher of its own: only Redis and the time are shared. */
function dispatcher(
  clock: SteppedClock,
  more: Partial<ConstructorParameters<typeof ProviderTokens>[0]> = {},
) {
  return new ProviderTokens({
    store: new ProviderTokenStore(store.scripts, store.partitions),
    keyId: "KEY1234567",
    teamId: "TEAM123456",
    privateKey,
    clock,
    ...more,
  });
}

/** Its Redis goes away on demand. */
function flakyStore(): { isAway: boolean; store: Pick<ProviderTokenStore, "read" | "agree"> } {
  const real = new ProviderTokenStore(store.scripts, store.partitions);
  const away = (): Promise<never> => Promise.reject(new Error("Redis does not answer."));
  const flaky = {
    isAway: false,
    store: {
      read: (...args: Parameters<typeof real.read>) => (flaky.isAway ? away() : real.read(...args)),
      agree: (...args: Parameters<typeof real.agree>) => (flaky.isAway ? away() : real.agree(...args)),
    },
  };
  return flaky;
}

describe("a provider token", () => {
  test("is an ES256 JWT with kid, iss and iat, as Apple asks for", async () => {
    const clock = new SteppedClock();
    const token = await dispatcher(clock).current();
    const [head = "", claims = "", signature = ""] = token.split(".");
    const parse = (part: string): unknown => JSON.parse(Buffer.from(part, "base64url").toString());
    expect(parse(head)).toEqual({ alg: "ES256", kid: "KEY1234567" });
    expect(parse(claims)).toEqual({ iss: "TEAM123456", iat: 1_700_000_000 });
    const content = Buffer.from(`${head}.${claims}`);
    const key = { key: publicKey, dsaEncoding: "ieee-p1363" } as const;
    expect(verify("sha256", content, key, Buffer.from(signature, "base64url"))).toBe(true);
  });

  test("belongs to exactly its key: a wrong key under the same id neither vouches for it nor outlasts its correction", async () => {
    const clock = new SteppedClock();
    const wrong = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    const bad = await dispatcher(clock, { privateKey: wrong }).current();
    const good = await dispatcher(clock).current();
    expect(good).not.toBe(bad);
    expect(await dispatcher(clock).current()).toBe(good);
  });

  test("is made once in 50 minutes by two dispatchers together", async () => {
    const clock = new SteppedClock();
    const both = [dispatcher(clock), dispatcher(clock)];
    const seen = new Set<string>();
    const perPeriod: number[] = [];
    for (let minute = 0; minute < 200; minute++) {
      // Both at once, several times a minute.
      const tokens = await Promise.all([...both, ...both].map((one) => one.current()));
      expect(new Set(tokens).size).toBe(1);
      for (const token of tokens) seen.add(token);
      perPeriod[Math.floor(minute / 50)] = seen.size;
      clock.step(1);
    }
    expect(perPeriod).toEqual([1, 2, 3, 4]);
  });

  test("a dispatcher that starts later uses the existing one", async () => {
    const clock = new SteppedClock();
    const first = await dispatcher(clock).current();
    clock.step(49);
    expect(await dispatcher(clock).current()).toBe(first);
    clock.step(2);
    expect(await dispatcher(clock).current()).not.toBe(first);
  });

  test("a dispatcher that dies after signing, before Redis knows, leaves nothing behind", async () => {
    const clock = new SteppedClock();
    const real = new ProviderTokenStore(store.scripts, store.partitions);
    const dying = dispatcher(clock, {
      store: { read: (...key) => real.read(...key), agree: () => new Promise(() => undefined) },
    });
    void dying.current();
    const token = await dispatcher(clock).current();
    expect(await dispatcher(clock).current()).toBe(token);
  });

  test("is not renewed within 20 minutes, whoever asks", async () => {
    const clock = new SteppedClock();
    const [one, other] = [dispatcher(clock), dispatcher(clock)];
    const first = await one.current();
    clock.step(19);
    expect(await one.replace(first)).toBe(first);
    expect(await other.replace(first)).toBe(first);
    clock.step(2);
    const [second, again] = await Promise.all([one.replace(first), other.replace(first)]);
    expect(second).not.toBe(first);
    expect(again).toBe(second);
    // Those that come later with the old one get the new one, and no third.
    expect(await Promise.all([one.replace(first), other.replace(first)])).toEqual([second, second]);
  });

  test("while Redis is down the current one is used as long as it is valid", async () => {
    const clock = new SteppedClock();
    const flaky = flakyStore();
    const tokens = dispatcher(clock, { store: flaky.store });
    const first = await tokens.current();
    flaky.isAway = true;
    clock.step(57);
    expect(await tokens.current()).toBe(first);
    clock.step(2);
    await expect(tokens.current()).rejects.toThrow("Redis does not answer.");
    flaky.isAway = false;
    expect(await tokens.current()).not.toBe(first);
  });

  test("is replaced if a clock was set back and Apple calls it expired", async () => {
    const clock = new SteppedClock();
    const tokens = dispatcher(clock);
    const first = await tokens.current();
    clock.setBackMs = 15 * MINUTE_MS;
    clock.step(51);
    // By the wall clock 36 minutes old, in truth 51: it may be replaced, and is.
    expect(await tokens.replace(first)).not.toBe(first);
  });

  test("keys do not share one, and each expires on its own within the hour", async () => {
    const clock = new SteppedClock();
    const [a, b] = [dispatcher(clock), dispatcher(clock, { keyId: "OTHER12345" })];
    expect(await a.current()).not.toBe(await b.current());
    const snapshot = Object.entries(await store.snapshot());
    expect(snapshot).toHaveLength(2);
    const nowMs = await store.nowMs();
    for (const [, { endsAtMs }] of snapshot) {
      expect(endsAtMs).toBeGreaterThan(nowMs);
      expect(endsAtMs).toBeLessThanOrEqual(nowMs + 60 * MINUTE_MS);
    }
  });
});

// Tests remembered tokens: what ends one, what is never remembered, and the bounds.
// Guarantees: a check by signature is seen by its use of the key, not by the cache's own count.
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { PetrelError } from "../../kernel/errors.js";
import { createSignToken } from "./sign-token.js";
import type { VerifiedToken } from "./verified-token.js";
import { VerifiedTokenCache } from "./verified-token-cache.js";
import {
  createVerifyToken,
  type TrustedIssuer,
  type TrustedTokenCache,
  type VerificationKey,
} from "./verify-token.js";

const nowMs = Date.UTC(2026, 0, 1);
const state = { nowMs };
const clock = { wallMs: () => state.nowMs, monotonicMs: () => state.nowMs };
const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
const other = generateKeyPairSync("ec", { namedCurve: "P-256" });
const sign = createSignToken({ issuer: "petrel", audience: "petrel", clock });
const content = { userId: "alice", generation: 3, ttlSeconds: 60 };

let uses = 0;
let key: VerificationKey | undefined;
let failure: PetrelError | undefined;
let cache: TrustedTokenCache;
let verify: (token: string) => Promise<VerifiedToken>;

/** Counts each check of a signature by it. */
function counting(material: KeyObject): VerificationKey {
  return {
    kid: "k1",
    alg: "ES256",
    get key() {
      uses++;
      return material;
    },
  };
}

function token(ttlSeconds = 60): string {
  const { token: text } = sign(
    { kid: "k1", alg: "ES256", privateKey: pair.privateKey },
    { ...content, ttlSeconds },
  );
  return text;
}

beforeEach(() => {
  uses = 0;
  state.nowMs = nowMs;
  key = counting(pair.publicKey);
  failure = undefined;
  cache = new VerifiedTokenCache<TrustedIssuer, VerificationKey>({ maxTokens: 100, maxBytes: 1_000_000 });
  const findKey = (): Promise<VerificationKey | undefined> =>
    failure === undefined ? Promise.resolve(key) : Promise.reject(failure);
  verify = createVerifyToken({ issuers: [{ issuer: "petrel", audience: "petrel", findKey }], cache, clock });
});

describe("a token that was checked", () => {
  test("costs no second check, and reads the same", async () => {
    const text = token();
    const first = await verify(text);
    const usesOfOne = uses;
    expect(usesOfOne).toBeGreaterThan(0);
    expect(await verify(text)).toBe(first);
    expect(uses).toBe(usesOfOne);
    expect([cache.hits, cache.misses]).toEqual([1, 1]);
  });

  test("ends when its key is withdrawn", async () => {
    const text = token();
    await verify(text);
    key = undefined;
    await expect(verify(text)).rejects.toMatchObject({ code: "PETREL_TOKEN_INVALID" });
    expect(cache.size).toBe(0);
  });

  test("ends when another key has the same kid", async () => {
    const text = token();
    await verify(text);
    key = counting(other.publicKey);
    await expect(verify(text)).rejects.toMatchObject({ code: "PETREL_TOKEN_INVALID" });
  });

  test("is not valid while its key is unknown", async () => {
    const text = token();
    await verify(text);
    failure = new PetrelError("PETREL_UNAVAILABLE", "no keys");
    await expect(verify(text)).rejects.toMatchObject({ code: "PETREL_UNAVAILABLE" });
  });

  test("ends at the second at which a check would refuse it", async () => {
    const text = token(60);
    await verify(text);
    const usesOfOne = uses;
    state.nowMs = nowMs + 64_999;
    await verify(text);
    expect(uses).toBe(usesOfOne);
    state.nowMs = nowMs + 65_000;
    await expect(verify(text)).rejects.toMatchObject({ code: "PETREL_TOKEN_EXPIRED" });
    expect(cache.size).toBe(0);
  });
});

test("checks a bad token each time, and treats a good one with a changed letter as another", async () => {
  const good = token();
  await verify(good);
  const bad = good.replace(/\.([^.])([^.]*)$/, (_all, first: string, rest: string) =>
    first === "A" ? `.B${rest}` : `.A${rest}`,
  );
  for (let i = 0; i < 2; i++) {
    const before = uses;
    await expect(verify(bad)).rejects.toMatchObject({ code: "PETREL_TOKEN_INVALID" });
    expect(uses).toBeGreaterThan(before);
  }
  expect(cache.size).toBe(1);
});

test("never exceeds its bounds, and drops the least recently used first", () => {
  const verified: VerifiedToken = {
    userId: "alice",
    jti: "j",
    issuedAtMs: 0,
    expiresAtMs: 1,
    generation: 1,
  };
  const remembered = { issuer: 1, kid: "k", key: 1, verified };
  const step = fc.oneof(
    fc.record({ do: fc.constant("keep" as const), name: fc.nat(9), length: fc.nat(2_000) }),
    fc.record({ do: fc.constant("find" as const), name: fc.nat(9) }),
    fc.record({ do: fc.constant("drop" as const), name: fc.nat(9) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.nat(6), fc.nat(8_000), (steps, maxTokens, maxBytes) => {
      const tokens = new VerifiedTokenCache<number, number>({ maxTokens, maxBytes });
      /** Least recently used first. */
      let model: { name: number; bytes: number }[] = [];
      const bytes = (): number => model.reduce((sum, one) => sum + one.bytes, 0);
      for (const one of steps) {
        const found = model.find(({ name }) => name === one.name);
        if (one.do === "find") {
          expect(tokens.find(String(one.name)) === undefined).toBe(found === undefined);
          if (found !== undefined) model = [...model.filter((it) => it !== found), found];
          continue;
        }
        model = model.filter((it) => it !== found);
        if (one.do === "drop") {
          tokens.drop(String(one.name));
          continue;
        }
        const size = tokens.bytes;
        tokens.keep(String(one.name), one.length, remembered);
        const taken = tokens.find(String(one.name)) !== undefined;
        expect(taken).toBe(maxTokens > 0 && 700 + one.length <= maxBytes);
        if (!taken) expect(tokens.bytes).toBeLessThanOrEqual(size);
        else model.push({ name: one.name, bytes: 700 + one.length });
        while (model.length > maxTokens || bytes() > maxBytes) model.shift();
      }
      expect([tokens.size, tokens.bytes]).toEqual([model.length, bytes()]);
      expect(tokens.size).toBeLessThanOrEqual(maxTokens);
      expect(tokens.bytes).toBeLessThanOrEqual(maxBytes);
    }),
  );
});

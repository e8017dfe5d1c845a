// Tests which tabs share: the same user and rights, whatever time and session their tokens are of.
import { describe, expect, test } from "vitest";
import { claimsOf, shareName, type Identity } from "./share-identity.js";

function token(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "ES256" })}.${part(claims)}.c2ln`;
}

function name(claims: object, others: Partial<Identity> = {}): string | undefined {
  const identity = {
    token: token(claims),
    key: undefined,
    urls: ["wss://a.test/", "wss://b.test/"],
    options: {},
  };
  return shareName(1, { ...identity, ...others });
}

const alice = { sub: "alice", iat: 1, exp: 2, jti: "x", sid: "s", gen: 0 };

describe("tabs that share a connection", () => {
  test("have the same user, with any of the user's tokens, at the same addresses in any order", () => {
    expect(name(alice)).toBeDefined();
    expect(name({ ...alice, iat: 5, exp: 9, jti: "y", sid: "t", gen: 1 })).toBe(name(alice));
    const others = { auth_time: 5, uti: "u", rh: "r", aio: "a", origin_jti: "o", event_id: "e", nonce: "n" };
    expect(name({ ...alice, ...others, session_state: "s", at_hash: "h", ipaddr: "::1" })).toBe(name(alice));
    expect(name(alice, { urls: ["wss://b.test/", "wss://a.test/"] })).toBe(name(alice));
  });

  test("never differ in user, rights, device, address, option or version", () => {
    const others = [
      name({ ...alice, sub: "bob" }),
      name({ ...alice, topics: ["room.*"] }),
      // With some issuers this is the user.
      name({ ...alice, email: "a@x.test" }),
      name({ ...alice, iss: "other" }),
      name({ ...alice, device: { id: "d", platform: "web" } }),
      name(alice, { urls: ["wss://a.test/"] }),
      name(alice, { options: { mode: "visible" } }),
      name(alice, { key: "k" }),
      shareName(2, {
        token: token(alice),
        key: undefined,
        urls: ["wss://a.test/", "wss://b.test/"],
        options: {},
      }),
    ];
    expect(new Set([name(alice), ...others]).size).toBe(others.length + 1);
  });

  test("are only those with the same key if the credential does not name its user", () => {
    for (const unknown of [undefined, "opaque", "a.b.c", token({ name: "alice" })]) {
      expect(name(alice, { token: unknown }), unknown).toBeUndefined();
      expect(name(alice, { token: unknown, key: "alice" }), unknown).toBeDefined();
    }
    // A key does not bring two users together.
    expect(name(alice, { key: "k" })).not.toBe(name({ ...alice, sub: "bob" }, { key: "k" }));
  });

  test("allow any characters in a user's name", () => {
    expect(claimsOf(token({ sub: "Zoë ✓" }))).toEqual({ sub: "Zoë ✓" });
  });
});

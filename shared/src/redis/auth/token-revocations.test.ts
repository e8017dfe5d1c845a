// Tests what is revoked, and that every node is told in the same step, on a real Redis.
// Guarantees: in each test, what was not revoked stays good.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import type { PartitionKeys } from "../keys.js";
import { TokenRevocations, type TokenToCheck } from "./token-revocations.js";

let store: OpenStore;
let revocations: TokenRevocations;
beforeAll(async () => {
  store = await openStore();
  const { scripts, partitions } = store;
  revocations = new TokenRevocations({ scripts, partitions, maxTokenLifeMs: 86_400_000 });
});
beforeEach(() => store.clear());
afterAll(() => store.close());

const keysOf = (userId: string): PartitionKeys =>
  store.partitions[partitionOfUser(userId, 2)] as PartitionKeys;
const good = (more: Partial<TokenToCheck> = {}): TokenToCheck => ({
  userId: "alice",
  jti: "j1",
  generation: 0,
  sessionId: "s1",
  ...more,
});
const isRevoked = (more?: Partial<TokenToCheck>): Promise<boolean> => revocations.isRevoked(good(more));
const listenToAll = (): Promise<string[]> => store.listen(...store.partitions.map(({ control }) => control));
const heardFrom = (heard: string[], count: number): Promise<string[]> =>
  waitFor(() => heard.length >= count && heard, { what: "the nodes to be told" });

test("nothing is revoked at first, and checking uses no memory", async () => {
  expect(await isRevoked()).toBe(false);
  expect(await store.redis.dbsize()).toBe(0);
});

test("a user: all so far, whatever session; tokens issued later are good", async () => {
  const heard = await listenToAll();
  const before = await store.nowMs();
  const generation = await revocations.revokeUser("alice");
  expect(generation).toBeGreaterThanOrEqual(before);
  expect(await heardFrom(heard, 1)).toEqual([`revoke-user\nalice\t${generation}`]);
  expect(await isRevoked()).toBe(true);
  expect(await isRevoked({ sessionId: "s2", generation: generation - 1 })).toBe(true);
  expect(await isRevoked({ generation })).toBe(false);
  expect(await isRevoked({ userId: "bob" })).toBe(false);
});

test("a generation grows with each revocation, also within one ms, and outlives all tokens", async () => {
  const all = await Promise.all(Array.from({ length: 20 }, () => revocations.revokeUser("alice")));
  expect(new Set(all).size).toBe(20);
  expect(all).toEqual([...all].sort((a, b) => a - b));
  expect(await store.redis.pttl(keysOf("alice").tokenGeneration("alice"))).toBeGreaterThan(399 * 86_400_000);
});

test("a session: its tokens, not the user's others", async () => {
  const heard = await listenToAll();
  await revocations.revokeSession("alice", "s1");
  await revocations.revokeSession("alice", "s1");
  expect(await heardFrom(heard, 2)).toEqual(Array(2).fill("revoke-session\nalice\ts1"));
  expect(await isRevoked()).toBe(true);
  expect(await isRevoked({ sessionId: "s2" })).toBe(false);
  expect(await revocations.isRevoked({ userId: "alice", jti: "j1", generation: 0 })).toBe(false);
  expect(await isRevoked({ userId: "bob" })).toBe(false);
  const ttl = await store.redis.pttl(keysOf("alice").revokedSession("alice", "s1"));
  expect(ttl).toBeGreaterThan(86_400_000);
});

test("a verified token: by all its names, in its user's partition, until it expires", async () => {
  const heard = await listenToAll();
  const expiresAtMs = Date.now() + 60_000;
  const names = { jti: "new", formerNames: ["old", "older"] };
  await revocations.revokeVerified({ userId: "alice", generation: 0, expiresAtMs, ...names });
  expect(new Set(await heardFrom(heard, 3))).toEqual(
    new Set(["revoke-token\nnew", "revoke-token\nold", "revoke-token\nolder"]),
  );
  // The previous release looks for its own name only.
  for (const jti of ["new", "old", "older"]) expect(await isRevoked({ jti })).toBe(true);
  expect(await store.redis.dbsize()).toBe(3);
  const ttl = await store.redis.pttl(keysOf("alice").revokedToken("new"));
  expect(ttl).toBeGreaterThan(3_600_000);
  expect(ttl).toBeLessThanOrEqual(3_660_000);
});

test("a name that the previous release gave it, and revoked", async () => {
  await revocations.revokeToken("old");
  expect(await isRevoked({ jti: "new" })).toBe(false);
  expect(await isRevoked({ jti: "new", formerNames: ["other", "old"] })).toBe(true);
  expect(await isRevoked({ userId: "bob", jti: "new", formerNames: ["old"] })).toBe(true);
});

test("remembers a token with a known expiry until then, and never longer than any may live", async () => {
  await revocations.revokeToken("j1", Date.now() + 60_000);
  expect(await store.redis.pttl(keysOf("alice").revokedToken("j1"))).toBeLessThanOrEqual(3_660_000);
  await revocations.revokeToken("j2", Date.now() + 900 * 86_400_000);
  expect(await store.redis.pttl(keysOf("alice").revokedToken("j2"))).toBeLessThanOrEqual(90_000_000);
  // An end in the past, by a clock that differs, is no reason to forget the token at once.
  await revocations.revokeToken("j3", 0);
  expect(await isRevoked({ jti: "j3" })).toBe(true);
});

test("a token: whoever owns it, in every partition", async () => {
  const heard = await listenToAll();
  await revocations.revokeToken("j1");
  expect(await heardFrom(heard, 2)).toEqual(Array(2).fill("revoke-token\nj1"));
  for (const userId of ["alice", "bob", "carol", "dave"]) {
    expect(await isRevoked({ userId })).toBe(true);
    expect(await isRevoked({ userId, jti: "j2" })).toBe(false);
  }
  expect(new Set(["alice", "bob", "carol", "dave"].map((id) => partitionOfUser(id, 2))).size).toBe(2);
  const ttl = await store.redis.pttl(keysOf("alice").revokedToken("j1"));
  expect(ttl).toBeGreaterThan(86_400_000);
});

test("a shorter retention never replaces a longer one", async () => {
  await revocations.revokeToken("j1");
  const { scripts, partitions } = store;
  await new TokenRevocations({ scripts, partitions, maxTokenLifeMs: 1 }).revokeToken("j1");
  expect(await store.redis.pttl(keysOf("alice").revokedToken("j1"))).toBeGreaterThan(86_400_000);
});

test("revokes even when Redis is full", async () => {
  await store.redis.config("SET", "maxmemory", "1");
  try {
    await expect(store.redis.set("x", "y")).rejects.toThrow("OOM");
    await revocations.revokeUser("alice");
    await revocations.revokeSession("bob", "s1");
    await revocations.revokeToken("j7");
    expect(await isRevoked()).toBe(true);
    expect(await isRevoked({ userId: "bob" })).toBe(true);
    expect(await isRevoked({ userId: "carol", jti: "j7" })).toBe(true);
    expect(await isRevoked({ userId: "carol" })).toBe(false);
  } finally {
    await store.redis.config("SET", "maxmemory", "0");
  }
});

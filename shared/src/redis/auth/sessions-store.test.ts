// Tests sessions and their refresh tokens on a real Redis: by cases, many at once, and against a model.
// The leeway is a given number, never a time to sleep: endless, or over already.
import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { createRefreshTokens, type RefreshToken } from "../../security/tokens/refresh-token.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { connectRedis } from "../connection/connect.js";
import { createLogger } from "../../kernel/logging/logging.js";
import { partitionOfUser } from "../../protocol/messages/partition.js";
import type { PartitionKeys } from "../keys.js";
import { ScriptRunner } from "../scripts/script-runner.js";
import { type RefreshResult, SessionsStore, type SessionsStoreOptions } from "./sessions-store.js";
import { TokenRevocations } from "./token-revocations.js";

const DAY_MS = 86_400_000;
const WITHIN = 1e9;
const AFTER = -1;

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const key = randomBytes(32);
const tokens = createRefreshTokens(() => [key]);
const nextOf = (token: RefreshToken): RefreshToken => tokens.successorsOf(token)[0];

function sessions(more: Partial<SessionsStoreOptions> = {}): SessionsStore {
  const { scripts, partitions } = store;
  return new SessionsStore({
    scripts,
    partitions,
    leewayMs: WITHIN,
    idleMs: 30 * DAY_MS,
    absoluteMs: 90 * DAY_MS,
    maxPerUser: 20,
    ...more,
  });
}

function keysOf(userId: string): PartitionKeys {
  return store.partitions[partitionOfUser(userId, 2)] as PartitionKeys;
}

async function signIn(userId = "alice", by = sessions()): Promise<RefreshToken> {
  const first = tokens.open(userId);
  const { sessionId, hash } = first;
  await by.open({ userId, sessionId, hash, content: { ttlSeconds: 60 } });
  return first;
}

function present(token: RefreshToken, by = sessions()): Promise<RefreshResult> {
  const { userId, sessionId, number, hash } = token;
  return by.refresh({
    userId,
    sessionId,
    number,
    hash,
    successorHashes: [nextOf(token).hash],
  });
}

const outcomeOf = async (token: RefreshToken, by?: SessionsStore): Promise<string> =>
  (await present(token, by)).outcome;

test("a session returns what it was opened with, and continues from token to token", async () => {
  const device = { id: "d\t\n\\", platform: "ios" };
  const first = tokens.open("alice");
  const { sessionId, hash } = first;
  expect(
    await sessions().open({ userId: "alice", sessionId, hash, content: { ttlSeconds: 90, device } }),
  ).toBe(0);
  let token = first;
  for (let i = 0; i < 5; i++) {
    expect(await present(token)).toEqual({
      outcome: "rotated",
      generation: 0,
      successor: 0,
      content: { ttlSeconds: 90, device },
    });
    token = nextOf(token);
  }
});

test("stores nothing of a token but its hash, and all of it expires", async () => {
  const first = await signIn();
  await present(first);
  const key = keysOf("alice").sessions("alice");
  const stored = JSON.stringify(await store.redis.hgetall(key));
  for (const token of [first, nextOf(first)]) {
    const secret = token.text.split(".").at(-1) ?? "";
    expect(stored).not.toContain(secret);
    expect(stored).not.toContain(secret.slice(0, 43));
  }
  expect(await store.redis.pttl(key)).toBeGreaterThan(29 * DAY_MS);
  expect(await store.redis.pttl(key)).toBeLessThanOrEqual(30 * DAY_MS);
});

describe("a spent token", () => {
  test("within the leeway returns its successor again and again, and that one works", async () => {
    const first = await signIn();
    expect(await outcomeOf(first)).toBe("rotated");
    for (let i = 0; i < 3; i++) expect(await outcomeOf(first)).toBe("again");
    expect(await outcomeOf(nextOf(first))).toBe("rotated");
  });

  test("within the leeway is answered by a process with the encryption keys in another order", async () => {
    const first = await signIn();
    const { userId, sessionId, number, hash } = first;
    const refresh = (...successorHashes: [string, ...string[]]): Promise<RefreshResult> =>
      sessions().refresh({ userId, sessionId, number, hash, successorHashes });
    expect(await refresh("by the new", "by the old")).toMatchObject({ outcome: "rotated", successor: 0 });
    expect(await refresh("by the old", "by the oldest", "by the new")).toMatchObject({
      outcome: "again",
      successor: 2,
    });
    expect(await refresh("by the new", "by the old")).toMatchObject({ outcome: "again", successor: 0 });
    expect((await refresh("by the old", "by the oldest")).outcome).toBe("reused");
  });

  test("after it ends the session for both, and tells every node", async () => {
    const first = await signIn();
    await present(first);
    const heard = await store.listen(keysOf("alice").control);
    expect(await outcomeOf(first, sessions({ leewayMs: AFTER }))).toBe("reused");
    const [message] = await waitFor(() => heard.length > 0 && heard, { what: "the nodes to be told" });
    expect(message).toBe(`revoke-session\nalice\t${first.sessionId}`);
    expect(await outcomeOf(nextOf(first))).toBe("reused");
    expect(await outcomeOf(first)).toBe("reused");
    const { scripts, partitions } = store;
    const revocations = new TokenRevocations({ scripts, partitions, maxTokenLifeMs: 1 });
    const { sessionId } = first;
    const token = { userId: "alice", jti: "j", generation: 0, sessionId };
    expect(await revocations.isRevoked(token)).toBe(true);
    expect(await revocations.isRevoked({ ...token, sessionId: "other" })).toBe(false);
    expect(await store.redis.hlen(keysOf("alice").sessions("alice"))).toBe(0);
  });

  test("whose successor was used as well is in two hands, within the leeway too", async () => {
    const first = await signIn();
    const second = nextOf(first);
    await present(first);
    await present(second);
    expect(await outcomeOf(first)).toBe("reused");
    expect(await outcomeOf(nextOf(second))).toBe("reused");
  });

  test("of one session does not affect the user's others", async () => {
    const [stolen, other] = [await signIn(), await signIn()];
    await present(stolen);
    expect(await outcomeOf(stolen, sessions({ leewayMs: AFTER }))).toBe("reused");
    expect(await outcomeOf(other)).toBe("rotated");
  });
});

test("of fifty at once, over two connections, one rotates and all others get the same", async () => {
  const logger = createLogger({ service: "test", level: "silent" });
  const second = await connectRedis({ url: store.server.url, role: "second", logger });
  const processes = [sessions(), sessions({ scripts: new ScriptRunner(second) })];
  for (let round = 0; round < 5; round++) {
    const first = await signIn(`user${round}`);
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, i) => outcomeOf(first, processes[i % 2])),
    );
    expect(outcomes.filter((outcome) => outcome === "rotated")).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === "again")).toHaveLength(49);
    expect(await outcomeOf(nextOf(first))).toBe("rotated");
  }
  second.disconnect();
});

describe("a session ends", () => {
  test("when it was not refreshed for long, or is too old", async () => {
    const idle = await signIn();
    expect(await outcomeOf(idle, sessions({ idleMs: 0 }))).toBe("over");
    expect(await outcomeOf(idle)).toBe("over");
    const old = await signIn();
    await present(old);
    const next = nextOf(old);
    expect(await outcomeOf(next, sessions({ absoluteMs: 0 }))).toBe("over");
    expect(await outcomeOf(next)).toBe("over");
  });

  test("when it is unknown here, or Redis has lost its newest rotation; and that changes nothing", async () => {
    const first = await signIn();
    const before = await store.snapshot();
    expect(await outcomeOf(tokens.open("alice"))).toBe("over");
    expect(await outcomeOf(nextOf(first))).toBe("over");
    const forged = { ...tokens.open("alice"), sessionId: first.sessionId };
    expect(await outcomeOf(forged)).toBe("over");
    expect(await store.snapshot()).toEqual(before);
    expect(await outcomeOf(first)).toBe("rotated");
  });

  test("when all of its user was revoked; a later one is not", async () => {
    const { scripts, partitions } = store;
    const revocations = new TokenRevocations({ scripts, partitions, maxTokenLifeMs: 1 });
    const [first, other] = [await signIn(), await signIn("bob")];
    const generation = await revocations.revokeUser("alice");
    expect(await outcomeOf(first)).toBe("revoked");
    expect(await outcomeOf(other)).toBe("rotated");
    const later = await signIn();
    expect(await present(later)).toMatchObject({ outcome: "rotated", generation });
  });

  test("when it was signed out of", async () => {
    const { scripts, partitions } = store;
    const revocations = new TokenRevocations({ scripts, partitions, maxTokenLifeMs: 1 });
    const first = await signIn();
    await revocations.revokeSession("alice", first.sessionId);
    expect(await outcomeOf(first)).toBe("revoked");
  });
});

describe("of too many sessions", () => {
  const few = () => sessions({ maxPerUser: 3 });
  /** Waits for Redis' clock, which tells the older of two. */
  const nextMillisecond = async (): Promise<void> => {
    const now = await store.nowMs();
    await waitFor(async () => (await store.nowMs()) > now, { what: "the next millisecond", everyMs: 1 });
  };

  test("those never refreshed are removed first, however young; then those not refreshed for longest", async () => {
    const phone = await signIn("alice", few());
    await present(phone, few());
    const pages: RefreshToken[] = [];
    for (let i = 0; i < 6; i++) {
      pages.push(await signIn("alice", few()));
      await nextMillisecond();
    }
    expect(await store.redis.hlen(keysOf("alice").sessions("alice"))).toBe(3);
    for (const page of pages.slice(0, 4)) expect(await outcomeOf(page, few())).toBe("over");
    for (const page of pages.slice(4)) {
      await nextMillisecond();
      expect(await outcomeOf(page, few())).toBe("rotated");
    }
    const newcomer = await signIn("alice", few());
    expect(await outcomeOf(nextOf(phone), few())).toBe("over");
    expect(await outcomeOf(newcomer, few())).toBe("rotated");
  });

  test("expired or revoked ones are removed before any valid one", async () => {
    const { scripts, partitions } = store;
    for (let i = 0; i < 3; i++) await signIn("alice", few());
    await new TokenRevocations({ scripts, partitions, maxTokenLifeMs: 1 }).revokeUser("alice");
    const good = await signIn("alice", few());
    expect(await store.redis.hlen(keysOf("alice").sessions("alice"))).toBe(1);
    expect(await outcomeOf(good, few())).toBe("rotated");
  });
});

/** What must become of a session, whatever is presented in whatever order. */
class Model {
  newest = 0;
  isOver = false;

  present(number: number, isWithinLeeway: boolean): string {
    if (this.isOver) return "reused";
    if (number > this.newest) return "over";
    if (number === this.newest) {
      this.newest++;
      return "rotated";
    }
    if (number === this.newest - 1 && isWithinLeeway) return "again";
    this.isOver = true;
    return "reused";
  }
}

test("matches a model in any order of tokens", async () => {
  const within = sessions();
  const after = sessions({ leewayMs: AFTER });
  // Mostly what an honest client does, so that sessions live long enough to test.
  const step = fc.record({
    back: fc.oneof(
      { weight: 8, arbitrary: fc.constant(0) },
      { weight: 4, arbitrary: fc.constant(1) },
      { weight: 1, arbitrary: fc.integer({ min: -2, max: 4 }) },
    ),
    isWithinLeeway: fc.oneof(
      { weight: 6, arbitrary: fc.constant(true) },
      { weight: 1, arbitrary: fc.constant(false) },
    ),
  });
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 15 }), async (steps) => {
      const chain = [await signIn()];
      const tokenAt = (number: number): RefreshToken => {
        while (chain.length <= number) chain.push(nextOf(chain.at(-1) as RefreshToken));
        return chain[number] as RefreshToken;
      };
      const model = new Model();
      for (const { back, isWithinLeeway } of steps) {
        const number = Math.max(0, model.newest - back);
        const expected = model.present(number, isWithinLeeway);
        seen.add(expected);
        expect(await outcomeOf(tokenAt(number), isWithinLeeway ? within : after)).toBe(expected);
      }
    }),
    { numRuns: sized(150, 60) },
  );
  expect(seen).toEqual(new Set(["rotated", "again", "reused", "over"]));
});

// Tests only: a store whose first partition is owned, with users whose time to be woken has come.
// Guarantees: after `clear()` no key of an earlier test is left, and the partition is owned anew.
import { connectRoute } from "../../redis/routes/connect-routes.js";
import { wakeUsers, type WokenUser } from "../../redis/wake/wake-users.js";
import { openStore, type OpenStore } from "../redis/open-store.js";

export interface OpenWakes extends OpenStore {
  /** The fencing token of the first partition's owner. */
  readonly token: string;
  /** As if that much time had passed since the user was armed and last acked. */
  age(userId: string, byMs: number): Promise<void>;
  /** Wakes them by `wakeRules`. */
  wake(...userIds: string[]): Promise<WokenUser[]>;
  /** How long until the user is due, ms. */
  dueInMs(userId: string): Promise<number>;
  /** A connection that is a minute old, unless `ageMs` says otherwise. */
  connect(userId: string, node: string, ageMs?: number): Promise<void>;
}

export const ACK_TIMEOUT_MS = 10_000;
export const wakeRules = {
  ackTimeoutMs: ACK_TIMEOUT_MS,
  absenceInMs: 0,
  settleMs: 5_000,
  confirmMs: 1_000,
} as const;

export async function openWakes(): Promise<OpenWakes> {
  const store = await openStore();
  const { redis, scripts, keys } = store;
  let token = await store.own();

  async function age(userId: string, byMs: number): Promise<void> {
    await redis.zincrby(keys.due, -byMs, userId);
    const ackedAt = await redis.hget(keys.user(userId), "ackedAt");
    if (ackedAt !== null) await redis.hset(keys.user(userId), "ackedAt", Number(ackedAt) - byMs);
  }

  async function wake(...userIds: string[]): Promise<WokenUser[]> {
    const woken = await wakeUsers(scripts, keys, token, wakeRules, userIds);
    if (woken === "stale") throw new Error("stale");
    return woken;
  }

  async function connect(userId: string, node: string, ageMs = 60_000): Promise<void> {
    const connectTimeMs = (await store.nowMs()) - ageMs;
    await connectRoute(
      scripts,
      keys,
      { userId, node, connection: `c-${node}`, platform: "web", connectTimeMs },
      { leaseMs: 60_000, maxConnectionsPerUser: 5, whenFull: "evict", ackTimeoutMs: ACK_TIMEOUT_MS },
    );
  }

  return {
    ...store,
    get token() {
      return token;
    },
    age,
    wake,
    dueInMs: async (userId) => Number(await redis.zscore(keys.due, userId)) - (await store.nowMs()),
    connect,
    clear: async () => {
      await store.clear();
      token = await store.own();
    },
  };
}

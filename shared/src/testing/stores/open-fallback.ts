// Tests only: a store with messages in their fallback stream, and the steps that a worker takes with them.
// Guarantees: after `clear()` no key of an earlier test is left, and memory has no bound.
import {
  promoteRetries,
  readFallback,
  type FallbackSource,
  type PolledPartition,
  type TakenEntry,
} from "../../redis/fallback/fallback-queue.js";
import {
  settleFallback,
  type Settled,
  type Settlement,
  type SettleOptions,
} from "../../redis/fallback/settle-fallback.js";
import { message, openStore, type OpenStore } from "../redis/open-store.js";

export interface OpenFallback extends OpenStore {
  /** The stream of all entries here. */
  readonly source: FallbackSource;
  /** A message in its fallback stream; `n` numbers it. @returns its id */
  enter(n?: number, ttlMs?: number, letters?: string): Promise<string>;
  take(consumer?: string, count?: number): Promise<TakenEntry[]>;
  takeOne(): Promise<TakenEntry>;
  /** After one attempt without notes, unless `more` says otherwise. */
  settle(entry: TakenEntry, settlement: Settlement, more?: Partial<SettleOptions>): Promise<Settled>;
  promote(limit?: number): Promise<PolledPartition>;
  /** How many entries the stream holds. */
  queued(): Promise<number>;
}

/** A channel accepted it. */
export const taken: Settlement = { outcome: "taken", channel: "webhook" };
const once: SettleOptions = { attempts: 1, notes: [], deadLettersCap: 100 };

export async function openFallback(): Promise<OpenFallback> {
  const store = await openStore();
  const { redis, scripts, keys } = store;
  const source = { keys, priority: "normal" } as const;

  async function enter(n = 1, ttlMs = 3_600_000, letters = "on"): Promise<string> {
    const id = `m${n}`;
    const result = await store.accepter().accept(message({ id, ttlMs, notification: "{}" }));
    if (result.outcome !== "stored") throw new Error(result.outcome);
    const { seq, epoch, atMs } = result;
    const text = ["u1", seq, epoch, atMs, atMs + ttlMs, id, letters, "{}"].join("\t");
    await redis.xadd(keys.fallback("normal"), "*", "m", text, "n", "0");
    return id;
  }

  const take = (consumer = "w1", count = 10) => readFallback(scripts, source, consumer, count);

  return {
    ...store,
    source,
    enter,
    take,
    takeOne: async () => {
      const [entry] = await take();
      if (entry === undefined) throw new Error("nothing to take");
      return entry;
    },
    settle: (entry, settlement, more = {}) =>
      settleFallback(scripts, entry, settlement, { ...once, ...more }),
    promote: (limit = 100) => promoteRetries(scripts, keys, limit),
    queued: () => redis.xlen(keys.fallback("normal")),
    clear: async () => {
      await redis.config("SET", "maxmemory", "0");
      await store.clear();
    },
  };
}

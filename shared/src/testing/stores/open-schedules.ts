// Tests only: a store whose first partition is owned, with scheduled messages whose time has come.
// Guarantees: after `clear()` no key of an earlier test is left, and the partition is owned anew.
import { decodeInboxMessage } from "../../protocol/messages/stored-message.js";
import { readMessage, type FoundMessage } from "../../redis/inbox/read-message.js";
import {
  findDueSchedules,
  isOfTopic,
  promoteMessages,
  promotePublications,
  type PromoteRules,
  type Promoted,
} from "../../redis/schedules/promote-schedules.js";
import { MessageScheduler, type MessageToSchedule } from "../../redis/schedules/schedule-messages.js";
import { message, openStore, type OpenStore } from "../redis/open-store.js";

export interface OpenSchedules extends OpenStore {
  readonly scheduler: MessageScheduler;
  /** The fencing token of the first partition's owner. */
  readonly token: string;
  /**
   * Stores a message with a time ahead, then moves it to `agoMs` ago, as if that time had passed.
   * @returns its time, ms
   */
  schedulePast(parts: Partial<MessageToSchedule> & { readonly id: string }, agoMs?: number): Promise<number>;
  /** Promotes what is due, by `promoteRules` unless `more` says otherwise. */
  promoteDue(more?: Partial<PromoteRules>): Promise<readonly Promoted[]>;
  stateOf(id: string): Promise<FoundMessage["state"] | undefined>;
  /** The messages in the user's inbox. */
  idsIn(userId: string): Promise<string[]>;
  /** How many keys schedules still have: the partition's, and the recipient's ("u1" by default). */
  keysLeft(recipient?: string): Promise<number>;
}

const HOUR_MS = 3_600_000;

/** With room for everything. */
export const promoteRules: PromoteRules = {
  ackTimeoutMs: 10_000,
  inboxCap: 100,
  readyCap: 1_000,
  fallbackCap: 1_000,
  recordKeepMs: 25 * HOUR_MS,
  receiveLimit: 0,
  deadLettersCap: 100,
};

/** What makes a message one for the topic "news". */
export const news = {
  topic: "news",
  partition: 0,
  ttlMs: HOUR_MS,
  history: { size: 10, ageMs: HOUR_MS, bytes: 10_000 },
  record: { fingerprint: "f", attempt: "a" },
  from: "",
  data: `"hello"`,
} as const;

export async function openSchedules(): Promise<OpenSchedules> {
  const store = await openStore();
  const { redis, scripts, keys } = store;
  const scheduler = new MessageScheduler({ ...store, maxInFlight: 1, cap: 10_000 });
  let token = await store.own();

  async function schedulePast(
    parts: Partial<MessageToSchedule> & { readonly id: string },
    agoMs = 1_000,
  ): Promise<number> {
    const deliverAtMs = (await store.nowMs()) + HOUR_MS;
    await scheduler.schedule({ ...message(), ...parts, deliverAtMs });
    const record = (await redis.get(keys.record(parts.id))) ?? "";
    const [recipient = "", order = ""] = [record.split("\t")[4], record.split("\t")[7]?.split(" ")[2]];
    const movedMs = deliverAtMs - HOUR_MS - agoMs;
    const moved = record.split("\t");
    moved[3] = String(Number(moved[3]) - HOUR_MS - agoMs);
    moved[7] = `scheduled ${movedMs} ${order}`;
    await redis.set(keys.record(parts.id), moved.join("\t"));
    await redis.zadd(keys.scheduled, "XX", movedMs, `${order}${parts.id}\t${recipient}`);
    await redis.zadd(keys.schedulesOf(recipient), "XX", movedMs, `${order}${parts.id}`);
    return movedMs;
  }

  async function promoteDue(more: Partial<PromoteRules> = {}): Promise<readonly Promoted[]> {
    const { members } = await findDueSchedules(scripts, keys, 100);
    const results: Promoted[] = [];
    for (const [some, promote] of [
      [members.filter((one) => !isOfTopic(one)), promoteMessages],
      [members.filter(isOfTopic), promotePublications],
    ] as const) {
      if (some.length === 0) continue;
      const promotion = await promote(scripts, keys, token, { ...promoteRules, ...more }, some);
      if (typeof promotion === "string") throw new Error(promotion);
      results.push(...promotion.results);
    }
    return results;
  }

  return {
    ...store,
    scheduler,
    get token() {
      return token;
    },
    schedulePast,
    promoteDue,
    stateOf: async (id) => (await readMessage(scripts, keys, id))?.state,
    idsIn: async (userId) =>
      (await redis.xrange(keys.inbox(userId), "-", "+")).map(
        ([id, fields]) => decodeInboxMessage(Number.parseInt(id, 10), fields[1] ?? "").id,
      ),
    keysLeft: (recipient = "u1") => redis.exists(keys.scheduled, keys.schedulesOf(recipient)),
    clear: async () => {
      await store.clear();
      token = await store.own();
    },
  };
}

export function outcomes(results: readonly Promoted[]): string[] {
  return results.map(({ outcome }) => outcome);
}

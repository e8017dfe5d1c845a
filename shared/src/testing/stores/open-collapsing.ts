// Tests only: a store with messages of user "u1" that have collapse keys, what became of them, and their entries in the
// fallback.
import type { AcceptResult } from "../../redis/accept/accept-answers.js";
import type { MessageToAccept } from "../../redis/accept/accept-batch.js";
import { readFallback, type TakenEntry } from "../../redis/fallback/fallback-queue.js";
import type { Settlement } from "../../redis/fallback/settle-fallback.js";
import { ackUsers } from "../../redis/inbox/ack-users.js";
import { readInbox } from "../../redis/inbox/read-inbox.js";
import { readMessage } from "../../redis/inbox/read-message.js";
import { message, openStore, type OpenStore } from "../redis/open-store.js";

export interface OpenCollapsing extends OpenStore {
  accept(id: string, collapseKey?: string, more?: Partial<MessageToAccept>): Promise<AcceptResult>;
  /** The messages in the inbox, from behind that number. */
  inboxOf(after?: number): Promise<string[]>;
  /** A message's state, with the reason if it has expired for one. */
  endOf(id: string): Promise<string>;
  /** The user's hash. */
  user(): Promise<Record<string, string>>;
  ack(seq: number): Promise<void>;
  /** Puts a message into the fallback. @returns its entry, as a worker holds it */
  enter(id: string, seq: number, notification: string): Promise<TakenEntry>;
}

export const NOTIFICATION = '{"title":"t"}';

/** How a send may go, by its outcome. */
export const settlements: Readonly<Record<string, Settlement>> = {
  taken: { outcome: "taken", channel: "c" },
  dropped: { outcome: "dropped" },
  retry: { outcome: "retry", delayMs: 0 },
  failed: { outcome: "failed", cause: "rejected", reason: "no" },
};

export async function openCollapsing(): Promise<OpenCollapsing> {
  const store = await openStore();
  const { redis, scripts, keys } = store;
  const user = () => redis.hgetall(keys.user("u1"));

  async function inboxOf(after = 0): Promise<string[]> {
    const limits = { maxEntries: 1_000, maxBytes: 1e9 };
    return (await readInbox(scripts, keys, "u1", after, limits)).messages.map(({ id }) => id);
  }

  async function endOf(id: string): Promise<string> {
    const found = await readMessage(scripts, keys, id);
    const word = found?.record.end?.word;
    return `${found?.state ?? "unknown"}${found?.state === "expired" && word !== undefined ? ` ${word}` : ""}`;
  }

  async function ack(seq: number): Promise<void> {
    const { epoch = "" } = await user();
    await ackUsers(scripts, keys, [{ userId: "u1", epoch, seq }], 1_000);
  }

  async function enter(id: string, seq: number, notification: string): Promise<TakenEntry> {
    const { epoch = "" } = await user();
    const text = ["u1", seq, epoch, 1, 9e12, id, "on", notification].join("\t");
    await redis.xadd(keys.fallback("normal"), "*", "m", text, "n", "0");
    const [entry] = await readFallback(scripts, { keys, priority: "normal" }, "w", 1);
    if (entry === undefined) throw new Error("no entry");
    return entry;
  }

  return {
    ...store,
    accept: (id, collapseKey, more = {}) => store.accepter().accept(message({ id, collapseKey, ...more })),
    inboxOf,
    endOf,
    user,
    ack,
    enter,
  };
}

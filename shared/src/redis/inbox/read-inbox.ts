// push-node/catch-up, collect/user-routes, dispatch/expire-users -> here -> inbox/read-inbox.lua: a user's stored
// messages, page by page.
// Guarantees: ascending by seq; above `acked` only ended messages are missing. If another device acknowledged something
// that was trimmed before this reader had it, the page says so.
import { decodeInboxMessage, type InboxMessage } from "../../protocol/messages/stored-message.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface InboxPageRequest {
  readonly maxEntries: number;
  /** The page ends with the message that exceeds this. */
  readonly maxBytes: number;
  /** The reading connection: while it has more than a page to read, what it lacks is kept for it, see hold-history. */
  readonly reader?: { readonly connection: string; readonly epoch: string };
}

export interface InboxPage {
  /** Empty if there is nothing above `after`. */
  readonly messages: readonly InboxMessage[];
  /** Redis's clock at the read, ms: what has expired by then has ended. */
  readonly nowMs: number;
  /** Something between `after` and this page was acknowledged and trimmed. */
  readonly isTrimmed: boolean;
  /** The reader is registered as behind. */
  readonly isHeld: boolean;
}

/** @param after exclusive: the page begins above this seq */
export async function readInbox(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
  after: number,
  { maxEntries, maxBytes, reader }: InboxPageRequest,
): Promise<InboxPage> {
  const [now = "", isTrimmed, isHeld, ...flat] = await scripts.runForList(
    "read-inbox.v2",
    [keys.inbox(userId), keys.user(userId)],
    [after, maxEntries, maxBytes, reader?.connection ?? "", reader?.epoch ?? ""],
  );
  const messages: InboxMessage[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    messages.push(decodeInboxMessage(Number(flat[i]), flat[i + 1] ?? ""));
  }
  return { messages, nowMs: Number(now), isTrimmed: isTrimmed === "1", isHeld: isHeld === "1" };
}

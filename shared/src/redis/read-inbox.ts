// push-node/catch-up, collect/user-routes -> here -> scripts/read-inbox: a user's stored messages, page by page.
// Guarantees: ascending by seq, without holes above `acked` (what is acked may be trimmed).
import { decodeInboxMessage, type InboxMessage } from "../protocol/stored-message.js";
import type { PartitionKeys } from "./keys.js";
import type { ScriptRunner } from "./script-runner.js";

/**
 * @param after the page begins above this seq
 * @param maxBytes the page ends with the message that passes this
 * @returns empty where there is nothing above `after`
 */
export async function readInbox(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
  after: number,
  { maxEntries, maxBytes }: { readonly maxEntries: number; readonly maxBytes: number },
): Promise<InboxMessage[]> {
  const flat = await scripts.runForList("read-inbox.v1", [keys.inbox(userId)], [after, maxEntries, maxBytes]);
  const page: InboxMessage[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    page.push(decodeInboxMessage(Number(flat[i]), flat[i + 1] ?? ""));
  }
  return page;
}

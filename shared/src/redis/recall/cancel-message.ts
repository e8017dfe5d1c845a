// collect/cancel-messages -> here -> recall/cancel-message.lua, schedules/cancel-schedule: cancels a stored message.
// Guarantees: one step decides. The answer stays true, except that a message that was pushed or has failed may still be
// delivered. The same step tells the nodes that hold its user. May be repeated.
import { decodeMessageRecord } from "../../protocol/messages/stored-message.js";
import { NO_SEQ } from "../../protocol/messages/scheduled-message.js";
import { topicOfRecipient } from "../../protocol/topics/topic-name.js";
import type { RunScript } from "../accept/confirmed-scripts.js";
import { type MessageState, readMessage } from "../inbox/read-message.js";
import type { PartitionKeys } from "../keys.js";
import { cancelSchedule } from "../schedules/cancel-schedule.js";
import { eventKeys } from "../scripts/event-writing.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export type CancelResult =
  /** By this call or an earlier one. */
  | { readonly outcome: "cancelled" }
  | { readonly outcome: "unknown" }
  /** Nothing was changed; this is the message's state. */
  | {
      readonly outcome: "refused";
      readonly state: Exclude<MessageState, "cancelled" | "scheduled"> | "published";
    }
  /** Nothing was changed: it is queued, and a fallback channel is being asked to take it. */
  | { readonly outcome: "pushing" };

/** Races with a record or an expiry each cost one more look. */
const MAX_LOOKS = 5;

/**
 * @param call runs the script; its answer must be confirmed if more than memory is required
 * @param scripts for the reads before and after
 */
export async function cancelMessage(
  call: RunScript,
  scripts: ScriptRunner,
  keys: PartitionKeys,
  id: string,
): Promise<CancelResult> {
  for (let look = 0; look < MAX_LOOKS; look++) {
    const record = await scripts.redis.get(keys.record(id));
    if (record === null) return { outcome: "unknown" };
    const { userId, seq } = decodeMessageRecord(record);
    if (seq === NO_SEQ) {
      const result = await cancelUnnumbered(call, scripts, keys, userId, id);
      if (result === "changed") continue;
      return result;
    }
    if (topicOfRecipient(userId) !== undefined) return { outcome: "refused", state: "published" };
    const answer = await call.run(
      "cancel-message.v2",
      [
        keys.record(id),
        keys.user(userId),
        keys.inbox(userId),
        keys.routes(userId),
        keys.sending(id),
        keys.deviceSends(id),
        ...eventKeys(keys),
      ],
      [userId, id, keys.channel, call.events.argument("message.cancelled")],
    );
    switch (answer) {
      case "cancelled":
        scripts.ends.count("cancelled", 1);
        return { outcome: "cancelled" };
      case "already":
        return { outcome: "cancelled" };
      case "unknown":
      case "pushing":
        return { outcome: answer };
      case "delivered":
      case "pushed":
      case "failed":
      case "expired":
        return { outcome: "refused", state: answer };
      case "over":
        // Writes its end, or finds that it was acknowledged in time.
        await readMessage(scripts, keys, id);
        break;
      case "changed":
      // Its user was erased meanwhile, and the id was scheduled anew.
      case "scheduled":
        break;
      default:
        throw new Error(`cancel-message answered ${JSON.stringify(answer)}`);
    }
  }
  throw new Error("the message changes with every look");
}

/** For a message that waits for its time, or ended before it got a number. */
async function cancelUnnumbered(
  call: RunScript,
  scripts: ScriptRunner,
  keys: PartitionKeys,
  recipient: string,
  id: string,
): Promise<CancelResult | "changed"> {
  if ((await cancelSchedule(call, keys, recipient, id)) === "cancelled") {
    scripts.ends.count("cancelled", 1);
    return { outcome: "cancelled" };
  }
  const record = await scripts.redis.get(keys.record(id));
  if (record === null) return { outcome: "unknown" };
  const { seq, end } = decodeMessageRecord(record);
  if (seq !== NO_SEQ || end === undefined) return "changed";
  return end.state === "cancelled" ? { outcome: "cancelled" } : { outcome: "refused", state: end.state };
}

// routes/message-routes -> here -> shared/redis/inbox/read-circumstances: the facts that show a person why a message is
// in its state.
// Guarantees: reads only. Unknown facts are absent, never guessed. The facts are read a moment after the state.
import { formatTime } from "@petrel/shared/kernel/http/answer-time";
import { splitNotification } from "@petrel/shared/protocol/messages/notification-text";
import type { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { readPausedChannels } from "@petrel/shared/redis/fallback/paused-channels-store";
import { readCircumstances } from "@petrel/shared/redis/inbox/read-circumstances";
import { type FoundMessage, isUnnumbered } from "@petrel/shared/redis/inbox/read-message";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { readConnections } from "@petrel/shared/redis/routes/route-store";
import { readPutOff } from "@petrel/shared/redis/schedules/read-put-off";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Explanation } from "../contract/explanation-schema.js";

export interface ExplainDeps {
  readonly scripts: ScriptRunner;
  readonly devices: Pick<DevicesStore, "list">;
  /** The most messages that one user may get in the window of that limit; 0 means no limit. */
  readonly receiveLimit: number;
}

export async function explainMessage(
  deps: ExplainDeps,
  keys: PartitionKeys,
  id: string,
  found: FoundMessage,
): Promise<Explanation> {
  if (isUnnumbered(found)) return explainWaiting(deps, keys, id, found);
  if (found.state === "published") return { at: formatTime(found.record.atMs), notSent: [] };
  const { userId, seq } = found.record;
  const [circumstances, connections, devices, paused] = await Promise.all([
    readCircumstances(deps.scripts, keys, { id, userId, seq }),
    readConnections(deps.scripts, keys, userId),
    deps.devices.list(userId),
    readPausedChannels(deps.scripts.redis),
  ]);
  const { nowMs, cursors, entry, nextLookMs, isSending, skips } = circumstances;
  const isOpen = found.state === "queued";
  return {
    at: formatTime(nowMs),
    ...(cursors === undefined || !found.isOfUser
      ? {}
      : {
          user: {
            connections: connections.map(({ node, connectedAtMs }) => ({
              node,
              connectedAt: formatTime(connectedAtMs),
            })),
            devices: devices.map(({ platform }) => platform),
            seq: cursors.seq,
            acked: cursors.acked,
            ...(cursors.ackedAtMs === undefined ? {} : { ackedAt: formatTime(cursors.ackedAtMs) }),
          },
        }),
    ...(entry === undefined ? {} : { policy: describePolicy(entry) }),
    ...(isOpen && cursors !== undefined ? { nudged: cursors.nudged >= seq } : {}),
    ...(isOpen && nextLookMs !== undefined ? { nextLookAt: formatTime(nextLookMs) } : {}),
    ...(isSending ? { sending: true } : {}),
    ...(isOpen && paused.size > 0 ? { pausedChannels: [...paused.keys()] } : {}),
    notSent: skips.map(({ atMs, state, channel }) => ({
      at: formatTime(atMs),
      state,
      ...(channel === undefined ? {} : { channel }),
    })),
  };
}

function describePolicy({
  fallback,
  priority,
  notification: text,
}: {
  readonly fallback: string;
  readonly priority: string;
  readonly notification: string;
}): NonNullable<Explanation["policy"]> {
  const { channels, collapseKey } = splitNotification(text);
  return {
    fallback,
    priority,
    notification: text !== "",
    ...(channels === undefined ? {} : { channels: [...channels] }),
    ...(collapseKey === undefined ? {} : { collapseKey }),
  };
}

/** For a message that waits for its time, or ended before it got a number. */
async function explainWaiting(
  { scripts, receiveLimit }: ExplainDeps,
  keys: PartitionKeys,
  id: string,
  { state, record }: FoundMessage,
): Promise<Explanation> {
  const { userId: recipient, deliverAtMs = Infinity } = record;
  const { nowMs, nextTryMs, receivedLately } = await readPutOff(scripts, keys, { id, recipient });
  const isPutOff =
    state === "scheduled" && nextTryMs !== undefined && nextTryMs > deliverAtMs && deliverAtMs <= nowMs;
  const userLimit = receiveLimit > 0 && receivedLately >= receiveLimit;
  return {
    at: formatTime(nowMs),
    notSent: [],
    ...(isPutOff ? { putOff: { until: formatTime(nextTryMs), userLimit } } : {}),
  };
}

// fall-back -> here -> settle-entry: passes an entry on to the next channel that may reach the user, for its own
// workers.
// Guarantees: if there is none, the message fails with the first channel's failure, or stays queued.
import { describeError } from "@petrel/shared/kernel/errors";
import type { AttemptNote } from "@petrel/shared/protocol/fallback/fallback-attempt";
import type { FallbackEntry, FallbackFailure } from "@petrel/shared/protocol/fallback/fallback-entry";
import type { FallbackChannel } from "../channels/fallback-channel.js";
import type { FallBackOptions, HeldEntry, FallBackResult } from "./held-entry.js";
import { type Done, drop, settle } from "./settle-entry.js";

/**
 * Passes the entry on to the next channel that may reach the user, whose own workers will ask it. If there is none, the
 * message fails with the first channel's failure, or stays queued.
 * @param after the channel that could not reach the user; undefined if none was asked yet
 */
export async function passOn(
  options: FallBackOptions,
  held: HeldEntry,
  after: FallbackChannel | undefined,
  failure: FallbackFailure | undefined,
  done: Done,
): Promise<FallBackResult> {
  const { channels, metrics } = options;
  const { keys, priority, message } = held.entry;
  const next = channels
    .slice(after === undefined ? 0 : channels.indexOf(after) + 1)
    .filter((channel) => mayAsk(message, channel));
  const platforms = await platformsOf(options, message.userId, next);
  if (platforms === undefined) return "left";
  const notes: AttemptNote[] = [...(done.notes ?? [])];
  for (const { name, platform } of next) {
    if (platform === undefined || platforms.has(platform)) {
      const result = await settle(
        options,
        held,
        { outcome: "passed", channel: name, failure },
        { ...done, notes },
      );
      if (result === "settled") options.onPassed?.(name, keys, priority);
      return result;
    }
    metrics.sent(name, "no-device");
    notes.push({ channel: name, outcome: "no-device" });
  }
  notes.push(...notesOfUnconfigured(message, channels));
  if (failure !== undefined) {
    return settle(options, held, { outcome: "failed", ...failure }, { ...done, notes });
  }
  return drop(options, held, "unreachable", { ...done, notes });
}

/** A producer that names a channel learns why it was not asked. */
function notesOfUnconfigured(
  { channels: named = [] }: FallbackEntry,
  configured: readonly FallbackChannel[],
): AttemptNote[] {
  return named
    .filter((wanted) => configured.every(({ name }) => name !== wanted))
    .map((channel) => ({ channel, outcome: "no-device", reason: "this channel is not configured" }));
}

/** @returns undefined if Redis does not answer */
async function platformsOf(
  { devices, logger }: FallBackOptions,
  userId: string,
  channels: readonly FallbackChannel[],
): Promise<ReadonlySet<string> | undefined> {
  if (channels.every(({ platform }) => platform === undefined)) return new Set();
  try {
    return new Set((await devices.list(userId)).map(({ platform }) => platform));
  } catch (error) {
    logger.debug({ reason: describeError(error) }, "devices not read: fallback entry returned to its queue");
    return undefined;
  }
}

export function mayAsk({ channels }: FallbackEntry, { name }: FallbackChannel): boolean {
  return channels === undefined || channels.includes(name);
}

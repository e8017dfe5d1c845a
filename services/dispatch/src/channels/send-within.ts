// apns-channel, web-channel, wechat-channel -> here: limits the time of a channel's attempt.
// Guarantees: faults are answers, as the port requires: it rejects only if the process must end.
import { setMaxListeners } from "node:events";
import { describeError } from "@petrel/shared/kernel/errors";
import type { ChannelAnswer } from "./fallback-channel.js";

/**
 * @param timeoutMs for the whole attempt
 * @param ending aborted when the process must end
 * @param send gets a signal that aborts in either case
 * @throws the reason of `ending`, if that is aborted
 */
export async function sendWithin(
  timeoutMs: number,
  ending: AbortSignal,
  send: (either: AbortSignal) => Promise<ChannelAnswer>,
): Promise<ChannelAnswer> {
  ending.throwIfAborted();
  const timeout = AbortSignal.timeout(timeoutMs);
  const either = AbortSignal.any([ending, timeout]);
  // Each device's send listens to it, and so does each wait for Redis.
  setMaxListeners(0, either);
  try {
    return await send(either);
  } catch (error) {
    if (ending.aborted) throw error;
    const reason = timeout.aborted ? `no answer within ${timeoutMs} ms` : describeError(error);
    return { outcome: "retry", reason };
  }
}

// fall-back -> here -> channels/fallback-channel: one attempt to reach a user by one channel.
// Guarantees: an answer within the channel's own limit. If the channel throws or hangs, that counts as a fault that may
// pass.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { traceIdOf } from "@petrel/shared/kernel/tracing/tracing";
import type { AttemptNote } from "@petrel/shared/protocol/fallback/fallback-attempt";
import type { ChannelAnswer, FallbackChannel, FallbackJob } from "../channels/fallback-channel.js";

/** The notes for a message's timeline. */
export function notesOf(channel: string, answer: ChannelAnswer): AttemptNote[] {
  if (answer.notes !== undefined) return answer.notes.map((note) => ({ ...note, channel }));
  const { outcome } = answer;
  return [{ channel, outcome, ...("reason" in answer ? { reason: answer.reason } : {}) }];
}

/**
 * @param signal aborted when the process must end
 * @throws only if the signal is aborted
 */
export async function askChannel(
  channel: FallbackChannel,
  job: FallbackJob,
  signal: AbortSignal,
  logger: Logger,
): Promise<ChannelAnswer> {
  signal.throwIfAborted();
  // A controller for this send alone: the process's own signal would collect a listener per send.
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<ChannelAnswer>((resolve) => {
    timer = setTimeout(() => {
      resolve({ outcome: "retry", reason: `no answer within ${channel.longestSendMs} ms` });
      controller.abort();
    }, channel.longestSendMs);
  });
  const abort = (): void => controller.abort(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([channel.send(job, controller.signal), tooLate]);
  } catch (error) {
    if (signal.aborted) throw error;
    logger.error(
      { err: error, channel: channel.name, messageId: job.id, ...traceIdOf(job.trace) },
      "fallback channel failed",
    );
    return { outcome: "retry", reason: `fault: ${describeError(error)}` };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

// fall-back -> here -> channels/fallback-channel: one attempt to reach a user, by the first channel that can.
// Guarantees: an answer within the channels' own limits, whatever a channel does: one that throws or hangs counts as a
// fault that may pass. No channel is asked before the send was noted, so that nobody takes the message back meanwhile.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { traceIdOf } from "@petrel/shared/kernel/tracing/tracing";
import type { AttemptNote } from "@petrel/shared/protocol/fallback/fallback-attempt";
import type {
  ChannelAnswer,
  ChannelOutcome,
  FallbackChannel,
  FallbackJob,
} from "../channels/fallback-channel.js";
import type { FallbackMetrics } from "./fallback-metrics.js";

export interface SendDeps {
  /** In the order in which they are asked. */
  readonly channels: readonly FallbackChannel[];
  readonly metrics: Pick<FallbackMetrics, "sent">;
  readonly logger: Logger;
}

/** `ended`: the message has ended, and must not be sent · `late`: there is no time left for a send */
export type Refusal = "ended" | "late";

export interface SentJob {
  /** Of the last channel that was asked; or why the next one was not. */
  readonly result: ChannelOutcome | { readonly outcome: Refusal };
  /** The channel that answered last; undefined where there is none at all. */
  readonly channel: string | undefined;
  readonly notes: readonly AttemptNote[];
}

/**
 * @param begin asked before each channel is; with how long those before it may have taken, ms
 * @param signal aborted when the process must end
 * @throws what `begin` throws; else only where the signal is aborted
 */
export async function sendByChannels(
  { channels, metrics, logger }: SendDeps,
  job: FallbackJob,
  begin: (spentMs: number) => Promise<"go" | Refusal>,
  signal: AbortSignal,
): Promise<SentJob> {
  const notes: AttemptNote[] = [];
  let result: SentJob["result"] = { outcome: "no-device" };
  let last: string | undefined;
  let spentMs = 0;
  for (const channel of channels) {
    const word = await begin(spentMs);
    spentMs += channel.longestSendMs;
    if (word !== "go") return { result: { outcome: word }, channel: last, notes };
    const answer = await sendOnce(channel, job, signal, logger);
    metrics.sent(channel.name, answer.outcome);
    notes.push(...notesOf(channel.name, answer));
    result = answer;
    last = channel.name;
    if (answer.outcome !== "no-device") break;
  }
  return { result, channel: last, notes };
}

function notesOf(channel: string, answer: ChannelAnswer): AttemptNote[] {
  if (answer.notes !== undefined) return answer.notes.map((note) => ({ ...note, channel }));
  const { outcome } = answer;
  return [{ channel, outcome, ...("reason" in answer ? { reason: answer.reason } : {}) }];
}

async function sendOnce(
  channel: FallbackChannel,
  job: FallbackJob,
  signal: AbortSignal,
  logger: Logger,
): Promise<ChannelAnswer> {
  signal.throwIfAborted();
  // For this send alone: the process' own signal would gather a listener with each.
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

// fallback-workers -> here -> recall/begin-send, send-by-channels, fallback/settle-fallback: one entry of the fallback,
// from the look at its message's state to the outcome.
// Guarantees: the state is read just before a send: what has ended is not sent, what has expired gets that end. From the
// step that says that it has not, until the attempt is settled, nobody takes the message back. Nothing is settled before
// a channel has answered; what is not settled stays for another worker.
import { randomBytes } from "node:crypto";
import { backoffMs, type BackoffOptions } from "@petrel/shared/kernel/backoff";
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import { pause } from "@petrel/shared/kernel/pause";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { messageAttributes, type Span, traceIdOf, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { AttemptNote } from "@petrel/shared/protocol/fallback/fallback-attempt";
import { isMessageId, isStoredUserId } from "@petrel/shared/protocol/messages/ids";
import { lineageOf } from "@petrel/shared/protocol/messages/stored-message";
import { isConnectionError } from "@petrel/shared/redis/connection/connect";
import type { TakenEntry } from "@petrel/shared/redis/fallback/fallback-queue";
import { keepRecords } from "@petrel/shared/redis/inbox/keep-records";
import { readMessage } from "@petrel/shared/redis/inbox/read-message";
import { beginSend } from "@petrel/shared/redis/recall/begin-send";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { type Settlement, settleFallback } from "@petrel/shared/redis/fallback/settle-fallback";
import type { FallbackChannel } from "../channels/fallback-channel.js";
import type { DropReason, FallbackMetrics } from "./fallback-metrics.js";
import { sendByChannels } from "./send-by-channels.js";
import { fallbackParentOf } from "../offer/trace-offers.js";

export interface FallBackOptions {
  readonly scripts: ScriptRunner;
  readonly channels: readonly FallbackChannel[];
  readonly metrics: FallbackMetrics;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Between attempts. */
  readonly retry: BackoffOptions;
  readonly maxAttempts: number;
  /** After how long without a settlement others take an entry over; ms. So long a send is noted. */
  readonly claimMs: number;
  /** Of each partition and cause. */
  readonly deadLettersCap: number;
  /** See inbox/keep-records. */
  readonly recordKeepMs: number;
  readonly tracing: Tracing;
}

export interface HeldEntry {
  readonly entry: TakenEntry;
  /** Redis' clock, ms: an expiry is noticed by it. */
  readonly serverNowMs: () => number;
  /** Until then a send may begin, so that it ends before others take the entry for abandoned; monotonic ms. */
  readonly sendBeforeMs: number;
  /** Whether sends may still begin. */
  readonly mayBegin: () => boolean;
  /** Aborted when everything must end. */
  readonly signal: AbortSignal;
  /** Where its message is sampled: of this look at it. */
  readonly span?: Span;
}

/** `left`: not settled; it is to be given to another worker. */
export type FallBackResult = "settled" | "left";

const ASK_AGAIN = { baseMs: 50, capMs: 1_000 } as const;

export async function fallBack(options: FallBackOptions, held: HeldEntry): Promise<FallBackResult> {
  const { message, keys, attempts } = held.entry;
  const span =
    message.trace === undefined
      ? undefined
      : options.tracing.beginSpan("fall back", fallbackParentOf(message), {
          kind: "consumer",
          attributes: {
            ...messageAttributes({ ...message, partition: keys.partition }),
            "messaging.operation.type": "process",
            "petrel.attempt": attempts + 1,
          },
        });
  if (span === undefined) return attemptFallback(options, held);
  try {
    const result = await attemptFallback(options, { ...held, span });
    if (result === "left") span.set({ "petrel.outcome": result });
    return result;
  } catch (error) {
    span.fail(describeError(error));
    throw error;
  } finally {
    span.end();
  }
}

async function attemptFallback(options: FallBackOptions, held: HeldEntry): Promise<FallBackResult> {
  const { entry } = held;
  const { message, attempts: before } = entry;
  const drop = async (reason: DropReason): Promise<FallBackResult> => {
    const result = await settle(options, held, { outcome: "dropped" }, before, []);
    if (result === "settled") options.metrics.dropped(reason);
    return result;
  };
  if (!isMessageId(message.id) || !isStoredUserId(message.userId) || !Number.isFinite(message.expiresAtMs)) {
    const { entryId, keys } = entry;
    options.logger.error({ partition: keys.partition, entryId }, "fallback entry cannot be read: dropped");
    return drop("malformed");
  }
  const state = await readState(options, held);
  if (state === undefined) return "left";
  if (state !== "wanted") return drop(state);
  if (message.notification === "" || options.channels.length === 0) return drop("unreachable");
  if (before >= options.maxAttempts) {
    // A retry would have failed at its last attempt: here workers died while they held it.
    const reason = `${before} workers took it and did not say what became of it`;
    return settle(options, held, { outcome: "failed", cause: "attempts-exhausted", reason }, before, []);
  }
  if (!held.mayBegin() || options.clock.monotonicMs() > held.sendBeforeMs) return "left";
  return send(options, held, before + 1);
}

async function send(options: FallBackOptions, held: HeldEntry, attempt: number): Promise<FallBackResult> {
  const { id, userId, seq, epoch, atMs, expiresAtMs, priority, notification, collapseKey } =
    held.entry.message;
  const sendName = randomBytes(9).toString("base64url");
  let sent;
  try {
    sent = await sendByChannels(
      options,
      {
        id,
        userId,
        seq,
        epoch,
        acceptedAtMs: atMs,
        expiresAtMs,
        serverNowMs: held.serverNowMs,
        priority,
        notification,
        collapseKey,
        attempt,
        trace: held.span?.context,
      },
      (spentMs) => noteSend(options, held, sendName, spentMs),
      held.signal,
    );
  } catch (error) {
    if (held.signal.aborted) return "left";
    throw error;
  }
  const { result, channel = "", notes } = sent;
  const settleSent = (settlement: Settlement): Promise<FallBackResult> =>
    settle(options, held, settlement, attempt, notes, sendName);
  switch (result.outcome) {
    case "taken":
      return settleSent({ outcome: "taken", channel });
    case "ended": {
      const state = await readState(options, held);
      // (Still wanted: its record was being made again.)
      if (state === undefined || state === "wanted") return "left";
      const outcome = await settleSent({ outcome: "dropped" });
      if (outcome === "settled") options.metrics.dropped(state);
      return outcome;
    }
    case "late":
      return "left";
    case "no-device":
    case "superseded": {
      const outcome = await settleSent({ outcome: "dropped" });
      const reason = result.outcome === "superseded" ? "superseded" : "unreachable";
      if (outcome === "settled") options.metrics.dropped(reason);
      return outcome;
    }
    case "failed":
      return settleSent(result);
    case "retry": {
      if (attempt >= options.maxAttempts) {
        const { reason } = result;
        return settleSent({ outcome: "failed", cause: "attempts-exhausted", reason });
      }
      const delayMs = Math.max(result.afterMs ?? 0, backoffMs(attempt - 1, options.retry));
      return settleSent({ outcome: "retry", delayMs });
    }
  }
}

/** Just before a channel is asked. */
async function noteSend(
  { scripts, clock, claimMs }: FallBackOptions,
  { entry, sendBeforeMs, signal }: HeldEntry,
  name: string,
  spentMs: number,
): Promise<"go" | "ended" | "late"> {
  const isInTime = (): boolean => clock.monotonicMs() <= sendBeforeMs + spentMs;
  const noted = await askUntil(
    () => beginSend(scripts, entry.keys, entry.message, { name, keepMs: claimMs }),
    () => isInTime() && !signal.aborted,
  );
  if (noted === undefined) return "late";
  if (!noted.answer) return "ended";
  // The note must outlast the send.
  return isInTime() ? "go" : "late";
}

type MessageEnd = Exclude<DropReason, "unreachable" | "superseded" | "malformed">;

/** @returns undefined where Redis does not answer before the entry must be left to others */
async function readState(
  { scripts, clock, recordKeepMs }: FallBackOptions,
  { entry, serverNowMs, sendBeforeMs, mayBegin }: HeldEntry,
): Promise<MessageEnd | "wanted" | undefined> {
  const found = await askUntil(
    async () => {
      const { keys, message } = entry;
      const read = (): ReturnType<typeof readMessage> =>
        readMessage(scripts, keys, message.id, serverNowMs());
      const atFirst = await read();
      if (atFirst !== undefined) return atFirst;
      // Nobody has looked for a day, and its record is gone: if it is still open, the record is made again.
      await keepRecords(scripts, keys, [{ userId: message.userId, minAgeMs: 0 }], recordKeepMs);
      return read();
    },
    () => mayBegin() && clock.monotonicMs() <= sendBeforeMs,
  );
  if (found === undefined) return undefined;
  if (found.answer === undefined) return "forgotten";
  const { state, record, isOfUser } = found.answer;
  // Its user was erased; the record may belong to a message sent since under the same id.
  const { seq, epoch } = entry.message;
  const isIts = record.seq === seq && lineageOf(record.epoch) === lineageOf(epoch);
  if (!isOfUser || !isIts) return "forgotten";
  if (state === "queued") return "wanted";
  // `always` asks for both: an acknowledgement does not replace the push; an end or the expiry does.
  const { fallback, expiresAtMs } = entry.message;
  const isBoth = fallback === "always" && record.end === undefined && expiresAtMs > serverNowMs();
  return state === "delivered" && isBoth ? "wanted" : state;
}

/** Asks until Redis answers: a message that was sent and not settled would be sent again. */
async function settle(
  { scripts, metrics, logger, deadLettersCap }: FallBackOptions,
  { entry, signal, span }: HeldEntry,
  settlement: Settlement,
  attempts: number,
  notes: readonly AttemptNote[],
  sendName?: string,
): Promise<FallBackResult> {
  const settled = await askUntil(
    () => settleFallback(scripts, entry, settlement, { attempts, notes, deadLettersCap, sendName }),
    () => !signal.aborted,
  );
  span?.set({ "petrel.outcome": settlement.outcome });
  if (settlement.outcome === "taken") span?.set({ "petrel.channel": settlement.channel });
  if (settlement.outcome === "failed") span?.fail(`${settlement.cause}: ${settlement.reason}`);
  if (settled === undefined) return "left";
  const { outcome, evicted } = settled.answer;
  if (settlement.outcome === "failed" && outcome === "settled") {
    const { cause, reason } = settlement;
    metrics.deadLetter(cause, evicted);
    const { id, trace } = entry.message;
    logger.warn(
      { messageId: id, ...traceIdOf(trace), cause, reason, attempts },
      "fallback failed: a dead letter",
    );
  }
  return "settled";
}

/** @returns undefined where it had to be given up without an answer */
async function askUntil<T>(
  ask: () => Promise<T>,
  goesOn: () => boolean,
): Promise<{ readonly answer: T } | undefined> {
  for (let attempt = 0; ; attempt++) {
    try {
      return { answer: await ask() };
    } catch (error) {
      if (!isConnectionError(error)) throw new Error(describeError(error), { cause: error });
    }
    await pause(10 + backoffMs(attempt, ASK_AGAIN));
    if (!goesOn()) return undefined;
  }
}

// fallback-workers -> here -> recall/begin-send, ask-channel, fallback/settle-fallback: one entry of the fallback, from
// reading its message's state to the outcome, which may be that the next channel is asked.
// Guarantees: the state is read just before a send: a message that has ended is not sent, and an expired one gets that
// end. From that step until the attempt is settled, nobody can recall the message. Nothing is settled before a channel
// has answered; what is not settled stays for another worker.
import { randomBytes } from "node:crypto";
import { backoffMs, type BackoffOptions } from "@petrel/shared/kernel/backoff";
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import { pause } from "@petrel/shared/kernel/pause";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { messageAttributes, type Span, traceIdOf, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { AttemptNote } from "@petrel/shared/protocol/fallback/fallback-attempt";
import type { FallbackEntry, FallbackFailure } from "@petrel/shared/protocol/fallback/fallback-entry";
import { skipStates } from "@petrel/shared/protocol/fallback/fallback-skip";
import { isMessageId, isStoredUserId } from "@petrel/shared/protocol/messages/ids";
import { lineageOf, type Priority } from "@petrel/shared/protocol/messages/stored-message";
import { isConnectionError } from "@petrel/shared/redis/connection/connect";
import type { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import type { TakenEntry } from "@petrel/shared/redis/fallback/fallback-queue";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { keepRecords } from "@petrel/shared/redis/inbox/keep-records";
import { readMessage } from "@petrel/shared/redis/inbox/read-message";
import { beginSend } from "@petrel/shared/redis/recall/begin-send";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { type Settlement, settleFallback } from "@petrel/shared/redis/fallback/settle-fallback";
import type { FallbackChannel, FallbackJob } from "../channels/fallback-channel.js";
import type { DropReason, FallbackMetrics } from "./fallback-metrics.js";
import { askChannel, notesOf } from "./ask-channel.js";
import { fallbackParentOf } from "../offer/trace-offers.js";

export interface FallBackOptions {
  readonly scripts: ScriptRunner;
  /** All channels, in the order in which they are asked. */
  readonly channels: readonly FallbackChannel[];
  /** The channel that is asked here; absent: entries are only passed on to the first suitable channel. */
  readonly channel?: string | undefined;
  /** Tells which channels cannot reach a user. */
  readonly devices: Pick<DevicesStore, "list">;
  /** An entry was passed on to this channel's queue. */
  readonly onPassed?: (channel: string, keys: PartitionKeys, priority: Priority) => void;
  readonly metrics: FallbackMetrics;
  readonly logger: Logger;
  readonly clock: Clock;
  /** The backoff between attempts. */
  readonly retry: BackoffOptions;
  readonly maxAttempts: number;
  /** How long an entry may go unsettled before another worker takes it over; ms. The note of a send lasts as long. */
  readonly claimMs: number;
  /** The most dead letters per partition and cause. */
  readonly deadLettersCap: number;
  /** See inbox/keep-records. */
  readonly recordKeepMs: number;
  readonly tracing: Tracing;
}

export interface HeldEntry {
  readonly entry: TakenEntry;
  /** Redis's clock, ms: decides whether a message has expired. */
  readonly serverNowMs: () => number;
  /** The latest start of a send, so that it ends before others take the entry for abandoned; monotonic ms. */
  readonly sendBeforeMs: number;
  /** Whether sends may still begin. */
  readonly mayBegin: () => boolean;
  /** Aborted when everything must end. */
  readonly signal: AbortSignal;
  /** The span of this attempt, if the message is sampled. */
  readonly span?: Span;
}

/** `left`: not settled; another worker must get it. */
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
  if (!isMessageId(message.id) || !isStoredUserId(message.userId) || !Number.isFinite(message.expiresAtMs)) {
    const { entryId, keys } = entry;
    options.logger.error({ partition: keys.partition, entryId }, "fallback entry cannot be read: dropped");
    return drop(options, held, "malformed", { attempt: before });
  }
  const state = await readState(options, held);
  if (state === undefined) return "left";
  if (state !== "wanted") return drop(options, held, state, { attempt: before });
  if (message.notification === "") return drop(options, held, "unreachable", { attempt: before });
  const channel = options.channels.find(({ name }) => name === options.channel);
  if (channel === undefined || !mayAsk(message, channel)) {
    return passOn(options, held, undefined, message.failure, { attempt: before });
  }
  if (before >= options.maxAttempts) {
    // A retry would have been passed on at its last attempt, so here workers died while they held the entry.
    const reason = `${before} workers took it and did not say what became of it`;
    return passOn(options, held, channel, failureOf(message, { cause: "attempts-exhausted", reason }), {
      attempt: before,
    });
  }
  if (!held.mayBegin() || options.clock.monotonicMs() > held.sendBeforeMs) return "left";
  return send(options, held, channel, before + 1);
}

async function send(
  options: FallBackOptions,
  held: HeldEntry,
  channel: FallbackChannel,
  attempt: number,
): Promise<FallBackResult> {
  const { message } = held.entry;
  const sendName = randomBytes(9).toString("base64url");
  const word = await noteSend(options, held, sendName);
  if (word === "late") return "left";
  if (word === "ended") {
    const state = await readState(options, held);
    // (Still wanted: its record was just being restored.)
    if (state === undefined || state === "wanted") return "left";
    return drop(options, held, state, { attempt });
  }
  let answer;
  try {
    const job = jobOf(message, attempt, held);
    answer = await askChannel(channel, job, held.signal, options.logger);
  } catch (error) {
    if (held.signal.aborted) return "left";
    throw error;
  }
  options.metrics.sent(channel.name, answer.outcome);
  const done = { attempt, notes: notesOf(channel.name, answer), sendName };
  switch (answer.outcome) {
    case "taken":
      return settle(options, held, { outcome: "taken", channel: channel.name }, done);
    case "superseded":
      return drop(options, held, "superseded", done);
    case "no-device":
      return passOn(options, held, channel, message.failure, done);
    case "failed":
      return passOn(options, held, channel, failureOf(message, answer), done);
    case "retry": {
      const { reason, afterMs = 0 } = answer;
      if (attempt >= options.maxAttempts) {
        const failure = failureOf(message, { cause: "attempts-exhausted", reason });
        return passOn(options, held, channel, failure, done);
      }
      const delayMs = Math.max(afterMs, backoffMs(attempt - 1, options.retry));
      return settle(options, held, { outcome: "retry", delayMs }, done);
    }
  }
}

/** The result of an attempt besides its outcome. */
interface Done {
  /** Attempts so far, including this one. */
  readonly attempt: number;
  readonly notes?: readonly AttemptNote[];
  /** Under which name the send was noted. */
  readonly sendName?: string;
}

/**
 * Passes the entry on to the next channel that may reach the user, whose own workers will ask it. If there is none, the
 * message fails with the first channel's failure, or stays queued.
 * @param after the channel that could not reach the user; undefined if none was asked yet
 */
async function passOn(
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
    logger.debug({ reason: describeError(error) }, "devices not read: the fallback entry is given back");
    return undefined;
  }
}

function mayAsk({ channels }: FallbackEntry, { name }: FallbackChannel): boolean {
  return channels === undefined || channels.includes(name);
}

/** The failure of the first channel counts, because that one was meant to have the message. */
function failureOf(message: FallbackEntry, { cause, reason }: FallbackFailure): FallbackFailure {
  return message.failure ?? { cause, reason };
}

async function drop(
  options: FallBackOptions,
  held: HeldEntry,
  reason: DropReason,
  done: Done,
): Promise<FallBackResult> {
  const state = skipStates.find((word) => word === reason);
  const settlement: Settlement =
    state === undefined
      ? { outcome: "dropped" }
      : { outcome: "unneeded", skip: { state, channel: options.channel } };
  const result = await settle(options, held, settlement, done);
  if (result === "settled") options.metrics.dropped(reason);
  return result;
}

function jobOf(message: FallbackEntry, attempt: number, held: HeldEntry): FallbackJob {
  const { id, userId, seq, epoch, atMs, expiresAtMs, priority, notification, collapseKey } = message;
  return {
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
  };
}

/** Call it just before a channel is asked. */
async function noteSend(
  { scripts, clock, claimMs }: FallBackOptions,
  { entry, sendBeforeMs, signal }: HeldEntry,
  name: string,
): Promise<"go" | "ended" | "late"> {
  const isInTime = (): boolean => clock.monotonicMs() <= sendBeforeMs;
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

/** @returns undefined if Redis does not answer before the entry must be left to others */
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
      // Nobody has checked for a day and the record is gone; if the message is still open, this restores the record.
      await keepRecords(scripts, keys, [{ userId: message.userId, minAgeMs: 0 }], recordKeepMs);
      return read();
    },
    () => mayBegin() && clock.monotonicMs() <= sendBeforeMs,
  );
  if (found === undefined) return undefined;
  if (found.answer === undefined) return "forgotten";
  const { state, record, isOfUser } = found.answer;
  // Its user was erased; the record may belong to a later message with the same id.
  const { seq, epoch } = entry.message;
  const isIts = record.seq === seq && lineageOf(record.epoch) === lineageOf(epoch);
  if (!isOfUser || !isIts) return "forgotten";
  if (state === "queued") return "wanted";
  // `always` asks for both: an acknowledgement does not replace the push; an end or the expiry does.
  const { fallback, expiresAtMs } = entry.message;
  const isBoth = fallback === "always" && record.end === undefined && expiresAtMs > serverNowMs();
  return state === "delivered" && isBoth ? "wanted" : state;
}

/** Repeats until Redis answers, because a message that was sent but not settled would be sent again. */
async function settle(
  { scripts, metrics, logger, deadLettersCap }: FallBackOptions,
  { entry, signal, span }: HeldEntry,
  settlement: Settlement,
  { attempt: attempts, notes = [], sendName }: Done,
): Promise<FallBackResult> {
  const settled = await askUntil(
    () => settleFallback(scripts, entry, settlement, { attempts, notes, deadLettersCap, sendName }),
    () => !signal.aborted,
  );
  span?.set({ "petrel.outcome": settlement.outcome });
  if (settlement.outcome === "taken" || settlement.outcome === "passed")
    span?.set({ "petrel.channel": settlement.channel });
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

/** @returns undefined if it had to be given up without an answer */
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

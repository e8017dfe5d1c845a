// fallback-workers -> here -> recall/begin-send, ask-channel, fallback/settle-fallback: one entry of the fallback, from
// the look at its message's state to the outcome, which may be that the next channel is asked.
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
  /** All, in the order in which they are asked. */
  readonly channels: readonly FallbackChannel[];
  /** Name of the one that is asked here; absent: entries only go on to the channel that is to be asked first. */
  readonly channel?: string | undefined;
  /** Says which channels need not be asked for a user. */
  readonly devices: Pick<DevicesStore, "list">;
  /** An entry went on to this channel's queue. */
  readonly onPassed?: (channel: string, keys: PartitionKeys, priority: Priority) => void;
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
    // A retry would have been passed on at its last attempt: here workers died while they held it.
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
    // (Still wanted: its record was being made again.)
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

/** What an attempt comes to, beside its outcome. */
interface Done {
  /** Made by now, this one included. */
  readonly attempt: number;
  readonly notes?: readonly AttemptNote[];
  /** Where the send was noted. */
  readonly sendName?: string;
}

/**
 * The next channel that may reach the user is to be asked: its own workers do it. Where there is none, the message fails
 * of what the first channel failed for, or stays queued.
 * @param after the channel that cannot; undefined where none was asked yet
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

/** A producer who names a channel is told why it was not asked. */
function notesOfUnconfigured(
  { channels: named = [] }: FallbackEntry,
  configured: readonly FallbackChannel[],
): AttemptNote[] {
  return named
    .filter((wanted) => configured.every(({ name }) => name !== wanted))
    .map((channel) => ({ channel, outcome: "no-device", reason: "this channel is not configured" }));
}

/** @returns undefined where Redis does not say */
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

/** That of the channel that comes first counts: it was to have the message. */
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

/** Just before a channel is asked. */
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

// fallback-workers -> here -> recall/begin-send, ask-channel, fallback/settle-fallback: one entry of the fallback, from
// reading its message's state to the outcome, which may be that the next channel is asked.
// Guarantees: the state is read just before a send: a message that has ended is not sent, and an expired one gets that
// end. From that step until the attempt is settled, nobody can recall the message. Nothing is settled before a channel
// has answered; what is not settled stays for another worker.
import { randomBytes } from "node:crypto";
import { backoffMs } from "@petrel/shared/kernel/backoff";
import { describeError } from "@petrel/shared/kernel/errors";
import { messageAttributes } from "@petrel/shared/kernel/tracing/tracing";
import type { FallbackEntry, FallbackFailure } from "@petrel/shared/protocol/fallback/fallback-entry";
import { isMessageId, isStoredUserId } from "@petrel/shared/protocol/messages/ids";
import type { FallbackChannel, FallbackJob } from "../channels/fallback-channel.js";
import { askChannel, notesOf } from "./ask-channel.js";
import { fallbackParentOf } from "../offer/trace-offers.js";
import type { FallBackOptions, HeldEntry, FallBackResult } from "./held-entry.js";
import { noteSend, readState } from "./look-before-sending.js";
import { drop, settle } from "./settle-entry.js";
import { passOn, mayAsk } from "./pass-on.js";

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
    options.logger.error({ partition: keys.partition, entryId }, "unreadable fallback entry dropped");
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

/** The failure of the first channel counts, because that one was meant to have the message. */
function failureOf(message: FallbackEntry, { cause, reason }: FallbackFailure): FallbackFailure {
  return message.failure ?? { cause, reason };
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

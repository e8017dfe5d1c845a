// why, user -> here -> describe-push: a message's whole way in plain words.
// Guarantees: says only what the answer shows; an upper bound is called one.
import { describePush } from "./describe-push.js";
import { describeSpan, msBetween } from "./describe-time.js";
import type { MessageAnswer, TimelineEvent } from "./message-answer.js";

/** One sentence: the message's state. */
export function describeOutcome(answer: MessageAnswer): string {
  const { state, to, timeline, acceptedAt, expiresAt, reason, explanation } = answer;
  const end = timeline.findLast(({ event }) => event === state);
  const after = end === undefined ? "" : ` ${describeSpan(acceptedAt, end.at)} after it was accepted`;
  switch (state) {
    case "delivered":
      return `Delivered: a client acknowledged it${end?.approximate === true ? ", no later than" : ""}${after}.`;
    case "pushed":
      return "Pushed, and not acknowledged by a client since.";
    case "failed":
      return `Failed${after}: ${reason?.code ?? "unknown"}. ${reason?.message ?? ""}`.trimEnd();
    case "expired":
      return reason === undefined
        ? `Expired: nobody acknowledged it before its TTL was over, at ${expiresAt}.`
        : `Superseded${after}: ${reason.message}`;
    case "cancelled":
      return `Recalled: a producer cancelled it${after}.`;
    case "published":
      return `Published: handed to the nodes for ${nameOf(to)} in the step that stored it. Nothing else becomes of it.`;
    case "scheduled":
      return describeScheduled(answer);
    case "queued":
      return `Open: stored for ${describeSpan(acceptedAt, explanation?.at ?? new Date().toISOString())}, and nobody has acknowledged it.`;
    default:
      return `State: ${state}.`;
  }
}

/** Further sentences: what delayed it, and why it was pushed or not. */
export function describeReasons(answer: MessageAnswer): string[] {
  return [...describeUser(answer), ...describePush(answer)];
}

/** What happened, one line each. */
export function describeTimeline({ timeline, explanation }: MessageAnswer): string[] {
  const skips = (explanation?.notSent ?? []).map(({ at, state, channel = "fallback" }) => ({
    at,
    line: `${channel} was not asked: ${state === "delivered" ? "acknowledged" : state} by then`,
  }));
  const events = timeline.map((event) => ({ at: event.at, line: describeEvent(event) }));
  return [...events, ...skips].sort((a, b) => msBetween(b.at, a.at)).map(({ at, line }) => `${at}  ${line}`);
}

function describeEvent({ event, approximate, channel, outcome, reason, details }: TimelineEvent): string {
  if (event === "attempt") {
    const facts = Object.entries(details ?? {}).map(([name, value]) => `${name}=${value}`);
    const why = reason === undefined ? "" : `: ${reason}`;
    return `${channel ?? "a channel"} was asked: ${outcome ?? "?"}${why}${facts.length === 0 ? "" : ` (${facts.join(", ")})`}`;
  }
  return `${event}${channel === undefined ? "" : ` by ${channel}`}${approximate === true ? ", at the latest" : ""}`;
}

function describeScheduled({ deliverAt = "", explanation }: MessageAnswer): string {
  const { at = new Date().toISOString(), putOff } = explanation ?? {};
  if (msBetween(at, deliverAt) > 0)
    return `Scheduled: it is due at ${deliverAt}, in ${describeSpan(at, deliverAt)}.`;
  const since = `its time, ${deliverAt}, came ${describeSpan(deliverAt, at)} ago`;
  if (putOff === undefined)
    return `Scheduled: ${since}; dispatch is about to store it, or no dispatcher owns its partition.`;
  const why = putOff.userLimit
    ? "its user got as many messages as MESSAGES_PER_USER_PER_SECOND allows"
    : "its fallback queue was full, or Redis refused its user's keys";
  return `Limited: ${since}; ${why}. It is tried again at ${putOff.until}.`;
}

/** How its user's own state affects it. */
function describeUser(answer: MessageAnswer): string[] {
  const { state, to, explanation, acceptedAt, expiresAt } = answer;
  const user = explanation?.user;
  if (to.user === undefined) return [];
  const isOpen = state === "queued" || state === "pushed" || state === "failed";
  const sentences: string[] = [];
  if (user !== undefined && isOpen) {
    const n = user.connections.length;
    sentences.push(
      n === 0
        ? `${to.user} is not connected.`
        : `${to.user} has ${n} connection${n === 1 ? "" : "s"}, on ${[...new Set(user.connections.map(({ node }) => node))].join(", ")}, and has acknowledged up to ${user.acked} of ${user.seq}; this is ${answer.seq ?? "without a number"}.` +
            (explanation?.nudged === true ? " The nodes were asked to send it again." : ""),
    );
    if (state === "queued") sentences.push(`It expires at ${expiresAt}.`);
  }
  if (user !== undefined && state === "delivered") {
    const first = user.connections[0];
    if (first !== undefined && msBetween(acceptedAt, first.connectedAt) > 0) {
      sentences.push(
        `The oldest connection that ${to.user} has now began ${describeSpan(acceptedAt, first.connectedAt)} after it was accepted.`,
      );
    }
  }
  return sentences;
}

function nameOf({ topic, all }: MessageAnswer["to"]): string {
  return all === true ? "everyone" : `topic ${topic ?? "?"}`;
}

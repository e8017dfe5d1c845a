// describe-way -> here: why a message was pushed or not, in plain words.
// Guarantees: says only what the answer shows. If two causes are possible and the answer does not tell them apart, it
// names both.
import type { MessageAnswer, TimelineEvent } from "./message-answer.js";
import { describeMs, describeSpan, msBetween } from "./describe-time.js";

/** A look further ahead is for an expiry. What is in a channel's queue is sent without a look. */
const EXPIRY_LOOK_MS = 3_600_000;
/** A dispatcher that runs is never that late. */
const LATE_LOOK_MS = 5_000;

/** @returns sentences; none if there is no phone, as for a topic message */
export function describePush(answer: MessageAnswer): string[] {
  const { state, timeline, to, explanation } = answer;
  if (to.user === undefined || state === "scheduled" || answer.seq === undefined) return [];
  const attempts = timeline.filter(({ event }) => event === "attempt");
  const pushed = timeline.find(({ event }) => event === "pushed");
  if (pushed !== undefined) return [describePushed(answer, pushed, attempts)];
  if (explanation?.sending === true) return ["A fallback channel is being asked to take it right now."];
  return [
    ...(state === "failed" ? [] : describeAttempts(attempts, { user: to.user, isOpen: state === "queued" })),
    ...(explanation?.notSent ?? []).map((skip) => `Not pushed: ${describeSkip(answer, skip)}.`),
    ...(attempts.length === 0 && (explanation?.notSent ?? []).length === 0 ? describeNoAttempt(answer) : []),
  ];
}

function describePushed(
  { acceptedAt, explanation, timeline }: MessageAnswer,
  { at, channel = "a fallback channel" }: TimelineEvent,
  attempts: readonly TimelineEvent[],
): string {
  const refused = attempts.filter(({ outcome }) => outcome !== "taken");
  const last = refused.at(-1);
  const before =
    last === undefined
      ? ""
      : ` ${count(refused.length, "other attempt")} came to nothing, the last by ${last.channel ?? "a channel"}: ${wordsOf(last)}.`;
  const why =
    explanation?.policy?.fallback === "always"
      ? '; it was sent with fallback "always"'
      : describeAcknowledged(at, timeline);
  return `Pushed: ${channel} took it ${describeSpan(acceptedAt, at)} after it was accepted${why}.${before}`;
}

/** Whether a client had it by then, if known: an upper bound after the push leaves it open. */
function describeAcknowledged(pushedAt: string, timeline: readonly TimelineEvent[]): string {
  const delivered = timeline.find(({ event }) => event === "delivered");
  if (delivered !== undefined && msBetween(delivered.at, pushedAt) > 0)
    return ", though a client had it already";
  return delivered?.approximate === true ? "" : "; nobody had acknowledged it by then";
}

/** By channel: the result of its last attempt. */
function describeAttempts(
  attempts: readonly TimelineEvent[],
  { user, isOpen }: { readonly user: string; readonly isOpen: boolean },
): string[] {
  const lastOf = new Map<string, TimelineEvent>();
  for (const attempt of attempts) lastOf.set(attempt.channel ?? "?", attempt);
  return [...lastOf.values()].map((attempt) => {
    const { channel = "a channel", outcome, at } = attempt;
    const times = attempts.filter((one) => one.channel === attempt.channel).length;
    switch (outcome) {
      case "no-device":
        return attempt.reason === undefined
          ? `Not pushed by ${channel}: ${user} had no device for it at ${at}.`
          : `Not pushed by ${channel}: ${attempt.reason}.`;
      case "superseded":
        return `Not pushed by ${channel}: a newer notification with the same collapse key took its place.`;
      case "retry":
        return (
          `Not pushed by ${channel}${isOpen ? " yet" : ""}: ${count(times, "attempt")}, the last at ${at}: ` +
          `${wordsOf(attempt)}.${isOpen ? " It is tried again." : ""}`
        );
      default:
        return `Not pushed by ${channel}: ${wordsOf(attempt)}.`;
    }
  });
}

function describeSkip(
  { timeline }: MessageAnswer,
  { at, state, channel = "a channel" }: NonNullable<MessageAnswer["explanation"]>["notSent"][number],
): string {
  const end = timeline.find(({ event }) => event === state);
  const word = state === "delivered" ? "acknowledged" : state;
  // An upper bound may lie after the look that found it ended.
  if (end === undefined || end.approximate === true || msBetween(end.at, at) < 0) {
    return `${word} before ${channel} was to be asked, at ${at}`;
  }
  return `${word} ${describeSpan(end.at, at)} before ${channel} was to be asked`;
}

function describeNoAttempt({ state, explanation }: MessageAnswer): string[] {
  // From the archive alone, or from an older release: nothing is known.
  if (explanation === undefined) return [];
  const { policy } = explanation;
  const tense = state === "queued" ? "It will not be pushed" : "Not pushed";
  if (policy?.fallback === "never") return [`${tense}: it was sent with fallback "never".`];
  if (policy?.notification === false) return [`${tense}: it has no notification to push.`];
  if (state === "queued") return [describeWaiting(explanation)];
  if (state === "delivered" && policy !== undefined) {
    return ["Not pushed: it was acknowledged before a channel was asked."];
  }
  if (state === "cancelled") return ["Not pushed: no channel was asked before it was cancelled."];
  if (state === "expired" || state === "delivered") {
    const others = state === "expired" ? "or it expired first" : "or it was acknowledged in time";
    return [
      `Not pushed: no channel was asked. It was sent with fallback "never", or without a notification, ${others}; ` +
        "how it was sent is no longer stored.",
    ];
  }
  return [];
}

function describeWaiting({ at, pausedChannels = [], nextLookAt, user }: Explanation): string {
  const paused = pausedChannels.length === 0 ? "" : ` Paused by an operator: ${pausedChannels.join(", ")}.`;
  const away = user?.connections.length === 0;
  const when = nextLookAt === undefined ? "" : describeLook(at, nextLookAt);
  return `Not pushed yet: ${away ? "it waits for a fallback channel" : "its user is connected, and may still acknowledge it"}${when}.${paused}`;
}

function describeLook(at: string, nextLookAt: string): string {
  const inMs = msBetween(at, nextLookAt);
  if (inMs >= EXPIRY_LOOK_MS) return "";
  if (inMs > -LATE_LOOK_MS) return ` (dispatch looks next at ${nextLookAt})`;
  return `; dispatch should have looked ${describeMs(-inMs)} ago: does it run? petrel doctor says`;
}

type Explanation = NonNullable<MessageAnswer["explanation"]>;

function wordsOf({ reason, outcome }: TimelineEvent): string {
  return reason ?? outcome ?? "no reason given";
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}

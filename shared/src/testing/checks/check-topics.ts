// check-history -> here: what subscribers of topics were sent, and what their applications got.
// Guarantees: as check-history. Messages of the load do not expire, so every skipped number is a gap.
import type { PostRecord, StateRecord } from "../peers/message-recorder.js";
import type { TopicConnection, TopicEvent, TopicHistory } from "../peers/topic-recorder.js";
import type { Violation } from "./violation.js";

export interface TopicPosts {
  /** Posts to topics that were accepted; `user` is `#` and the topic. */
  readonly accepted: readonly PostRecord[];
  readonly stateOf: ReadonlyMap<string, StateRecord>;
  /** Users who were erased: their devices were told to stop. */
  readonly erased: ReadonlySet<string>;
}

/** The state of a connection's subscription. */
interface Standing {
  /** The next message must be this one. */
  next: number;
  epoch: string;
}

type Subscribed = TopicEvent & { readonly kind: "subscribed" };

export function checkTopics(history: TopicHistory, { accepted, stateOf, erased }: TopicPosts): Violation[] {
  return [
    ...checkEvents(history),
    ...checkOneOrder(history),
    ...checkSendingOrder(accepted, stateOf),
    ...checkApplications(history, { accepted, stateOf, erased }),
  ];
}

export function countRecoveries(events: readonly TopicEvent[]): number {
  return events.filter((event) => event.kind === "subscribed" && event.recovered).length;
}

/** Each connection and topic separately, frame by frame. */
function checkEvents({ events }: TopicHistory): Violation[] {
  const violations: Violation[] = [];
  const standings = new Map<string, Standing>();
  for (const event of events) {
    const key = `${event.connection.id}\t${event.topic}`;
    const standing = standings.get(key);
    switch (event.kind) {
      case "subscribed":
        if (standing !== undefined && event.given === undefined && event.recovered) {
          // Nothing is missing, so that the next message still follows the last one.
          if (event.offset < standing.next - 1) {
            violations.push({
              kind: "topic-turned-back",
              detail: `${describe(event)} after ${standing.next - 1}`,
            });
          }
          standing.epoch = event.epoch;
        } else {
          if (event.recovered && event.given === undefined) {
            violations.push({
              kind: "topic-recovered-wrongly",
              detail: `${describe(event)}, and nobody asked`,
            });
          }
          standings.set(key, { next: nextOf(event), epoch: event.epoch });
        }
        break;
      case "unsubscribed":
        standings.delete(key);
        break;
      case "message":
        if (standing === undefined) {
          violations.push({ kind: "topic-unannounced", detail: describe(event) });
        } else if (event.offset < standing.next) {
          violations.push({
            kind: "topic-not-rising",
            detail: `${describe(event)} after ${standing.next - 1}`,
          });
        } else {
          if (event.offset > standing.next) {
            violations.push({ kind: "topic-skipped", detail: `${standing.next} before ${describe(event)}` });
          }
          standing.next = event.offset + 1;
        }
    }
  }
  return violations;
}

function nextOf({ recovered, given, offset }: Subscribed): number {
  return (recovered && given !== undefined ? given.offset : offset) + 1;
}

/** Everybody sees the same message under a number of an epoch, and each message under one number. */
function checkOneOrder({ events }: TopicHistory): Violation[] {
  const violations: Violation[] = [];
  const epochs = new Map<string, string>();
  const idAt = new Map<string, string>();
  const offsetOf = new Map<string, number>();
  for (const event of events) {
    const key = `${event.connection.id}\t${event.topic}`;
    if (event.kind === "subscribed") epochs.set(key, event.epoch);
    if (event.kind !== "message") continue;
    const place = `${event.topic}\t${epochs.get(key) ?? ""}\t${event.offset}`;
    const there = idAt.get(place) ?? event.id;
    idAt.set(place, there);
    if (there !== event.id)
      violations.push({ kind: "topic-two-orders", detail: `${describe(event)}, others got ${there}` });
    const offset = offsetOf.get(event.id) ?? event.offset;
    offsetOf.set(event.id, offset);
    if (offset !== event.offset) {
      violations.push({ kind: "topic-two-orders", detail: `${describe(event)}, others got it as ${offset}` });
    }
  }
  return violations;
}

/** A message that was sent after another one's answer comes after it. */
function checkSendingOrder(
  accepted: readonly PostRecord[],
  stateOf: ReadonlyMap<string, StateRecord>,
): Violation[] {
  const violations: Violation[] = [];
  const latest = new Map<string, { readonly post: PostRecord; readonly offset: number }>();
  for (const post of [...accepted].sort((a, b) => a.startedAtMs - b.startedAtMs)) {
    const offset = stateOf.get(post.id ?? "")?.seq;
    if (offset === undefined || offset === 0) continue;
    const before = latest.get(post.user);
    if (before !== undefined && before.post.answeredAtMs < post.startedAtMs && before.offset >= offset) {
      const detail = `${post.id} at ${offset}, sent after ${before.post.id} at ${before.offset}, to ${post.user}`;
      violations.push({ kind: "topic-out-of-order", detail });
    }
    if (before === undefined || offset > before.offset) latest.set(post.user, { post, offset });
  }
  return violations;
}

/**
 * Each application gets what was published after its first `subscribed`, once and in order; something may be missing
 * only if it was told about a gap.
 */
function checkApplications(
  { events, handled, holes }: TopicHistory,
  { accepted, stateOf, erased }: TopicPosts,
): Violation[] {
  const violations: Violation[] = [];
  const firstOf = new Map<string, number>();
  for (const event of events) {
    if (event.kind !== "subscribed" || erased.has(event.connection.user)) continue;
    const key = `${event.connection.client}\t${event.topic}`;
    if (!firstOf.has(key)) firstOf.set(key, nextOf(event));
  }
  const gotBy = new Map<string, Map<string, number>>();
  for (const { client, topic, offset, id } of handled) {
    const key = `${client}\t${topic}`;
    const got = gotBy.get(key) ?? new Map<string, number>();
    gotBy.set(key, got);
    const last = [...got.values()].at(-1);
    const detail = `${id} (offset ${offset} of ${topic}) at ${client}`;
    if (got.has(id)) violations.push({ kind: "topic-handled-twice", detail });
    else if (last !== undefined && offset <= last) violations.push({ kind: "topic-not-rising", detail });
    got.set(id, offset);
  }
  const told = new Set(holes.map(({ client, topic }) => `${client}\t${topic}`));
  for (const [key, first] of firstOf) {
    if (told.has(key)) continue;
    const [client = "", topic = ""] = key.split("\t");
    for (const { user, id = "" } of accepted) {
      const offset = stateOf.get(id)?.seq ?? 0;
      if (user !== `#${topic}` || offset < first || gotBy.get(key)?.has(id) === true) continue;
      violations.push({
        kind: "topic-hole-untold",
        detail: `${id} (offset ${offset} of ${topic}) at ${client}`,
      });
    }
  }
  return violations;
}

function describe(event: TopicEvent): string {
  const { connection, topic, kind } = event;
  const offset = kind === "unsubscribed" ? "" : ` ${event.offset}`;
  return `${kind}${offset} of ${topic} on ${describeConnection(connection)}`;
}

function describeConnection({ id, client, node }: TopicConnection): string {
  return `connection ${id} of ${client} at ${node}`;
}

// Tests only: compares a reader's events with the messages' final states, and with who is present.
// Guarantees: pure; every violation names its message or user.
import type { EventItem } from "../../protocol/events/event-item.js";

/** A message's final state, by GET /v1/messages/:id. */
export interface EndedMessage {
  readonly id: string;
  readonly state: string;
}

/** Ends that nothing can change any more. */
const FINAL = new Set(["delivered", "expired", "cancelled"]);

/**
 * Checks that every end has exactly its event, with no others, and in order for each user.
 * @param events in the order in which they were read
 * @returns what is wrong; empty if nothing is
 */
export function checkEvents(events: readonly EventItem[], messages: readonly EndedMessage[]): string[] {
  const wrong: string[] = [];
  const ofMessage = new Map<string, string[]>();
  const ids = new Set<string>();
  const delivered = new Map<string, number>();
  const versions = new Map<string, number>();
  for (const { id, type, user = "", message, topic, data } of events) {
    if (ids.has(id)) continue; // read again
    ids.add(id);
    if (message !== undefined) {
      ofMessage.set(message, [...(ofMessage.get(message) ?? []), type.slice("message.".length)]);
    }
    if (type === "message.delivered" && data.seq !== undefined) {
      const line = `${user} ${data.epoch ?? ""}`;
      if (data.seq <= (delivered.get(line) ?? 0)) wrong.push(`${line}: ${data.seq} is out of order`);
      delivered.set(line, data.seq);
    }
    if (data.version !== undefined) {
      const whom = topic ?? user;
      if (data.version <= (versions.get(whom) ?? 0)) wrong.push(`${whom}: version ${data.version} is stale`);
      versions.set(whom, data.version);
    }
  }
  for (const { id, state } of messages) {
    const told = ofMessage.get(id) ?? [];
    ofMessage.delete(id);
    const isRight =
      told.at(-1) === (state === "queued" ? undefined : state) &&
      new Set(told).size === told.length &&
      told.slice(0, -1).every((one) => !FINAL.has(one));
    if (!isRight) wrong.push(`${id} is ${state}, and was told as ${told.join(", ") || "nothing"}`);
  }
  for (const [id, told] of ofMessage) wrong.push(`${id} is unknown, and was told as ${told.join(", ")}`);
  return wrong;
}

/** Who is online, from events alone. */
export function onlineUsers(events: readonly EventItem[]): Set<string> {
  const seen = new Map<string, { readonly version: number; readonly isOnline: boolean }>();
  for (const { type, user, data } of events) {
    if (user === undefined || (type !== "user.online" && type !== "user.offline")) continue;
    const version = data.version ?? 0;
    if (version > (seen.get(user)?.version ?? 0))
      seen.set(user, { version, isOnline: type === "user.online" });
  }
  return new Set([...seen].filter(([, { isOnline }]) => isOnline).map(([user]) => user));
}

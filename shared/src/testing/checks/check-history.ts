// Tests only: checks a recorded history against Petrel's promises (docs/send/guarantees.md).
// Guarantees: a pure function of the history; each violation names the messages that show it.
import { lineageOf } from "../../protocol/messages/stored-message.js";
import { checkDevices } from "./check-devices.js";
import { checkErasures, mayBeErased } from "./check-erasures.js";
import { checkFallbacks, lateFallbacks, repeatedFallbacks } from "./check-fallbacks.js";
import { checkStops } from "./check-stops.js";
import { checkTopics, countRecoveries } from "./check-topics.js";
import { checkWire } from "./check-wire.js";
import type { History, PostRecord, StateRecord } from "../peers/message-recorder.js";
import type { Violation } from "./violation.js";

export interface HistoryCounts {
  readonly posted: number;
  readonly accepted: number;
  readonly refused: number;
  readonly unknown: number;
  /** Of those with an unknown outcome, the ones that reached an application or a channel. */
  readonly unknownArrived: number;
  /** Accepted messages by their final state, without those of erased people. */
  readonly states: Readonly<Record<string, number>>;
  readonly connections: number;
  readonly onWire: number;
  readonly wireDuplicates: number;
  readonly handled: number;
  readonly fallbacks: number;
  readonly fallbackRepeats: number;
  readonly faults: number;
  /** Connections that told a device of messages it will not see. */
  readonly toldHoles: number;
  /** Requests over kept connections to a process that was stopping. */
  readonly keptDuringStops: number;
  readonly erasures: number;
  /** Messages of topics that applications got. */
  readonly topicHandled: number;
  /** Subscriptions that continued from a position without a gap. */
  readonly topicRecoveries: number;
  /** Applications that were told about a gap in a topic. */
  readonly topicHoles: number;
}

export interface Verdict {
  readonly violations: readonly Violation[];
  readonly counts: HistoryCounts;
}

const ENDS: ReadonlySet<string> = new Set([
  "delivered",
  "pushed",
  "published",
  "expired",
  "cancelled",
  "failed",
]);

/**
 * Users have any number of devices, and one producer that sends a user's messages one after another. A person who was
 * erased and came back has new devices.
 * @param history complete: faults are over, and states were read after everything had settled
 */
export function checkHistory(history: History): Verdict {
  const { posts, states, handled, fallbacks } = history;
  const stateOf = new Map(states.map((state) => [state.id, state]));
  const accepted = posts.filter(({ outcome }) => outcome === "accepted");
  const isErased = mayBeErased(history);
  const kept = accepted.filter((post) => !isErased(post));
  const hasEndedUnseen = endedUnseen(history, stateOf);
  const wire = checkWire(history, hasEndedUnseen);
  const devices = checkDevices(history, kept, stateOf, hasEndedUnseen);
  const stops = checkStops(history);
  const repeats = repeatedFallbacks(history);
  const arrived = new Set([...handled, ...fallbacks].map(({ n }) => n));
  return {
    violations: [
      ...checkEnds(history, kept, stateOf),
      ...checkHandled(history),
      ...wire.violations,
      ...checkNumbers(accepted, stateOf),
      ...checkFallbacks(history),
      ...repeats.unexplained,
      ...lateFallbacks(history, kept),
      ...devices.violations,
      ...stops.violations,
      ...checkErasures(history, stateOf),
      ...checkTopics(history.topics, {
        accepted: accepted.filter(({ user }) => user.startsWith("#")),
        stateOf,
        erased: new Set(history.erasures.map(({ user }) => user)),
      }),
    ],
    counts: {
      posted: posts.length,
      accepted: accepted.length,
      refused: countOutcome(posts, "refused"),
      unknown: countOutcome(posts, "unknown"),
      unknownArrived: posts.filter(({ outcome, n }) => outcome === "unknown" && arrived.has(n)).length,
      states: countStates(kept, stateOf),
      connections: history.connections.length,
      onWire: history.wire.length,
      wireDuplicates: wire.duplicates,
      handled: handled.length,
      fallbacks: fallbacks.length,
      fallbackRepeats: repeats.count,
      faults: history.faults.length,
      toldHoles: devices.toldHoles,
      keptDuringStops: stops.keptDuringStops,
      erasures: history.erasures.length,
      topicHandled: history.topics.handled.length,
      topicRecoveries: countRecoveries(history.topics.events),
      topicHoles: history.topics.holes.length,
    },
  };
}

/** `accepted − delivered − pushed − published − expired − cancelled − failed = ∅`, and each end with its evidence. */
function checkEnds(
  { handled, fallbacks }: History,
  accepted: readonly PostRecord[],
  stateOf: ReadonlyMap<string, StateRecord>,
): Violation[] {
  const violations: Violation[] = [];
  const seen = new Set(handled.map(({ n }) => n));
  /** The last call for each: one from before an erasure concerns another message with the same id. */
  const sentMs = new Map(fallbacks.map(({ id, atMs }) => [id, atMs]));
  for (const post of accepted) {
    const { state = "missing" } = stateOf.get(post.id ?? "") ?? {};
    const detail = `${describe(post)} is ${state}`;
    if (!ENDS.has(state)) violations.push({ kind: "lost", detail });
    if (state === "delivered" && !seen.has(post.n)) violations.push({ kind: "delivered-unseen", detail });
    if ((state === "pushed" || state === "failed") && seen.has(post.n)) {
      violations.push({ kind: "handled-undelivered", detail });
    }
    const wasSent = (sentMs.get(post.id ?? "") ?? -Infinity) >= post.startedAtMs;
    if (state === "pushed" && !wasSent) violations.push({ kind: "pushed-unsent", detail });
    if (state === "expired" && !post.mayExpire) violations.push({ kind: "expired-early", detail });
  }
  return violations;
}

/** What each application got: messages for it, as sent, once, in the order of sending. */
function checkHandled({ posts, handled }: History): Violation[] {
  const violations: Violation[] = [];
  const seen = new Set<string>();
  /** By client: of the messages it has got so far, the one that was sent last. */
  const latest = new Map<string, PostRecord>();
  for (const { client, user, id, n, seq, data } of handled) {
    const post = posts[n ?? -1];
    const detail = `${id} (seq ${seq}) at ${client}`;
    if (post === undefined || post.outcome === "refused") {
      violations.push({ kind: "never-sent", detail: `${detail}: ${data.slice(0, 80)}` });
      continue;
    }
    if (post.user !== user || post.data !== data || (post.id ?? id) !== id) {
      violations.push({ kind: "handled-wrong", detail: `${detail}: sent as ${describe(post)}` });
    }
    const name = `${client}\t${post.n}`;
    if (seen.has(name)) {
      violations.push({ kind: "handled-twice", detail });
      continue;
    }
    seen.add(name);
    const last = latest.get(client);
    if (last === undefined || post.startedAtMs > last.startedAtMs) latest.set(client, post);
    else if (post.answeredAtMs < last.startedAtMs) {
      violations.push({ kind: "handled-out-of-order", detail: `${detail}: after ${describe(last)}` });
    }
  }
  return violations;
}

function checkNumbers(
  accepted: readonly PostRecord[],
  stateOf: ReadonlyMap<string, StateRecord>,
): Violation[] {
  const violations: Violation[] = [];
  const idOf = new Map<string, string>();
  for (const { id = "", user } of accepted) {
    const state = stateOf.get(id);
    if (state === undefined || state.state === "missing") continue;
    const place = `${user} ${state.epoch} ${state.seq}`;
    const other = idOf.get(place);
    if (other !== undefined && other !== id)
      violations.push({ kind: "seq-reused", detail: `${place}: ${other} and ${id}` });
    idOf.set(place, id);
  }
  return violations;
}

/**
 * Positions in users' sequences whose messages ended without being shown. An erased sequence says nothing: none of it
 * has a state.
 */
function endedUnseen(
  { posts, erasures }: History,
  stateOf: ReadonlyMap<string, StateRecord>,
): (user: string, epoch: string, seq: number) => boolean {
  const places = new Set<string>();
  const sequences = new Set<string>();
  const erased = new Set(erasures.map(({ user }) => user));
  const sequence = (user: string, epoch: string): string => `${user}\t${lineageOf(epoch)}`;
  for (const { id = "", user } of posts) {
    const found = stateOf.get(id);
    if (found === undefined || found.state === "missing") continue;
    sequences.add(sequence(user, found.epoch));
    if (found.state === "expired" || found.state === "cancelled")
      places.add(`${sequence(user, found.epoch)}\t${found.seq}`);
  }
  return (user, epoch, seq) =>
    places.has(`${sequence(user, epoch)}\t${seq}`) ||
    (erased.has(user) && !sequences.has(sequence(user, epoch)));
}

function countStates(
  accepted: readonly PostRecord[],
  stateOf: ReadonlyMap<string, StateRecord>,
): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { id = "" } of accepted) {
    const { state = "missing" } = stateOf.get(id) ?? {};
    counts[state] = (counts[state] ?? 0) + 1;
  }
  return counts;
}

function countOutcome(posts: readonly PostRecord[], outcome: PostRecord["outcome"]): number {
  return posts.filter((post) => post.outcome === outcome).length;
}

function describe({ n, id, user, outcome }: PostRecord): string {
  return `number ${n} (${id ?? "no id"}, ${outcome}) to ${user}`;
}

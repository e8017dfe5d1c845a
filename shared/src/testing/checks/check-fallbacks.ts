// Tests only: what the fallback channels were called for: messages that ask for it, once, and in time.
// Guarantees: a call that repeats or comes late is excused only by a fault that could cause it.
import type {
  ErasureRecord,
  FallbackRecord,
  FaultRecord,
  History,
  PostRecord,
} from "../peers/message-recorder.js";
import type { Violation } from "./violation.js";

/** Only those messages that asked for it are sent by a channel. */
export function checkFallbacks({ posts, fallbacks }: History): Violation[] {
  const postOf = new Map(posts.map((post) => [post.id, post]));
  return fallbacks.flatMap(({ id, user, n }): Violation[] => {
    const post = postOf.get(id) ?? posts[n ?? -1];
    if (post?.user === user && post.mayFallBack && post.outcome !== "refused") return [];
    return [{ kind: "fallback-unasked", detail: `${id} to ${user}` }];
  });
}

/**
 * A call may repeat after a crash between the channel's answer and our record of it. The same gap opens if a dispatcher
 * was paused or cut off, or if Redis could not be written to.
 */
export function repeatedFallbacks({ fallbacks, faults, erasures }: History): {
  count: number;
  unexplained: Violation[];
} {
  const lastOf = new Map<string, FallbackRecord>();
  const unexplained: Violation[] = [];
  let count = 0;
  for (const call of fallbacks) {
    const before = lastOf.get(call.id);
    lastOf.set(call.id, call);
    if (before === undefined || erasures.some((erasure) => liesBetween(erasure, before, call))) continue;
    count++;
    if (faults.some((fault) => explainsRepeat(fault, before.atMs, call.atMs))) continue;
    const gapMs = Math.round(call.atMs - before.atMs);
    unexplained.push({ kind: "fallback-twice", detail: `${call.id} to ${call.user}, ${gapMs} ms later` });
  }
  return { count, unexplained };
}

/** While nothing is broken, an away user's fallback takes no longer than this, on a machine that is busy as well. */
const LATE_MS = 50_000;
/** For this long after a fault, its way may still be broken. */
const RECOVERY_MS = 3_000;

/**
 * Of users who were never connected: their messages are offered at once, however Redis' clock is stepped meanwhile.
 * Time without dispatchers or Redis does not count.
 */
export function lateFallbacks(
  { connections, fallbacks, faults }: History,
  kept: readonly PostRecord[],
): Violation[] {
  const connected = new Set(connections.map(({ user }) => user));
  const firstCallMs = new Map(fallbacks.toReversed().map(({ id, atMs }) => [id, atMs]));
  const hindrances = faults.filter(
    ({ kind, target }) => /^(dispatch|redis$|redis link of dispatch)/.test(target) && kind !== "clock",
  );
  return kept.flatMap(({ id = "", user, answeredAtMs }): Violation[] => {
    const calledMs = firstCallMs.get(id);
    if (calledMs === undefined || connected.has(user)) return [];
    const waitedMs = Math.round(unhinderedMs(hindrances, answeredAtMs, calledMs));
    if (waitedMs <= LATE_MS) return [];
    return [{ kind: "fallback-late", detail: `${id} to ${user}: ${waitedMs} ms without a fault in its way` }];
  });
}

/** The time between two moments that no fault covers. */
function unhinderedMs(hindrances: readonly FaultRecord[], fromMs: number, toMs: number): number {
  let freeMs = 0;
  let untilMs = fromMs;
  for (const { atMs, endedAtMs } of hindrances.toSorted((a, b) => a.atMs - b.atMs)) {
    if (atMs >= toMs) break;
    freeMs += Math.max(0, atMs - untilMs);
    untilMs = Math.max(untilMs, endedAtMs + RECOVERY_MS);
  }
  return freeMs + Math.max(0, toMs - untilMs);
}

/** The same id, but another message: its recipient was erased in between, and it was sent again. */
function liesBetween(erasure: ErasureRecord, before: FallbackRecord, call: FallbackRecord): boolean {
  return erasure.user === call.user && erasure.endedAtMs >= before.atMs && erasure.atMs <= call.atMs;
}

function explainsRepeat({ target, atMs, endedAtMs }: FaultRecord, fromMs: number, toMs: number): boolean {
  return /^(dispatch|redis)/.test(target) && atMs <= toMs && endedAtMs >= fromMs;
}

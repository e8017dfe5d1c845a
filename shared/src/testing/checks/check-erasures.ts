// check-history -> here: people who were erased while messages came for them, and who came back as new ones.
// Guarantees: as check-history. What was answered before an erasure is gone, and what was sent after it stays.
import type { ErasureRecord, History, PostRecord, StateRecord } from "../peers/message-recorder.js";
import type { Violation } from "./violation.js";

/** The close code of a revoked connection. */
const REVOKED = 4403;
/** A channel's call that was under way at the erasure may end this late. */
const UNDER_WAY_MS = 5_000;

/**
 * Whether a message may be gone: it was sent before its recipient's erasure took effect. The first step of an erasure
 * closes their sockets, which dates it. If it was requested several times, only its answer does.
 */
export function mayBeErased(history: History): (post: PostRecord) => boolean {
  const effects = history.erasures.map((erasure) => ({
    user: erasure.user,
    atMs: erasure.attempts === 1 ? effectOf(erasure, history) : erasure.endedAtMs,
  }));
  return ({ user, startedAtMs }) =>
    effects.some((effect) => effect.user === user && startedAtMs <= effect.atMs);
}

export function checkErasures(history: History, stateOf: ReadonlyMap<string, StateRecord>): Violation[] {
  const goneIds = (erasure: ErasureRecord): ReadonlySet<string> => {
    const gone = new Set<string>();
    for (const { id, user, answeredAtMs } of history.posts) {
      if (user === erasure.user && id !== undefined && answeredAtMs < erasure.atMs) gone.add(id);
    }
    // Sent again under the same key it has the same id, but is another message.
    for (const { id, user, answeredAtMs } of history.posts) {
      if (user === erasure.user && id !== undefined && answeredAtMs >= erasure.atMs) gone.delete(id);
    }
    return gone;
  };
  return history.erasures.flatMap((erasure) => {
    const gone = goneIds(erasure);
    return [
      ...stillThere(gone, stateOf),
      ...shownLater(erasure, gone, history),
      ...pushedLater(erasure, gone, history),
      ...stillConnected(erasure, history),
    ];
  });
}

function stillThere(gone: ReadonlySet<string>, stateOf: ReadonlyMap<string, StateRecord>): Violation[] {
  return [...gone].flatMap((id): Violation[] => {
    const { state = "missing" } = stateOf.get(id) ?? {};
    return state === "missing" ? [] : [{ kind: "erased-came-back", detail: `${id} is ${state}` }];
  });
}

function shownLater({ endedAtMs }: ErasureRecord, gone: ReadonlySet<string>, { wire }: History): Violation[] {
  return wire.flatMap(({ connection, id }): Violation[] => {
    if (connection.atMs <= endedAtMs || !gone.has(id)) return [];
    return [
      { kind: "erased-came-back", detail: `${id} was sent on ${connection.id} of ${connection.client}` },
    ];
  });
}

function pushedLater(
  { atMs: begunMs, endedAtMs }: ErasureRecord,
  gone: ReadonlySet<string>,
  { fallbacks, faults }: History,
): Violation[] {
  return fallbacks.flatMap(({ id, atMs }): Violation[] => {
    if (!gone.has(id) || atMs <= endedAtMs + UNDER_WAY_MS) return [];
    const wasHeldUp = faults.some(
      (fault) => /^(dispatch|redis)/.test(fault.target) && fault.atMs <= atMs && fault.endedAtMs >= begunMs,
    );
    return wasHeldUp ? [] : [{ kind: "erased-came-back", detail: `a channel was called for ${id}` }];
  });
}

function stillConnected({ user, atMs }: ErasureRecord, { connections }: History): Violation[] {
  return connections.flatMap((one): Violation[] => {
    if (one.user !== user || one.atMs >= atMs || one.closed !== undefined) return [];
    return [{ kind: "erased-stays-connected", detail: `${one.id} of ${one.client} at ${one.node}` }];
  });
}

function effectOf({ user, atMs, endedAtMs }: ErasureRecord, { connections }: History): number {
  const closedMs = connections.flatMap(({ user: of, closed }) =>
    of === user && closed?.code === REVOKED && closed.atMs >= atMs && closed.atMs <= endedAtMs
      ? [closed.atMs]
      : [],
  );
  return Math.min(endedAtMs, ...closedMs);
}

// signing-keyring -> here: how the cluster's signing keys change state over time.
// Guarantees: pure functions that any number of processes may apply, in any order, any number of times. A key's state
// only moves forward, and one key signs. A key is published for the whole lead before it signs, and stays published
// until no token signed by it can be valid.
import {
  type SigningKeyRecord,
  type SigningKeyState,
  signingKeyStates,
} from "@petrel/shared/redis/auth/signing-keys-store";

export interface SigningKeyTimes {
  /** How long a key is published before it signs: longer than anyone keeps a copy of the JWK set. */
  readonly leadMs: number;
  /** How long a key signs before the next one takes over; 0 means until an operator rotates. */
  readonly rotateAfterMs: number;
  /** How long a retired key stays published: longer than any token lives. */
  readonly keepRetiredMs: number;
  /** How long a withdrawn key is remembered, so that an older copy of Redis's data does not bring it back. */
  readonly keepWithdrawnMs: number;
}

export type KeySet = readonly SigningKeyRecord[];

const rankOf = (state: SigningKeyState): number => signingKeyStates.indexOf(state);

/** Merges two sets: each key gets the later of its two states. */
export function joinKeySets(one: KeySet, other: KeySet): KeySet {
  const joined = new Map(one.map((key) => [key.kid, key]));
  for (const key of other) {
    const known = joined.get(key.kid);
    if (known === undefined || rankOf(known.state) < rankOf(key.state)) joined.set(key.kid, key);
  }
  return inOrder([...joined.values()]);
}

/** Applies the changes that are due. */
export function advanceKeySet(keys: KeySet, nowMs: number, times: SigningKeyTimes): KeySet {
  const live = keys.filter(({ state, retiredAtMs = nowMs }) => {
    if (state === "retired") return retiredAtMs + times.keepRetiredMs > nowMs;
    return state !== "withdrawn" || retiredAtMs + times.keepWithdrawnMs > nowMs;
  });
  const upcoming = live.filter(({ state }) => state === "upcoming");
  const active = live.filter(({ state }) => state === "active");
  // There can be several only after data was lost and found again.
  const due = newest(
    upcoming.filter(({ createdAtMs }) => active.length === 0 || createdAtMs + times.leadMs <= nowMs),
  );
  const signing = due ?? newest(active);
  return inOrder(
    live.map((key) => {
      if (key === due) return { ...key, state: "active", activatedAtMs: nowMs };
      const isOver = key.state === "active" ? key !== signing : key.state === "upcoming" && due !== undefined;
      return isOver ? { ...key, state: "retired", retiredAtMs: nowMs } : key;
    }),
  );
}

/** Whether to make a new key now, and in which state. */
export function keyThatIsMissing(
  keys: KeySet,
  nowMs: number,
  { leadMs, rotateAfterMs }: SigningKeyTimes,
): "active" | "upcoming" | undefined {
  const active = keys.find(({ state }) => state === "active");
  if (active === undefined) return "active";
  if (rotateAfterMs === 0 || keys.some(({ state }) => state === "upcoming")) return undefined;
  // Early enough that it can sign when the current key's time is over.
  const isDue = (active.activatedAtMs ?? active.createdAtMs) + rotateAfterMs - leadMs <= nowMs;
  return isDue ? "upcoming" : undefined;
}

/** @param key a new one; ignored if another is already upcoming */
export function addUpcomingKey(keys: KeySet, key: SigningKeyRecord): KeySet {
  return keys.some(({ state }) => state === "upcoming")
    ? keys
    : inOrder([...keys, { ...key, state: "upcoming" }]);
}

/**
 * The new key signs from now on. All others are withdrawn: only their names remain, and tokens signed by them become
 * invalid.
 */
export function replaceAllKeys(keys: KeySet, key: SigningKeyRecord, nowMs: number): KeySet {
  const former = keys.map((one): SigningKeyRecord =>
    one.state === "withdrawn"
      ? one
      : { ...one, state: "withdrawn", sealedPrivateKey: "", retiredAtMs: nowMs },
  );
  return inOrder([...former, { ...key, state: "active", activatedAtMs: nowMs }]);
}

/** Oldest first; the same order in every process. */
function inOrder(keys: readonly SigningKeyRecord[]): KeySet {
  return [...keys].sort((a, b) => a.createdAtMs - b.createdAtMs || (a.kid < b.kid ? -1 : 1));
}

function newest(keys: KeySet): SigningKeyRecord | undefined {
  const since = ({ activatedAtMs, createdAtMs }: SigningKeyRecord): number => activatedAtMs ?? createdAtMs;
  return [...keys].sort((a, b) => since(a) - since(b) || (a.kid < b.kid ? -1 : 1)).at(-1);
}

// signing-keyring -> here: what becomes of the cluster's signing keys as time goes on.
// Guarantees: pure. However often, in whichever order and by however many processes these are applied, a key's state only
// goes forward, one key signs, it has been published for the whole lead before it does, and a key that has signed stays
// published until no token by it can be good.
import {
  type SigningKeyRecord,
  type SigningKeyState,
  signingKeyStates,
} from "@petrel/shared/redis/auth/signing-keys-store";

export interface SigningKeyTimes {
  /** How long a key is published before it signs: longer than anyone keeps a copy of the JWK set. */
  readonly leadMs: number;
  /** How long a key signs before the next one does; 0: until somebody says so. */
  readonly rotateAfterMs: number;
  /** How long one that has signed stays published: longer than any token lives. */
  readonly keepRetiredMs: number;
  /** How long a withdrawn one is remembered, so that an older copy of Redis' data does not bring it back. */
  readonly keepWithdrawnMs: number;
}

export type KeySet = readonly SigningKeyRecord[];

const rankOf = (state: SigningKeyState): number => signingKeyStates.indexOf(state);

/** Of each key the furthest state that either side knows of. */
export function joinKeySets(one: KeySet, other: KeySet): KeySet {
  const joined = new Map(one.map((key) => [key.kid, key]));
  for (const key of other) {
    const known = joined.get(key.kid);
    if (known === undefined || rankOf(known.state) < rankOf(key.state)) joined.set(key.kid, key);
  }
  return inOrder([...joined.values()]);
}

/** What has come to its time. */
export function advanceKeySet(keys: KeySet, nowMs: number, times: SigningKeyTimes): KeySet {
  const live = keys.filter(({ state, retiredAtMs = nowMs }) => {
    if (state === "retired") return retiredAtMs + times.keepRetiredMs > nowMs;
    return state !== "withdrawn" || retiredAtMs + times.keepWithdrawnMs > nowMs;
  });
  const upcoming = live.filter(({ state }) => state === "upcoming");
  const active = live.filter(({ state }) => state === "active");
  // Several are there only where data was lost and found again.
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

/** Whether a new key is to be made now, and what it is to be. */
export function keyThatIsMissing(
  keys: KeySet,
  nowMs: number,
  { leadMs, rotateAfterMs }: SigningKeyTimes,
): "active" | "upcoming" | undefined {
  const active = keys.find(({ state }) => state === "active");
  if (active === undefined) return "active";
  if (rotateAfterMs === 0 || keys.some(({ state }) => state === "upcoming")) return undefined;
  // So that it signs when the time of the present one is over.
  const isDue = (active.activatedAtMs ?? active.createdAtMs) + rotateAfterMs - leadMs <= nowMs;
  return isDue ? "upcoming" : undefined;
}

/** @param key a new one; where another is upcoming already, that one comes and nothing changes */
export function addUpcomingKey(keys: KeySet, key: SigningKeyRecord): KeySet {
  return keys.some(({ state }) => state === "upcoming")
    ? keys
    : inOrder([...keys, { ...key, state: "upcoming" }]);
}

/** The new key signs from now on, and of all others there is nothing left but the name: tokens by them are no longer good. */
export function replaceAllKeys(keys: KeySet, key: SigningKeyRecord, nowMs: number): KeySet {
  const former = keys.map((one): SigningKeyRecord =>
    one.state === "withdrawn"
      ? one
      : { ...one, state: "withdrawn", sealedPrivateKey: "", retiredAtMs: nowMs },
  );
  return inOrder([...former, { ...key, state: "active", activatedAtMs: nowMs }]);
}

/** Oldest first, the same wherever it is made. */
function inOrder(keys: readonly SigningKeyRecord[]): KeySet {
  return [...keys].sort((a, b) => a.createdAtMs - b.createdAtMs || (a.kid < b.kid ? -1 : 1));
}

function newest(keys: KeySet): SigningKeyRecord | undefined {
  const since = ({ activatedAtMs, createdAtMs }: SigningKeyRecord): number => activatedAtMs ?? createdAtMs;
  return [...keys].sort((a, b) => since(a) - since(b) || (a.kid < b.kid ? -1 : 1)).at(-1);
}

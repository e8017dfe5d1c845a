// push-node/recall/tell-recalls -> here: what a connection knows about recalled messages.
// Guarantees: most connections have none of it, and it is bounded.

/** A message that was cancelled after it had been stored. */
export interface Recall {
  readonly seq: number;
  readonly epoch: string;
  readonly id: string;
}

export interface KnownRecalls {
  /** Recalls that are settled: the client was told, or need not be. Oldest first. */
  readonly ids: Set<string>;
  /** By seq: not sent yet, and must not be. */
  readonly ahead: Map<number, Recall>;
  /** Numbers that were skipped as ended, in pairs from and to: never sent on this connection. Oldest first. */
  readonly skipped: number[];
}

const MAX_IDS = 64;
const MAX_SKIPPED = 32;

export function createKnownRecalls(): KnownRecalls {
  return { ids: new Set(), ahead: new Map(), skipped: [] };
}

/** @returns false if it was known */
export function noteRecall({ ids }: KnownRecalls, id: string): boolean {
  if (ids.has(id)) return false;
  ids.add(id);
  if (ids.size > MAX_IDS) for (const oldest of ids) return ids.delete(oldest);
  return true;
}

export function noteSkipped({ skipped }: KnownRecalls, from: number, to: number): void {
  skipped.push(from, to);
  if (skipped.length > MAX_SKIPPED) skipped.splice(0, 2);
}

export function wasSkipped({ skipped }: KnownRecalls, seq: number): boolean {
  for (let i = 0; i + 1 < skipped.length; i += 2) {
    if (seq >= (skipped[i] ?? 0) && seq <= (skipped[i + 1] ?? 0)) return true;
  }
  return false;
}

// push-node/presence/tell-presence -> here: who is in one topic, as this node last read it, and which of its
// connections have been told.
// Guarantees: a connection that asked is told at once, then at most once a second, and only what it has not been told.
import type { TopicPresence } from "@petrel/shared/redis/presence/read-presence";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { encodePresenceFrame } from "@petrel/shared/protocol/frames/presence-frame";
import { encodeTextFrame } from "../connection/encode-text-frame.js";
import type { Connection } from "../connection/connection.js";

/** A connection's subscription, as far as presence is concerned. */
export interface PresenceMember {
  readonly topic: string;
  readonly connection: Pick<Connection, "userId" | "isOpen" | "waitingBytes" | "queue" | "flush">;
}

export interface Asker {
  readonly member: PresenceMember;
  /** The number of the state that it was told; 0 for none. */
  told: number;
  /** When it may be told again, monotonic ms. */
  notBeforeMs: number;
}

export class PresenceView {
  readonly topic: string;
  readonly keys: PartitionKeys;
  readonly askers = new Map<PresenceMember, Asker>();
  /** Those that were told nothing yet, or nothing since the rules changed. */
  readonly fresh = new Set<Asker>();
  /** Somebody came or went since the last read began. */
  isStale = false;
  /** All that asked have been told, except newcomers. */
  isTold = true;
  isReading = false;
  isSending = false;
  /** When the last read began, monotonic ms. */
  readAtMs = Number.NEGATIVE_INFINITY;
  #state: TopicPresence | undefined;
  #number = 0;
  #frame: Buffer | undefined;

  constructor(topic: string, keys: PartitionKeys) {
    this.topic = topic;
    this.keys = keys;
  }

  /** Grows with each state that differs from the last. */
  get number(): number {
    return this.#number;
  }

  get frame(): Buffer | undefined {
    if (this.#state === undefined) return undefined;
    return (this.#frame ??= encodeTextFrame(encodePresenceFrame({ topic: this.topic, ...this.#state })));
  }

  take(state: TopicPresence): void {
    if (this.#state !== undefined && isSame(this.#state, state)) return;
    this.#state = state;
    this.#frame = undefined;
    this.#number++;
  }
}

function isSame(a: TopicPresence, b: TopicPresence): boolean {
  if (a.users !== b.users || a.connections !== b.connections) return false;
  if (a.here === undefined || b.here === undefined) return a.here === b.here;
  const { here } = b;
  return a.here.every((userId, i) => here[i] === userId);
}

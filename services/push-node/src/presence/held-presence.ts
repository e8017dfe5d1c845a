// push-node/presence/open-presence -> here -> push-node/presence/report-partition: who is in which topic through this
// node.
// Guarantees: a user is in a topic from the first connection's subscription until some seconds after the last one's
// end. One list of those about to leave, not a timer each. A connection counts once, even if it is added repeatedly.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { PartitionKeys } from "@petrel/shared/redis/keys";

/** One user in one topic. */
export interface HeldUser {
  readonly topic: string;
  readonly userId: string;
  /** Of the topic's partition. */
  readonly keys: PartitionKeys;
  /** Most users have one. */
  connections: readonly object[];
  /** When the user is gone, monotonic ms; set while there is no connection. */
  leavesAtMs: number | undefined;
  /** What Redis knows, as far as is known here: a number of connections, or undefined for nothing. */
  written: number | undefined;
  /** The latest state may not be in Redis yet. */
  isDirty: boolean;
}

/** The state to report: connections; 0 about to leave; undefined for gone. */
export function saidOf({ connections, leavesAtMs }: HeldUser): number | undefined {
  if (connections.length > 0) return connections.length;
  return leavesAtMs === undefined ? undefined : 0;
}

export interface HeldPresenceOptions {
  readonly clock: Pick<Clock, "monotonicMs">;
  /** How long a user stays after the last connection. */
  readonly graceMs: number;
  readonly keysOf: (topic: string) => PartitionKeys;
  /** The state to report for this user has changed. */
  readonly onChanged: (user: HeldUser) => void;
}

const TICK_MS = 100;

export class HeldPresence {
  readonly #options: HeldPresenceOptions;
  readonly #topics = new Map<string, Map<string, HeldUser>>();
  readonly #perPartition = new Map<PartitionKeys, number>();
  /** In the order of their times; users who have returned meanwhile are skipped. */
  #leaving: { readonly user: HeldUser; readonly atMs: number }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #size = 0;

  constructor(options: HeldPresenceOptions) {
    this.#options = options;
  }

  /** Users, counted once per topic, including those about to leave. */
  get size(): number {
    return this.#size;
  }

  /** Whether anything is held, or still to be withdrawn, in a partition. */
  has(keys: PartitionKeys): boolean {
    return this.#perPartition.has(keys);
  }

  find(topic: string, userId: string): HeldUser | undefined {
    return this.#topics.get(topic)?.get(userId);
  }

  *all(keys: PartitionKeys): Iterable<HeldUser> {
    for (const users of this.#topics.values()) {
      for (const user of users.values()) if (user.keys === keys) yield user;
    }
  }

  /** A connection of the user is in the topic. */
  join(topic: string, userId: string, connection: object): void {
    const user = this.find(topic, userId) ?? this.#add(topic, userId);
    if (user.connections.includes(connection)) return;
    user.connections = [...user.connections, connection];
    user.leavesAtMs = undefined;
    this.#options.onChanged(user);
  }

  /** The connection is no longer in it. */
  leave(topic: string, userId: string, connection: object): void {
    const user = this.find(topic, userId);
    if (user?.connections.includes(connection) !== true) return;
    user.connections = user.connections.filter((one) => one !== connection);
    if (user.connections.length === 0) this.#letLeave(user);
    this.#options.onChanged(user);
  }

  /** The user was erased: gone at once, even if connections are still closing. */
  forgetUser(userId: string): void {
    for (const users of this.#topics.values()) {
      const user = users.get(userId);
      if (user !== undefined) this.#remove(user);
    }
  }

  /** Presence is off for this topic now. */
  forgetTopic(topic: string): void {
    for (const user of this.#topics.get(topic)?.values() ?? []) this.#remove(user);
  }

  /** Redis has the reported state of this user; drops a user who is gone. */
  settle(user: HeldUser): void {
    if (saidOf(user) !== undefined || user.written !== undefined) return;
    const users = this.#topics.get(user.topic);
    if (users?.get(user.userId) !== user) return;
    users.delete(user.userId);
    if (users.size === 0) this.#topics.delete(user.topic);
    this.#size--;
    const left = (this.#perPartition.get(user.keys) ?? 1) - 1;
    if (left > 0) this.#perPartition.set(user.keys, left);
    else this.#perPartition.delete(user.keys);
  }

  topics(): string[] {
    return [...this.#topics.keys()];
  }

  /** Removes those whose time has come. */
  tick(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const later = this.#leaving.findIndex(({ atMs }) => atMs > nowMs);
    const over = this.#leaving.splice(0, later === -1 ? this.#leaving.length : later);
    for (const { user, atMs } of over) if (user.leavesAtMs === atMs) this.#remove(user);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#leaving = [];
  }

  #add(topic: string, userId: string): HeldUser {
    const keys = this.#options.keysOf(topic);
    const user: HeldUser = {
      topic,
      userId,
      keys,
      connections: [],
      leavesAtMs: undefined,
      written: undefined,
      isDirty: false,
    };
    const users = this.#topics.get(topic) ?? new Map<string, HeldUser>();
    this.#topics.set(topic, users.set(userId, user));
    this.#perPartition.set(keys, (this.#perPartition.get(keys) ?? 0) + 1);
    this.#size++;
    return user;
  }

  #remove(user: HeldUser): void {
    if (saidOf(user) === undefined) return;
    user.connections = [];
    user.leavesAtMs = undefined;
    this.#options.onChanged(user);
  }

  #letLeave(user: HeldUser): void {
    const { clock, graceMs } = this.#options;
    user.leavesAtMs = clock.monotonicMs() + graceMs;
    this.#leaving.push({ user, atMs: user.leavesAtMs });
    this.#tickLater();
  }

  #tickLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.tick();
      if (this.#leaving.length > 0) this.#tickLater();
    }, TICK_MS);
  }
}

// push-node/presence/open-presence -> here -> redis/presence/read-presence: tells connections that asked who is there.
// Guarantees: a topic is read at most once a second, except for newcomers, and only while somebody asks. One frame,
// encoded once. A newcomer is told after its own arrival was written, so it finds itself. A slow socket is told later,
// with the state at that time.
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import { groupBy } from "@petrel/shared/kernel/group-by";
import { createRareLog, type RareLog } from "@petrel/shared/kernel/logging/rare-log";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { TopicPresence as PresenceRule } from "@petrel/shared/protocol/topics/topic-rules";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { readPresence } from "@petrel/shared/redis/presence/read-presence";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { PresenceView, type Asker, type PresenceMember } from "./presence-view.js";

export interface TellPresenceOptions {
  readonly scripts: ScriptRunner;
  readonly keysOf: (topic: string) => PartitionKeys;
  readonly ruleOf: (topic: string) => PresenceRule;
  /** Whether Redis has the user's arrival. */
  readonly isWritten: (topic: string, userId: string) => boolean;
  readonly observer: TellObserver;
  readonly outboundBoundBytes: number;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly logger: Logger;
}

export interface TellObserver {
  /** Topics per call. */
  readonly read: (topics: number) => void;
  readonly told: () => void;
}

const TICK_MS = 50;
const PAUSE_MS = 1_000;
/** Newcomers do not wait for a whole second. */
const PAUSE_FOR_NEWCOMERS_MS = 200;
/** Sockets per slice; then everything else in this process gets its turn. */
const SLICE = 256;
const LOG_EVERY_MS = 60_000;

export class TellPresence {
  readonly #options: TellPresenceOptions;
  readonly #views = new Map<string, PresenceView>();
  /** Views with something to read or tell. */
  readonly #busy = new Set<PresenceView>();
  readonly #failures: RareLog;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: TellPresenceOptions) {
    this.#options = options;
    this.#failures = createRareLog(options.logger, LOG_EVERY_MS);
  }

  /** The number of topics that somebody asks about. */
  get size(): number {
    return this.#views.size;
  }

  /** A subscription wants to know who is there. */
  ask(member: PresenceMember): void {
    const { topic } = member;
    const view = this.#views.get(topic) ?? new PresenceView(topic, this.#options.keysOf(topic));
    this.#views.set(topic, view);
    if (view.askers.has(member)) return;
    const asker = { member, told: 0, notBeforeMs: 0 };
    view.askers.set(member, asker);
    view.fresh.add(asker);
    this.#work(view);
  }

  /** It no longer wants to know. */
  drop(member: PresenceMember): void {
    const view = this.#views.get(member.topic);
    const asker = view?.askers.get(member);
    if (view === undefined || asker === undefined) return;
    view.askers.delete(member);
    view.fresh.delete(asker);
    if (view.askers.size > 0) return;
    this.#views.delete(member.topic);
    this.#busy.delete(view);
  }

  /** Somebody came or went. */
  changed(topic: string): void {
    const view = this.#views.get(topic);
    if (view === undefined) return;
    view.isStale = true;
    this.#work(view);
  }

  /** Redis has the reported state of users in these topics. */
  written(topics: Iterable<string>): void {
    for (const topic of topics) {
      const view = this.#views.get(topic);
      if (view !== undefined && view.fresh.size > 0) this.#work(view);
    }
  }

  /** A subscriber that counts again is told when that is written, so that it finds itself. */
  rulesChanged(): void {
    for (const { askers, fresh } of this.#views.values()) {
      for (const asker of askers.values()) if (!this.#isWritten(asker)) fresh.add(asker);
    }
    this.lookAgain();
  }

  /** News may have been missed, in any topic. */
  lookAgain(): void {
    for (const topic of this.#views.keys()) this.changed(topic);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#views.clear();
    this.#busy.clear();
  }

  #work(view: PresenceView): void {
    this.#busy.add(view);
    this.#tickLater(0);
  }

  #tickLater(ms: number): void {
    if (this.#isStopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#tick();
      if (this.#busy.size > 0) this.#tickLater(TICK_MS);
    }, ms);
  }

  #tick(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const toRead: PresenceView[] = [];
    for (const view of this.#busy) {
      if (view.isReading || view.isSending) continue;
      if (this.#isToBeRead(view, nowMs)) toRead.push(view);
      else if (!this.#tell(view) && !view.isStale && view.fresh.size === 0) this.#busy.delete(view);
    }
    for (const [keys, views] of groupBy(toRead, ({ keys }) => keys)) void this.#read(keys, views);
  }

  #isToBeRead(view: PresenceView, nowMs: number): boolean {
    // Presence is off now: there is nothing to tell.
    if (this.#options.ruleOf(view.topic) === "off") {
      view.isStale = false;
      view.fresh.clear();
      return false;
    }
    const sinceMs = nowMs - view.readAtMs;
    if (view.isStale && sinceMs >= PAUSE_MS) return true;
    if (sinceMs < PAUSE_FOR_NEWCOMERS_MS) return false;
    for (const asker of view.fresh) if (this.#isWritten(asker)) return true;
    return false;
  }

  #isWritten({ member: { topic, connection } }: Asker): boolean {
    return this.#options.isWritten(topic, connection.userId);
  }

  async #read(keys: PartitionKeys, views: readonly PresenceView[]): Promise<void> {
    const { scripts, ruleOf, clock, observer } = this.#options;
    const newcomers = views.map((view) => [...view.fresh].filter((asker) => this.#isWritten(asker)));
    for (const view of views) {
      view.isReading = true;
      view.isStale = false;
      view.readAtMs = clock.monotonicMs();
    }
    try {
      const questions = views.map(({ topic }) => ({ topic, wantsList: ruleOf(topic) === "list" }));
      const states = await readPresence(scripts, keys, questions);
      observer.read(views.length);
      for (const [i, view] of views.entries()) {
        const state = states[i];
        if (state !== undefined) view.take(state);
        for (const asker of newcomers[i] ?? []) view.fresh.delete(asker);
        view.isTold = false;
      }
    } catch (error) {
      for (const view of views) view.isStale = true;
      this.#options.logger.debug({ reason: describeError(error) }, "presence not read");
      this.#failures.warn("presence not read: trying again");
    }
    for (const view of views) {
      view.isReading = false;
      if (this.#views.get(view.topic) !== view) continue;
      this.#tell(view);
      if (!this.#isStopped) this.#work(view);
    }
  }

  /** @returns whether anybody is still to be told */
  #tell(view: PresenceView): boolean {
    const { frame, number } = view;
    if (frame === undefined || view.isTold) return false;
    const nowMs = this.#options.clock.monotonicMs();
    const due: Asker[] = [];
    let isWaiting = false;
    for (const asker of view.askers.values()) {
      if (asker.told === number || view.fresh.has(asker)) continue;
      if (asker.notBeforeMs <= nowMs) due.push(asker);
      else isWaiting = true;
    }
    if (due.length === 0) {
      view.isTold = !isWaiting;
      return isWaiting;
    }
    view.isSending = true;
    this.#send(view, { due, frame, number }, 0);
    return true;
  }

  #send(
    view: PresenceView,
    what: { readonly due: readonly Asker[]; readonly frame: Buffer; readonly number: number },
    from: number,
  ): void {
    const { clock, outboundBoundBytes, observer } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const asker of what.due.slice(from, from + SLICE)) {
      const {
        member,
        member: { connection },
      } = asker;
      if (view.askers.get(member) !== asker || !connection.isOpen) continue;
      asker.notBeforeMs = nowMs + PAUSE_MS;
      // Told later, with the state at that time.
      if (connection.waitingBytes > outboundBoundBytes) continue;
      asker.told = what.number;
      connection.queue(what.frame);
      connection.flush();
      observer.told();
    }
    if (from + SLICE < what.due.length && !this.#isStopped) {
      setImmediate(() => this.#send(view, what, from + SLICE));
      return;
    }
    view.isSending = false;
  }
}

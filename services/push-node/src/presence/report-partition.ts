// push-node/presence/held-presence -> here -> redis/presence/report-presence: writes what this node holds in one
// partition to Redis.
// Guarantees: one call at a time, a few a second, 200 users in each. What may not have arrived is reported again, in
// its latest state. A node that cannot know what is left of its reports starts over as a new holder and reports
// everything; nobody goes missing meanwhile.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import {
  renewHolder,
  reportPresence,
  type PresenceHolder,
  type TopicReport,
} from "@petrel/shared/redis/presence/report-presence";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { saidOf, type HeldPresence, type HeldUser } from "./held-presence.js";

export interface PartitionReportOptions {
  readonly scripts: ScriptRunner;
  readonly keys: PartitionKeys;
  readonly node: string;
  readonly leaseMs: number;
  readonly held: Pick<HeldPresence, "all" | "has" | "settle">;
  readonly observer: ReportObserver;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly logger: Logger;
}

export interface ReportObserver {
  /** Redis has the reported state of these. */
  readonly written: (users: readonly HeldUser[]) => void;
  /** Everything that this node holds in a partition is reported anew. */
  readonly begun: () => void;
  readonly failed: () => void;
}

const MAX_A_CALL = 200;
/** Between two rounds of calls, so that changes are batched. */
const PAUSE_MS = 200;
const BACKOFF = { baseMs: 200, capMs: 3_000 } as const;

export class PartitionReport {
  readonly #options: PartitionReportOptions;
  readonly #dirty = new Set<HeldUser>();
  /** Users who were held when this holder began and whom it has not reported yet. */
  readonly #unsaid = new Set<HeldUser>();
  #number = 0;
  #version = 0;
  /** The highest version of the present holder that Redis certainly has. */
  #written = 0;
  #isKnown = false;
  /** Whether Redis may have reports of the present holder. */
  #hasSaid = false;
  #former: PresenceHolder | undefined;
  #renewedAtMs = Number.NEGATIVE_INFINITY;
  #nextMs = Number.NEGATIVE_INFINITY;
  #failures = 0;
  /** Run even if there is nothing to report, to check whether the holder is still known. */
  #mustRun = false;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: PartitionReportOptions) {
    this.#options = options;
  }

  /** The state to report for this user has changed. */
  changed(user: HeldUser): void {
    user.isDirty = true;
    this.#dirty.add(user);
    this.#schedule();
  }

  /** Renews the lease, and checks whether all reports are still known. */
  renew(): void {
    if (!this.#options.held.has(this.#options.keys) && this.#dirty.size === 0) return;
    this.#mustRun = true;
    this.#renewedAtMs = Number.NEGATIVE_INFINITY;
    this.#nextMs = Number.NEGATIVE_INFINITY;
    this.#schedule();
  }

  /**
   * Reports what is still unreported; the rest ends with the lease.
   * @param leaseMs from now on
   */
  async stop(leaseMs: number): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#running;
    if (!this.#isKnown) return;
    const { scripts, keys, logger } = this.#options;
    try {
      while (this.#dirty.size > 0) if (!(await this.#say())) return;
      await renewHolder(scripts, keys, { holder: this.#holder, leaseMs, written: this.#written });
    } catch (error) {
      logger.warn(
        { partition: keys.partition, reason: describeError(error) },
        "presence not fully reported at the stop",
      );
    }
  }

  get #holder(): PresenceHolder {
    return { node: this.#options.node, number: this.#number };
  }

  #schedule(): void {
    if (this.#isStopped || this.#running !== undefined) return;
    const waitMs = Math.max(0, this.#nextMs - this.#options.clock.monotonicMs());
    // Always deferred, so that the changes of one turn are batched.
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#running = this.#run().finally(() => {
        this.#running = undefined;
        if (this.#dirty.size > 0 || this.#mustRun) this.#schedule();
      });
    }, waitMs);
  }

  async #run(): Promise<void> {
    const { clock, logger, keys, observer } = this.#options;
    try {
      await this.#beKnown();
      while (this.#dirty.size > 0 && !this.#isStopped) {
        if (!(await this.#say())) await this.#begin();
      }
      if (this.#former !== undefined && this.#unsaid.size === 0) await this.#endFormer(this.#former);
      this.#failures = 0;
      this.#mustRun = false;
      this.#nextMs = clock.monotonicMs() + PAUSE_MS;
    } catch (error) {
      observer.failed();
      this.#nextMs = clock.monotonicMs() + PAUSE_MS + backoffMs(this.#failures++, BACKOFF);
      logger.warn({ partition: keys.partition, reason: describeError(error) }, "presence not reported yet");
      this.#mustRun = true;
    }
  }

  async #beKnown(): Promise<void> {
    const { scripts, keys, leaseMs, clock } = this.#options;
    if (!this.#isKnown) return this.#begin();
    const startedAtMs = clock.monotonicMs();
    if (startedAtMs - this.#renewedAtMs < leaseMs / 3) return;
    const renewal = { holder: this.#holder, leaseMs, written: this.#written };
    const answer = await renewHolder(scripts, keys, renewal);
    if (answer === "unknown") return this.#begin();
    this.#renewedAtMs = startedAtMs;
  }

  /** Starts over as a new holder, which takes over the former one's reports, user by user. */
  async #begin(): Promise<void> {
    const { scripts, keys, leaseMs, held, clock, observer } = this.#options;
    this.#isKnown = false;
    if (this.#hasSaid) this.#former = this.#holder;
    this.#hasSaid = false;
    this.#number++;
    this.#written = 0;
    this.#unsaid.clear();
    for (const user of held.all(keys)) {
      this.#unsaid.add(user);
      this.#dirty.add(user);
    }
    const startedAtMs = clock.monotonicMs();
    const former = this.#former === undefined ? {} : { former: { holder: this.#former, leaseMs } };
    const answer = await renewHolder(scripts, keys, {
      holder: this.#holder,
      leaseMs,
      begins: true,
      ...former,
    });
    if (answer === "unknown") throw new Error("the partition changed hands meanwhile");
    this.#isKnown = true;
    this.#renewedAtMs = startedAtMs;
    observer.begun();
  }

  /** @returns false if this node must start over */
  async #say(): Promise<boolean> {
    const { scripts, keys, held, observer } = this.#options;
    const users = [...take(this.#dirty, MAX_A_CALL)];
    const said = new Map(users.map((user) => [user, saidOf(user)]));
    this.#hasSaid = true;
    const version = ++this.#version;
    let isOver = false;
    try {
      const answer = await reportPresence(scripts, keys, {
        holder: this.#holder,
        version,
        written: this.#written,
        former: this.#former,
        topics: byTopic(said),
      });
      isOver = answer === "ok";
    } finally {
      // The report may or may not have arrived, so repeat it.
      if (!isOver) for (const user of users) this.#dirty.add(user);
    }
    if (!isOver) return false;
    this.#written = version;
    for (const user of users) {
      user.written = said.get(user);
      this.#unsaid.delete(user);
      user.isDirty = this.#dirty.has(user);
      held.settle(user);
    }
    observer.written(users);
    return true;
  }

  /** Whatever it reported and the new holder did not is wrong: the dispatcher removes it. */
  async #endFormer(former: PresenceHolder): Promise<void> {
    const { scripts, keys, leaseMs } = this.#options;
    const end = {
      holder: this.#holder,
      leaseMs,
      written: this.#written,
      former: { holder: former, leaseMs: 0 },
    };
    if ((await renewHolder(scripts, keys, end)) === "unknown") return this.#begin();
    this.#former = undefined;
  }
}

function* take(from: Set<HeldUser>, count: number): Iterable<HeldUser> {
  let left = count;
  for (const user of from) {
    if (left-- === 0) return;
    from.delete(user);
    yield user;
  }
}

function byTopic(said: ReadonlyMap<HeldUser, number | undefined>): TopicReport[] {
  const topics = new Map<string, [string, number | undefined][]>();
  for (const [{ topic, userId }, connections] of said) {
    const users = topics.get(topic);
    if (users === undefined) topics.set(topic, [[userId, connections]]);
    else users.push([userId, connections]);
  }
  return [...topics].map(([topic, users]) => ({ topic, users }));
}

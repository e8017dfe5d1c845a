// apns-channel -> here -> redis/device-invalidations: whether to believe Apple when it calls a device's token bad.
// Guarantees: a token is set aside only when it stood alone for a while; where many users' tokens are called bad at the
// same time, none is: the sends of that app and environment pause, and somebody is told.
//
// A token of the other environment, or of another app, looks to Apple like no token at all: after a mistake in the
// configuration, or in a release of the app, every device is "bad". So an answer is first a suspicion, and what came with
// it in the same while decides. Per process: each sees a share of the traffic, and the same mistake in it.
import { type Clock } from "@petrel/shared/kernel/clock";
import type { Logger } from "@petrel/shared/kernel/logging";
import type { ApnsEnvironment } from "@petrel/shared/protocol/device";

/** An app and environment, of which each has a breaker of its own. */
export interface DeviceScope {
  readonly topic: string;
  readonly environment: ApnsEnvironment;
}

export interface SuspectDevice extends DeviceScope {
  readonly userId: string;
  readonly deviceId: string;
}

export interface DeviceBreakerOptions {
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly logger: Logger;
  /** How long a suspicion lasts before it counts; and what is counted against it, ms. */
  readonly suspicionMs: number;
  /** A spike has at least so many users whose token was called bad… */
  readonly minUsers?: number;
  /** …and at least this share of all that was answered. */
  readonly minShare?: number;
  /** How long sends pause at first; twice as long after each look that was in vain, up to ten times. */
  readonly openMs: number;
  readonly onChange: (scope: DeviceScope, isOpen: boolean) => void;
  readonly random?: () => number;
}

export type Admission =
  | { readonly admitted: true }
  /** The app and environment are paused, or this device's suspicion is not decided. */
  | { readonly admitted: false; readonly why: "breaker-open" | "suspect"; readonly afterMs: number };

const MIN_USERS = 20;
const MIN_SHARE = 0.5;
const MAX_OPEN_FACTOR = 10;
/** Sends that are let through to see whether it is over. */
const PROBES = 5;
/** Whom to remember of a spike: more tell no more. */
const MAX_USERS = 10_000;

interface Suspicion {
  readonly confirm: () => void;
  readonly untilMs: number;
}

interface Counts {
  good: number;
  /** Nobody is in two of them. */
  readonly badUsers: Set<string>;
}

type State =
  | { readonly is: "closed" }
  | { readonly is: "open"; readonly untilMs: number; readonly openMs: number }
  | { readonly is: "half-open"; probesLeft: number; bad: number; idleAtMs: number; readonly openMs: number };

interface Breaker {
  readonly scope: DeviceScope;
  state: State;
  /** This while and the one before: what is counted is at least one long, and at most two. */
  current: Counts;
  previous: Counts;
  startedMs: number;
  readonly suspects: Map<string, Suspicion>;
}

export class DeviceBreaker {
  readonly #options: Required<DeviceBreakerOptions>;
  readonly #breakers = new Map<string, Breaker>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: DeviceBreakerOptions) {
    this.#options = { minUsers: MIN_USERS, minShare: MIN_SHARE, random: Math.random, ...options };
  }

  start(): void {
    this.#timer ??= setInterval(() => this.decide(), Math.max(10, this.#options.suspicionMs / 4)).unref();
  }

  /** What is not decided is forgotten: the next message brings it up again. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** Asked before each send. */
  admit(scope: DeviceScope, deviceId: string): Admission {
    const breaker = this.#breakers.get(nameOf(scope));
    if (breaker === undefined) return { admitted: true };
    const nowMs = this.#options.clock.monotonicMs();
    this.#halfOpen(breaker, nowMs);
    const { state } = breaker;
    if (state.is === "open") return this.#refuse("breaker-open", state.untilMs - nowMs);
    if (state.is === "half-open") {
      if (state.probesLeft === 0) {
        // None of them answered what would decide: a fault of the network, perhaps. Others may try.
        if (nowMs - state.idleAtMs < this.#options.suspicionMs) {
          return this.#refuse("breaker-open", this.#options.suspicionMs);
        }
        state.probesLeft = PROBES;
        state.bad = 0;
      }
      state.probesLeft--;
      state.idleAtMs = nowMs;
      return { admitted: true };
    }
    const suspicion = breaker.suspects.get(deviceId);
    if (suspicion === undefined) return { admitted: true };
    return this.#refuse("suspect", suspicion.untilMs - nowMs);
  }

  /** Apple knows the token: it took the message, or says since when the token is over. */
  known(scope: DeviceScope): void {
    const breaker = this.#find(scope);
    this.#turn(breaker);
    breaker.current.good++;
    if (breaker.state.is !== "half-open") return;
    breaker.state = { is: "closed" };
    this.#reset(breaker);
    // Not what was handed in: that may be a whole device, with its token.
    const { topic, environment } = breaker.scope;
    this.#options.logger.info({ topic, environment }, "APNs knows this app's devices again: sends go on");
    this.#options.onChange(breaker.scope, false);
  }

  /**
   * Apple calls the token bad.
   * @param confirm called when the suspicion has stood for its time and was not part of a spike
   * @returns for how long its messages should wait, ms
   */
  suspect(device: SuspectDevice, confirm: () => void): number {
    const { suspicionMs, clock } = this.#options;
    const breaker = this.#find(device);
    this.#turn(breaker);
    const nowMs = clock.monotonicMs();
    const { state, current, previous } = breaker;
    if (current.badUsers.size < MAX_USERS && !previous.badUsers.has(device.userId)) {
      current.badUsers.add(device.userId);
    }
    if (state.is === "half-open") {
      state.bad++;
      if (state.bad >= PROBES) this.#open(breaker, state.openMs * 2);
    } else if (state.is === "closed") {
      if (!breaker.suspects.has(device.deviceId)) {
        breaker.suspects.set(device.deviceId, { confirm, untilMs: nowMs + suspicionMs });
      }
      if (this.#isSpike(breaker)) this.#open(breaker, this.#options.openMs);
    }
    return breaker.state.is === "open" ? this.#spread(breaker.state.untilMs - nowMs) : this.#spread(suspicionMs);
  }

  /** Whether a device of this app and environment may be forgotten now. */
  mayForget(scope: DeviceScope): boolean {
    const breaker = this.#breakers.get(nameOf(scope));
    return breaker === undefined || breaker.state.is === "closed";
  }

  /** Those that are open, half-open among them. */
  get open(): readonly DeviceScope[] {
    return [...this.#breakers.values()].filter(({ state }) => state.is !== "closed").map(({ scope }) => scope);
  }

  /** Apps and environments that are remembered. */
  get size(): number {
    return this.#breakers.size;
  }

  /** Suspicions whose time is over are confirmed; called by a timer. */
  decide(): void {
    const { clock, suspicionMs } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const [name, breaker] of this.#breakers) {
      for (const [deviceId, { untilMs, confirm }] of breaker.suspects) {
        if (untilMs > nowMs) continue;
        breaker.suspects.delete(deviceId);
        confirm();
      }
      const isIdle = nowMs - breaker.startedMs > 2 * suspicionMs;
      // Topics come from outside: those that are quiet take no room.
      if (isIdle && breaker.state.is === "closed" && breaker.suspects.size === 0) this.#breakers.delete(name);
    }
  }

  #find({ topic, environment }: DeviceScope): Breaker {
    const scope = { topic, environment };
    const name = nameOf(scope);
    let breaker = this.#breakers.get(name);
    if (breaker === undefined) {
      breaker = {
        scope,
        state: { is: "closed" },
        current: noCounts(),
        previous: noCounts(),
        startedMs: this.#options.clock.monotonicMs(),
        suspects: new Map(),
      };
      this.#breakers.set(name, breaker);
    }
    return breaker;
  }

  #turn(breaker: Breaker): void {
    const { clock, suspicionMs } = this.#options;
    const nowMs = clock.monotonicMs();
    const passedMs = nowMs - breaker.startedMs;
    if (passedMs < suspicionMs) return;
    breaker.previous = passedMs < 2 * suspicionMs ? breaker.current : noCounts();
    breaker.current = noCounts();
    breaker.startedMs = nowMs;
  }

  #isSpike({ current, previous }: Breaker): boolean {
    const { minUsers, minShare } = this.#options;
    const bad = current.badUsers.size + previous.badUsers.size;
    return bad >= minUsers && bad / (bad + current.good + previous.good) >= minShare;
  }

  #open(breaker: Breaker, wantedMs: number): void {
    const { clock, openMs: firstMs, logger, onChange } = this.#options;
    const openMs = Math.min(wantedMs, firstMs * MAX_OPEN_FACTOR);
    const wasClosed = breaker.state.is === "closed";
    const users = breaker.current.badUsers.size + breaker.previous.badUsers.size;
    breaker.state = { is: "open", untilMs: clock.monotonicMs() + openMs, openMs };
    this.#reset(breaker);
    const { topic, environment } = breaker.scope;
    logger.error(
      { topic, environment, users, pausedMs: openMs },
      "APNs calls this app's device tokens bad, those of many users at once: sends are paused and no device is touched. Is the environment or the topic right?",
    );
    if (wasClosed) onChange(breaker.scope, true);
  }

  #halfOpen(breaker: Breaker, nowMs: number): void {
    const { state } = breaker;
    if (state.is !== "open" || state.untilMs > nowMs) return;
    breaker.state = { is: "half-open", probesLeft: PROBES, bad: 0, idleAtMs: nowMs, openMs: state.openMs };
  }

  #reset(breaker: Breaker): void {
    breaker.suspects.clear();
    breaker.current = noCounts();
    breaker.previous = noCounts();
    breaker.startedMs = this.#options.clock.monotonicMs();
  }

  #refuse(why: "breaker-open" | "suspect", waitMs: number): Admission {
    return { admitted: false, why, afterMs: this.#spread(waitMs) };
  }

  /** So that not all come back in the same moment. */
  #spread(waitMs: number): number {
    return Math.ceil(Math.max(0, waitMs) * (1 + this.#options.random() / 4)) + 1;
  }
}

function noCounts(): Counts {
  return { good: 0, badUsers: new Set() };
}

function nameOf({ topic, environment }: DeviceScope): string {
  return `${environment} ${topic}`;
}

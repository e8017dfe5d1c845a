// send-to-device -> here -> devices/device-invalidations: whether to believe Apple when it calls a device's token bad.
// Guarantees: a token is set aside only when it stood alone for a while; where many users' tokens are called bad at the
// same time, none is: the sends of that app and environment pause, and an error is logged.
//
// A token of the other environment, or of another app, looks to Apple like no token at all: after a mistake in the
// configuration, or in a release of the app, every device is "bad". So an answer is first a suspicion; what else came at
// that time decides. Only tokens that Apple has taken before count: anybody who may sign in can register made-up ones,
// and twenty of them must not stop an app's pushes. One that Apple never took is set aside on its own.
//
// A suspicion outlives the pause: once Apple knows others of the app again, a token that it called bad before, and calls
// bad again, is set aside, and counts for no second pause. Each process pauses for itself, by its share of the traffic;
// what one has seen as a spike keeps the others from setting devices aside, too.
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { IosDevice } from "@petrel/shared/protocol/fallback/device";
import type { ApnsSpikesStore } from "@petrel/shared/redis/fallback/apns-spikes-store";
import { type AppBreaker, createAppBreaker, type DeviceScope, type Suspicion } from "./app-breaker.js";

export interface SuspectDevice extends DeviceScope {
  readonly userId: string;
  readonly deviceId: string;
  /** Apple has taken a push for it before. */
  readonly isTaken: boolean;
}

export interface DeviceBreakerOptions {
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly logger: Logger;
  /** How long a suspicion lasts before it counts; and how old what is seen as one spike may be, ms. */
  readonly suspicionMs: number;
  /** A spike has at least so many users whose token was called bad… */
  readonly minUsers?: number;
  /** …and at least this share of the last answers. */
  readonly minShare?: number;
  /** How long sends pause at first; twice as long after each look that was in vain, up to ten times. */
  readonly openMs: number;
  readonly onChange: (scope: DeviceScope, isOpen: boolean) => void;
  /** What other processes have seen, and are told. */
  readonly spikes: Pick<ApnsSpikesStore, "note" | "isKnown">;
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
/** For how many times as long as a suspicion lasts it outlives a pause. */
const OUTLIVES_FACTOR = 120;

export class DeviceBreaker {
  readonly #options: Required<DeviceBreakerOptions>;
  readonly #breakers = new Map<string, AppBreaker>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: DeviceBreakerOptions) {
    this.#options = { minUsers: MIN_USERS, minShare: MIN_SHARE, random: Math.random, ...options };
  }

  start(): void {
    this.#timer ??= setInterval(
      () => void this.decide(),
      Math.max(10, this.#options.suspicionMs / 4),
    ).unref();
  }

  /** What is not decided is forgotten: the next message brings it up again. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** Asked before each send. */
  admit(scope: DeviceScope, { id, isTaken }: Pick<IosDevice, "id" | "isTaken">): Admission {
    const breaker = this.#breakers.get(nameOf(scope));
    if (breaker === undefined) return { admitted: true };
    const nowMs = this.#options.clock.monotonicMs();
    this.#halfOpen(breaker, nowMs);
    const { state } = breaker;
    if (state.kind === "open") return this.#refuse("breaker-open", state.untilMs - nowMs);
    if (state.kind === "half-open") {
      const kind = isTaken === true ? "taken" : "never";
      if (state.probesLeft[kind] === 0) {
        // No answer of theirs decides: a network fault, perhaps. Others may try.
        if (nowMs - state.idleAtMs < this.#options.suspicionMs) {
          return this.#refuse("breaker-open", this.#options.suspicionMs);
        }
        state.probesLeft = { taken: PROBES, never: PROBES };
        state.bad = 0;
      }
      state.probesLeft[kind]--;
      state.idleAtMs = nowMs;
      return { admitted: true };
    }
    const suspicion = breaker.suspects.get(id);
    if (suspicion === undefined) return { admitted: true };
    return this.#refuse("suspect", suspicion.untilMs - nowMs);
  }

  /** Apple knows the token: it took the message, or says since when the token is over. */
  known(scope: DeviceScope, deviceId: string): void {
    const breaker = this.#find(scope);
    this.#note(breaker, undefined);
    breaker.outliving.delete(deviceId);
    if (breaker.state.kind !== "half-open") return;
    breaker.state = { kind: "closed" };
    this.#reset(breaker);
    // Not the argument: that may be a whole device, with its token.
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
    const { deviceId, isTaken } = device;
    const nowMs = clock.monotonicMs();
    breaker.lastAnswerMs = nowMs;
    const { state } = breaker;
    if (state.kind === "closed") {
      const isOldNews = breaker.outliving.has(deviceId, nowMs);
      if (!breaker.suspects.has(deviceId)) {
        breaker.suspects.set(deviceId, { confirm, untilMs: isOldNews ? nowMs : nowMs + suspicionMs });
      }
      if (isTaken && !isOldNews) {
        this.#note(breaker, device.userId);
        if (this.#isSpike(breaker)) this.#open(breaker, this.#options.openMs);
      }
    } else {
      this.#outlive(breaker, deviceId);
      if (state.kind === "half-open" && isTaken && ++state.bad >= PROBES)
        this.#open(breaker, state.openMs * 2);
    }
    return breaker.state.kind === "open"
      ? this.#spread(breaker.state.untilMs - nowMs)
      : this.#spread(suspicionMs);
  }

  /** Whether a device of this app and environment may be forgotten now. */
  mayForget(scope: DeviceScope): boolean {
    const breaker = this.#breakers.get(nameOf(scope));
    return breaker === undefined || breaker.state.kind === "closed";
  }

  /** Those that are open, half-open among them. */
  get open(): readonly DeviceScope[] {
    return [...this.#breakers.values()]
      .filter(({ state }) => state.kind !== "closed")
      .map(({ scope }) => scope);
  }

  /** Apps and environments that are remembered. */
  get size(): number {
    return this.#breakers.size;
  }

  /** Suspicions whose time is over are confirmed, unless another process has seen a spike; called by a timer. */
  async decide(): Promise<void> {
    const { clock, suspicionMs } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const [name, breaker] of this.#breakers) {
      const due = [...breaker.suspects].filter(([, { untilMs }]) => untilMs <= nowMs);
      if (due.length > 0) await this.#confirm(breaker, due);
      const isIdle = nowMs - breaker.lastAnswerMs > suspicionMs;
      breaker.outliving.dropEnded(nowMs);
      // Topics come from clients: quiet ones must take no room.
      if (isIdle && breaker.state.kind === "closed" && breaker.suspects.size + breaker.outliving.size === 0)
        this.#breakers.delete(name);
    }
  }

  async #confirm(breaker: AppBreaker, due: readonly (readonly [string, Suspicion])[]): Promise<void> {
    const { spikes, logger } = this.#options;
    let isSpike: boolean;
    try {
      isSpike = await spikes.isKnown(breaker.scope);
    } catch (error) {
      logger.debug({ reason: describeError(error) }, "suspect devices not decided yet");
      return;
    }
    for (const [deviceId, suspicion] of due) {
      // It may have become part of a spike here, or have been decided, in the meantime.
      if (breaker.suspects.get(deviceId) !== suspicion) continue;
      breaker.suspects.delete(deviceId);
      if (isSpike) this.#outlive(breaker, deviceId);
      else suspicion.confirm();
    }
  }

  #find({ topic, environment }: DeviceScope): AppBreaker {
    const scope = { topic, environment };
    const name = nameOf(scope);
    const nowMs = this.#options.clock.monotonicMs();
    let breaker = this.#breakers.get(name);
    if (breaker === undefined) {
      breaker = createAppBreaker(scope, nowMs, OUTLIVES_FACTOR * this.#options.suspicionMs);
      this.#breakers.set(name, breaker);
    }
    return breaker;
  }

  #note(breaker: AppBreaker, badUser: string | undefined): void {
    const atMs = this.#options.clock.monotonicMs();
    breaker.lastAnswerMs = atMs;
    breaker.answers.note(atMs, badUser);
  }

  #isSpike({ answers }: AppBreaker): boolean {
    const { minUsers, minShare, suspicionMs, clock } = this.#options;
    return answers.isSpike({ sinceMs: clock.monotonicMs() - suspicionMs, minUsers, minShare });
  }

  #open(breaker: AppBreaker, wantedMs: number): void {
    const { clock, openMs: firstMs, suspicionMs, logger, onChange, spikes } = this.#options;
    const openMs = Math.min(wantedMs, firstMs * MAX_OPEN_FACTOR);
    const wasClosed = breaker.state.kind === "closed";
    breaker.state = { kind: "open", untilMs: clock.monotonicMs() + openMs, openMs };
    this.#reset(breaker);
    const { topic, environment } = breaker.scope;
    if (wasClosed) {
      logger.error(
        { topic, environment, pausedMs: openMs },
        "APNs calls this app's device tokens bad, those of many users at once: sends are paused and no device is touched. Is the environment or the topic right?",
      );
      onChange(breaker.scope, true);
    } else
      logger.info({ topic, environment, pausedMs: openMs }, "APNs still calls this app's device tokens bad");
    // Until the last suspicion that another process has now is over.
    spikes.note(breaker.scope, openMs + 2 * suspicionMs).catch((error: unknown) => {
      logger.debug({ reason: describeError(error) }, "spike not told to the others");
    });
  }

  #halfOpen(breaker: AppBreaker, nowMs: number): void {
    const { state } = breaker;
    if (state.kind !== "open" || state.untilMs > nowMs) return;
    breaker.state = {
      kind: "half-open",
      probesLeft: { taken: PROBES, never: PROBES },
      bad: 0,
      idleAtMs: nowMs,
      openMs: state.openMs,
    };
  }

  #reset(breaker: AppBreaker): void {
    for (const deviceId of breaker.suspects.keys()) this.#outlive(breaker, deviceId);
    breaker.suspects.clear();
    breaker.answers.clear();
  }

  #outlive({ outliving }: AppBreaker, deviceId: string): void {
    outliving.add(deviceId, this.#options.clock.monotonicMs());
  }

  #refuse(why: "breaker-open" | "suspect", waitMs: number): Admission {
    return { admitted: false, why, afterMs: this.#spread(waitMs) };
  }

  /** So that not all come back in the same moment. */
  #spread(waitMs: number): number {
    return Math.ceil(Math.max(0, waitMs) * (1 + this.#options.random() / 4)) + 1;
  }
}

function nameOf({ topic, environment }: DeviceScope): string {
  return `${environment} ${topic}`;
}

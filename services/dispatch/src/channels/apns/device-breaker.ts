// send-to-device -> here -> devices/device-invalidations: whether to believe Apple when it calls a device's token bad.
// Guarantees: a token is quarantined only if its suspicion stood alone for a while. If many users' tokens are called
// bad at the same time, none is: sends to that app and environment pause, and an error is logged.
// To Apple, a token of the other environment or of another app looks like no token at all: after a mistake in the
// configuration, or in a release of the app, every device is "bad". So such an answer only raises a suspicion, and the
// other answers around it decide. Only tokens that Apple has accepted before count as evidence: anybody who may sign in
// can register made-up ones, and twenty of them must not stop an app's pushes. A token that Apple never accepted is
// quarantined by itself.
// A suspicion outlives the pause: once Apple recognises other tokens of the app again, a token that it called bad
// before and calls bad again is quarantined, and counts towards no second pause. Each process pauses by its own share
// of the traffic; a spike that one of them has seen keeps the others from quarantining devices, too.
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { IosDevice } from "@petrel/shared/protocol/fallback/device";
import type { ApnsSpikesStore } from "@petrel/shared/redis/fallback/apns-spikes-store";
import { type AppBreaker, createAppBreaker, type DeviceScope, type Suspicion } from "./app-breaker.js";

export interface SuspectDevice extends DeviceScope {
  readonly userId: string;
  readonly deviceId: string;
  /** Whether Apple has ever accepted a push for it. */
  readonly isTaken: boolean;
}

export interface DeviceBreakerOptions {
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly logger: Logger;
  /** How long a suspicion must stand before it counts, and the longest span of one spike, ms. */
  readonly suspicionMs: number;
  /** A spike needs at least this many users whose token was called bad… */
  readonly minUsers?: number;
  /** …and at least this share of the last answers. */
  readonly minShare?: number;
  /** How long sends pause at first; doubled after each round of failed probes, up to tenfold. */
  readonly openMs: number;
  readonly onChange: (scope: DeviceScope, isOpen: boolean) => void;
  /** Spikes that other processes have seen, and that they learn from us. */
  readonly spikes: Pick<ApnsSpikesStore, "note" | "isKnown">;
  readonly random?: () => number;
}

export type Admission =
  | { readonly admitted: true }
  /** The app and environment are paused, or this device's suspicion is undecided. */
  | { readonly admitted: false; readonly why: "breaker-open" | "suspect"; readonly afterMs: number };

const MIN_USERS = 20;
const MIN_SHARE = 0.5;
const MAX_OPEN_FACTOR = 10;
/** Sends that pass to probe whether it is over. */
const PROBES = 5;
/** How many times its own duration a suspicion outlives a pause. */
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

  /** Forgets undecided suspicions; the next message raises them again. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** Call it before each send. */
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
        // The probes have had no conclusive answer, perhaps because of a network fault. Let others try.
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

  /** Apple recognises the token: it accepted the message, or says since when the token is invalid. */
  known(scope: DeviceScope, deviceId: string): void {
    const breaker = this.#find(scope);
    this.#note(breaker, undefined);
    breaker.outliving.delete(deviceId);
    if (breaker.state.kind !== "half-open") return;
    breaker.state = { kind: "closed" };
    this.#reset(breaker);
    // Not the argument, which may be a whole device with its token.
    const { topic, environment } = breaker.scope;
    this.#options.logger.info(
      { topic, environment },
      "APNs accepts this app's device tokens again: sending resumes",
    );
    this.#options.onChange(breaker.scope, false);
  }

  /**
   * Call it when Apple calls the token bad.
   * @param confirm called if the suspicion has stood for its time and was not part of a spike
   * @returns how long its messages should wait, ms
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

  /** Whether devices of this app and environment may be forgotten now. */
  mayForget(scope: DeviceScope): boolean {
    const breaker = this.#breakers.get(nameOf(scope));
    return breaker === undefined || breaker.state.kind === "closed";
  }

  /** The scopes whose breaker is open or half-open. */
  get open(): readonly DeviceScope[] {
    return [...this.#breakers.values()]
      .filter(({ state }) => state.kind !== "closed")
      .map(({ scope }) => scope);
  }

  /** The number of remembered apps and environments. */
  get size(): number {
    return this.#breakers.size;
  }

  /** Confirms suspicions whose time is over, unless another process has seen a spike; called by a timer. */
  async decide(): Promise<void> {
    const { clock, suspicionMs } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const [name, breaker] of this.#breakers) {
      const due = [...breaker.suspects].filter(([, { untilMs }]) => untilMs <= nowMs);
      if (due.length > 0) await this.#confirm(breaker, due);
      const isIdle = nowMs - breaker.lastAnswerMs > suspicionMs;
      breaker.outliving.dropEnded(nowMs);
      // Topics come from clients, so idle ones must not use memory.
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
      logger.debug({ reason: describeError(error) }, "suspect devices still undecided");
      return;
    }
    for (const [deviceId, suspicion] of due) {
      // Meanwhile it may have become part of a spike here, or have been decided.
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
        "APNs rejects device tokens of many users of this app at once: sending is paused and no device is removed. Are the environment and the topic right?",
      );
      onChange(breaker.scope, true);
    } else
      logger.info({ topic, environment, pausedMs: openMs }, "APNs still rejects this app's device tokens");
    // Until the last suspicion that another process holds now is over.
    spikes.note(breaker.scope, openMs + 2 * suspicionMs).catch((error: unknown) => {
      logger.debug({ reason: describeError(error) }, "spike not reported to the other dispatchers");
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

  /** Spreads retries, so that they do not all come back at once. */
  #spread(waitMs: number): number {
    return Math.ceil(Math.max(0, waitMs) * (1 + this.#options.random() / 4)) + 1;
  }
}

function nameOf({ topic, environment }: DeviceScope): string {
  return `${environment} ${topic}`;
}

// A service's parts -> here -> kernel/http-app: the answer of `/health/ready`.
// Guarantees: once a part has worked, a failure counts only after `patienceMs`, so that a failover takes no instance
// out of a load balancer. A part that has never worked counts at once, and so does a decision such as a drain.
import type { Clock } from "../clock.js";
import { describeError } from "../errors.js";
import type { Readiness } from "../http/http-app.js";

export interface ReadinessOptions {
  /** Each rejects with the reason if its part fails. */
  readonly patient: Readonly<Record<string, () => Promise<unknown>>>;
  /** Each returns the reason, or undefined if all is well. */
  readonly atOnce?: Readonly<Record<string, () => string | undefined>>;
  /** While this returns true, a part that has worked before cannot make the service unready. */
  readonly isHeld?: () => boolean;
  readonly patienceMs: number;
  readonly clock: Clock;
}

/** Below http-app's limit for the whole answer, together with the other checks. */
const CHECK_MS = 500;

export function createReadiness(options: ReadinessOptions): () => Promise<Readiness> {
  const { patienceMs, clock, isHeld = () => false } = options;
  const parts = Object.entries(options.patient).map(
    ([name, check]) => [name, new PatientPart(check, clock)] as const,
  );
  const atOnce = Object.entries(options.atOnce ?? {});
  return async () => {
    const looks = await Promise.all(parts.map(async ([name, part]) => [name, await part.look()] as const));
    const decisions = atOnce.map(([name, find]) => [name, find()] as const);
    const isReady =
      decisions.every(([, wrong]) => wrong === undefined) &&
      looks.every(([, { wrong, failingMs }]) => wrong === undefined || isHeld() || failingMs < patienceMs);
    const found = [...looks.map(([name, { wrong }]) => [name, wrong] as const), ...decisions];
    const checks = Object.fromEntries(found.map(([name, wrong]) => [name, wrong ?? "ok"]));
    return { ready: isReady && looks.every(([, { hasWorked }]) => hasWorked), checks };
  };
}

interface Look {
  readonly wrong: string | undefined;
  readonly failingMs: number;
  readonly hasWorked: boolean;
}

class PatientPart {
  readonly #check: () => Promise<unknown>;
  readonly #clock: Clock;
  #hasWorked = false;
  #failingSinceMs: number | undefined;
  /** One check at a time, however many probes ask: a silent server must not collect a queue of them. */
  #underWay: Promise<string | undefined> | undefined;

  constructor(check: () => Promise<unknown>, clock: Clock) {
    this.#check = check;
    this.#clock = clock;
  }

  async look(): Promise<Look> {
    const wrong = await this.#ask();
    const nowMs = this.#clock.monotonicMs();
    if (wrong === undefined) {
      this.#hasWorked = true;
      this.#failingSinceMs = undefined;
    } else this.#failingSinceMs ??= nowMs;
    const failingMs = nowMs - (this.#failingSinceMs ?? nowMs);
    return { wrong, failingMs, hasWorked: this.#hasWorked };
  }

  async #ask(): Promise<string | undefined> {
    this.#underWay ??= this.#askNow().finally(() => (this.#underWay = undefined));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string>((resolve) => {
      timer = setTimeout(() => resolve(`no answer within ${CHECK_MS} ms`), CHECK_MS);
    });
    return Promise.race([this.#underWay, late]).finally(() => clearTimeout(timer));
  }

  async #askNow(): Promise<string | undefined> {
    try {
      await this.#check();
      return undefined;
    } catch (error) {
      return describeError(error);
    }
  }
}

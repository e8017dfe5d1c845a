// Tests only: stepped-scripts behind a network of any latency that can lose calls and answers, in a time that the test
// steps.
// Guarantees: a call runs at the moment it arrives, and its answer comes at the moment it is due; time stands still
// while Redis works.
import { EventEmitter, once } from "node:events";
import type { Redis } from "../../redis/connection/connect.js";
import type { ScriptName } from "../../redis/scripts/script-catalogue.js";
import { SteppedScripts } from "./stepped-scripts.js";

export interface Journey {
  /** Infinity: the call is lost. */
  readonly toMs: number;
  /** Infinity: the answer is lost. */
  readonly backMs: number;
}

/** One test's time, shared by Redis and all its clients. */
export class SteppedTime {
  nowMs: number;
  readonly #due: { readonly atMs: number; readonly arrive: () => void }[] = [];
  readonly #scripts: SteppedScripts;
  readonly #idle = new EventEmitter();
  #working = 0;

  constructor(redis: Redis, nowMs: number) {
    this.#scripts = new SteppedScripts(redis);
    this.nowMs = nowMs;
  }

  /** One process's link. */
  link(journey: () => Journey): LatentScripts {
    return new LatentScripts(this, journey);
  }

  /** @param tick called with the ms that have passed, before anything else sees them */
  async advance(ms: number, tick: (ms: number) => void): Promise<void> {
    this.nowMs += ms;
    tick(ms);
    await this.#settled();
    for (;;) {
      const due = this.#due.filter(({ atMs }) => atMs <= this.nowMs);
      if (due.length === 0) return;
      for (const one of due) this.#due.splice(this.#due.indexOf(one), 1);
      for (const { arrive } of due) arrive();
      await this.#settled();
    }
  }

  async wait(ms: number): Promise<void> {
    if (ms === 0) return;
    await new Promise<void>((arrive) => this.#due.push({ atMs: this.nowMs + ms, arrive }));
  }

  /** Runs a script in Redis at this moment. */
  async run(name: ScriptName, keys: readonly string[], args: readonly (string | number)[]): Promise<string> {
    this.#working++;
    try {
      // Each time: a call that takes no time to arrive comes while nothing is due.
      const [, text] = await Promise.all([
        this.#scripts.setNow(this.nowMs),
        this.#scripts.run(name, keys, args),
      ]);
      return text;
    } finally {
      this.#working--;
      if (this.#working === 0) this.#idle.emit("idle");
    }
  }

  /** Everything in this turn has run, and Redis is idle. */
  async #settled(): Promise<void> {
    for (let turn = 0; turn < 4; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#working === 0) continue;
      await once(this.#idle, "idle");
      turn = 0;
    }
  }
}

export class LatentScripts {
  readonly #time: SteppedTime;
  readonly #journey: () => Journey;

  constructor(time: SteppedTime, journey: () => Journey) {
    this.#time = time;
    this.#journey = journey;
  }

  async run(name: ScriptName, keys: readonly string[], args: readonly (string | number)[]): Promise<string> {
    const { toMs, backMs } = this.#journey();
    await this.#time.wait(toMs);
    const text = await this.#time.run(name, keys, args);
    await this.#time.wait(backMs);
    return text;
  }

  together<T>(task: () => T): T {
    return task();
  }
}

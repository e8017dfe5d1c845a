// Tests only: tabs in memory, with the locks, channels and pages of a browser, that freeze and crash.
// Guarantees: what is sent from one place to one tab arrives in order; nothing reaches a frozen tab before it thaws, nor
// leaves it; a crashed tab does nothing more, and its locks are free.
import type { ShareEnvironment } from "@petrel/client";

type Task = () => void;

/** How a freeze comes about: `told` as browsers do it, `hung` without a word. */
export type FreezeKind = "told" | "hung";

interface LockRequest {
  readonly tab: FakeTab;
  readonly callback: () => Promise<unknown> | undefined;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

interface Lock {
  holder: LockRequest | undefined;
  readonly queue: LockRequest[];
}

export class FakeBrowser {
  readonly #locks = new Map<string, Lock>();
  readonly #channels = new Map<string, Set<FakeChannel>>();
  readonly #delayMs: () => number;

  /** @param delayMs how long the next event is under way */
  constructor(delayMs: () => number) {
    this.#delayMs = delayMs;
  }

  get heldLocks(): number {
    return [...this.#locks.values()].filter(({ holder }) => holder !== undefined).length;
  }

  openTab(): FakeTab {
    return new FakeTab(this, this.#delayMs);
  }

  lockOf(name: string): Lock {
    const lock = this.#locks.get(name) ?? { holder: undefined, queue: [] };
    this.#locks.set(name, lock);
    return lock;
  }

  channelsOf(name: string): Set<FakeChannel> {
    const channels = this.#channels.get(name) ?? new Set();
    this.#channels.set(name, channels);
    return channels;
  }

  /** Gives a free lock to the next in line. */
  grant(lock: Lock): void {
    if (lock.holder !== undefined) return;
    const next = lock.queue.shift();
    if (next === undefined) return;
    lock.holder = next;
    next.tab.deliver(() => {
      // Stolen before the tab ran.
      if (lock.holder !== next) return;
      const release = (): void => {
        next.tab.leave(() => {
          if (lock.holder !== next) return;
          lock.holder = undefined;
          next.resolve(undefined);
          this.grant(lock);
        });
      };
      const held = next.callback();
      if (held === undefined) release();
      else void held.then(release);
    });
  }

  freeLocksOf(tab: FakeTab): void {
    for (const lock of this.#locks.values()) {
      for (let i = lock.queue.length - 1; i >= 0; i--)
        if (lock.queue[i]?.tab === tab) lock.queue.splice(i, 1);
      if (lock.holder?.tab !== tab) continue;
      lock.holder = undefined;
      this.grant(lock);
    }
  }
}

export class FakeTab {
  readonly environment: ShareEnvironment;
  visibility: "visible" | "hidden" = "visible";
  isFrozen = false;
  isCrashed = false;
  readonly #browser: FakeBrowser;
  readonly #delayMs: () => number;
  readonly #listeners = new Map<string, Set<Task>>();
  /** Came while it was frozen; and what it did then. */
  #waiting: Task[] = [];
  #leaving: Task[] = [];
  #lastAtMs = 0;

  constructor(browser: FakeBrowser, delayMs: () => number) {
    this.#browser = browser;
    this.#delayMs = delayMs;
    this.environment = environmentOf(this, browser, this.#listeners);
  }

  /** Runs this in the tab, a little later. */
  deliver(task: Task): void {
    const nowMs = performance.now();
    this.#lastAtMs = Math.max(nowMs + this.#delayMs(), this.#lastAtMs);
    setTimeout(() => this.#run(task), this.#lastAtMs - nowMs);
  }

  /** The tab has done this. */
  leave(task: Task): void {
    if (this.isCrashed) return;
    if (this.isFrozen) this.#leaving.push(task);
    else task();
  }

  look(visibility: "visible" | "hidden"): void {
    this.visibility = visibility;
    this.#tell("visibilitychange");
  }

  freeze(kind: FreezeKind): void {
    if (this.isFrozen || this.isCrashed) return;
    if (kind === "told") this.#tell("freeze");
    this.isFrozen = true;
  }

  thaw(): void {
    if (!this.isFrozen || this.isCrashed) return;
    this.isFrozen = false;
    for (const task of this.#leaving.splice(0)) task();
    this.deliver(() => this.#tell("resume"));
  }

  crash(): void {
    this.isCrashed = true;
    this.#waiting = [];
    this.#leaving = [];
    this.#browser.freeLocksOf(this);
  }

  #run(task: Task): void {
    // Behind what came before, in case that still waits.
    this.#waiting.push(task);
    while (!this.isFrozen && !this.isCrashed) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      next();
    }
  }

  #tell(type: string): void {
    for (const listener of this.#listeners.get(type) ?? []) listener();
  }
}

function environmentOf(
  tab: FakeTab,
  browser: FakeBrowser,
  listeners: Map<string, Set<Task>>,
): ShareEnvironment {
  return {
    locks: {
      request: (name, options, callback) =>
        new Promise((resolve, reject) => {
          const lock = browser.lockOf(name);
          const request: LockRequest = { tab, callback, resolve, reject };
          const aborted = (): Error => Object.assign(new Error("aborted"), { name: "AbortError" });
          tab.leave(() => {
            if ("steal" in options) {
              const robbed = lock.holder;
              lock.holder = undefined;
              robbed?.tab.deliver(() => robbed.reject(aborted()));
              lock.queue.unshift(request);
            } else lock.queue.push(request);
            browser.grant(lock);
          });
          if ("steal" in options) return;
          options.signal.addEventListener("abort", () => {
            tab.leave(() => {
              const place = lock.queue.indexOf(request);
              if (place === -1) return;
              lock.queue.splice(place, 1);
              tab.deliver(() => reject(aborted()));
            });
          });
        }),
      query: () => new Promise<void>((resolve) => tab.leave(() => tab.deliver(resolve))),
    },
    Channel: class extends FakeChannel {
      constructor(name: string) {
        super(browser.channelsOf(name), tab);
      }
    },
    page: {
      get visibilityState() {
        return tab.visibility;
      },
      addEventListener: (type, listener) => {
        listeners.set(type, (listeners.get(type) ?? new Set()).add(listener));
      },
      removeEventListener: (type, listener) => {
        listeners.get(type)?.delete(listener);
      },
    },
  };
}

class FakeChannel {
  readonly #others: Set<FakeChannel>;
  readonly #tab: FakeTab;
  readonly #listeners: ((event: { readonly data: unknown }) => void)[] = [];

  constructor(others: Set<FakeChannel>, tab: FakeTab) {
    this.#others = others.add(this);
    this.#tab = tab;
    others.add(this);
  }

  postMessage(message: unknown): void {
    const data: unknown = structuredClone(message);
    this.#tab.leave(() => {
      for (const other of this.#others) if (other !== this) other.#receive(data);
    });
  }

  close(): void {
    this.#others.delete(this);
  }

  addEventListener(_type: "message", listener: (event: { readonly data: unknown }) => void): void {
    this.#listeners.push(listener);
  }

  #receive(data: unknown): void {
    this.#tab.deliver(() => {
      if (this.#others.has(this)) for (const listener of this.#listeners) listener({ data });
    });
  }
}

// device-breaker -> here: the state of one app and environment: its breaker, Apple's last answers and its suspect
// devices.
// Guarantees: starts closed and without suspects.
import type { ApnsEnvironment } from "@petrel/shared/protocol/fallback/device";
import { OutlivingSuspects } from "./outliving-suspects.js";
import { RecentAnswers } from "./recent-answers.js";

/** An app in one environment; each has its own breaker. */
export interface DeviceScope {
  readonly topic: string;
  readonly environment: ApnsEnvironment;
}

export interface Suspicion {
  readonly confirm: () => void;
  readonly untilMs: number;
}

/** Devices to probe: those that Apple has accepted before, and the others. */
interface Probes {
  taken: number;
  never: number;
}

type State =
  | { readonly kind: "closed" }
  | { readonly kind: "open"; readonly untilMs: number; readonly openMs: number }
  | {
      readonly kind: "half-open";
      probesLeft: Probes;
      bad: number;
      idleAtMs: number;
      readonly openMs: number;
    };

export interface AppBreaker {
  readonly scope: DeviceScope;
  state: State;
  readonly answers: RecentAnswers;
  lastAnswerMs: number;
  readonly suspects: Map<string, Suspicion>;
  readonly outliving: OutlivingSuspects;
}

/** @param outliveMs how long a suspicion outlives a pause */
export function createAppBreaker(scope: DeviceScope, nowMs: number, outliveMs: number): AppBreaker {
  return {
    scope,
    state: { kind: "closed" },
    answers: new RecentAnswers(),
    lastAnswerMs: nowMs,
    suspects: new Map(),
    outliving: new OutlivingSuspects(outliveMs),
  };
}

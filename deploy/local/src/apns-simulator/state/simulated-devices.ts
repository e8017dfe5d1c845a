// The APNs simulator: a test's settings for single device tokens.
// Guarantees: bounded; a token without settings is valid for every topic and in both environments.
import type { ApnsAnswer } from "./apns-answer.js";
import type { ApnsEnvironment } from "./known-keys.js";

/** A scripted answer, for a number of requests or until it is removed. */
export interface ScriptedAnswer extends ApnsAnswer {
  readonly times?: number;
}

export interface DeviceSettings {
  readonly answer?: ScriptedAnswer;
  /** The app that the token belongs to: its full topic. */
  readonly topic?: string;
  readonly environment?: ApnsEnvironment;
}

/** null removes a member; absent members stay. */
export type DeviceChange = { readonly [K in keyof DeviceSettings]: DeviceSettings[K] | null };

const MAX_DEVICES = 200_000;

export class SimulatedDevices {
  readonly #settings = new Map<string, DeviceSettings>();

  get(token: string): DeviceSettings | undefined {
    return this.#settings.get(token);
  }

  /** @param token in lower case */
  change(token: string, change: DeviceChange): void {
    const merged = Object.entries({ ...this.#settings.get(token), ...change }).filter(
      ([, value]) => value !== null && value !== undefined,
    );
    this.#settings.delete(token);
    if (merged.length === 0) return;
    this.#settings.set(token, Object.fromEntries(merged));
    if (this.#settings.size > MAX_DEVICES) {
      const [oldest] = this.#settings.keys();
      if (oldest !== undefined) this.#settings.delete(oldest);
    }
  }

  /** Takes the answer scripted for this token; each request uses one up. */
  takeAnswer(token: string): ApnsAnswer | undefined {
    const settings = this.#settings.get(token);
    if (settings?.answer === undefined) return undefined;
    const { answer } = settings;
    if (answer.times !== undefined) this.change(token, { answer: oneLess(answer) ?? null });
    return answer;
  }
}

/** What is left of a scripted answer after it was given once. */
export function oneLess(answer: ScriptedAnswer): ScriptedAnswer | undefined {
  if (answer.times === undefined) return answer;
  return answer.times <= 1 ? undefined : { ...answer, times: answer.times - 1 };
}

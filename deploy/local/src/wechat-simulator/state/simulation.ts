// The WeChat simulator: its whole state, and a test's settings for its behaviour.
// Guarantees: time passes by itself, and can be advanced. A scripted answer is given as often as requested.
import { CallQuota } from "./call-quota.js";
import { IssuedTokens } from "./issued-tokens.js";
import { ReceivedMessages } from "./received-messages.js";
import type { SimulatedApp } from "./simulated-apps.js";

export interface ScriptedAnswer {
  readonly errcode: number;
  /** WeChat's message for it; the usual one by default. */
  readonly errmsg?: string;
  /** For how many requests; absent: until it is removed. */
  readonly times?: number;
}

export interface SimulatedUser {
  readonly answer?: ScriptedAnswer;
  /** Templates that the user does not accept. */
  readonly refuses?: readonly string[];
  /** For a service account; true by default. */
  readonly follows?: boolean;
}

export interface Behaviour {
  latencyMs: number;
  tokenLatencyMs: number;
  /** Requests are read and never answered. */
  blackhole: boolean;
  /** For every send, and every request for a token. */
  answer: ScriptedAnswer | undefined;
  tokenAnswer: ScriptedAnswer | undefined;
}

const MAX_USERS = 200_000;

export class Simulation {
  readonly apps: ReadonlyMap<string, SimulatedApp>;
  readonly tokens = new IssuedTokens();
  readonly messages = new ReceivedMessages();
  /** By app: token calls of either interface, forced ones, and sends. */
  readonly #quotas = new Map<string, CallQuota>();
  readonly #users = new Map<string, SimulatedUser>();
  /** errcode -> answers given. */
  readonly answers = new Map<string, number>();
  readonly behaviour: Behaviour = {
    latencyMs: 0,
    tokenLatencyMs: 0,
    blackhole: false,
    answer: undefined,
    tokenAnswer: undefined,
  };
  /** How far the simulated time is ahead of this machine's. */
  aheadMs = 0;
  limits = {
    stableToken: { perMinute: 10_000, perDay: 500_000 },
    forcedToken: { perMinute: 20, perDay: 20 },
    legacyToken: { perMinute: 2_000, perDay: 2_000 },
    // For service accounts with fewer than 100,000 followers; the page of template messages names no limit per minute.
    send: { perMinute: 1_000_000, perDay: 100_000 },
  };

  constructor(apps: ReadonlyMap<string, SimulatedApp>) {
    this.apps = apps;
  }

  nowMs(): number {
    return Date.now() + this.aheadMs;
  }

  quota(appid: string, which: keyof Simulation["limits"]): CallQuota {
    const name = `${which} ${appid}`;
    const quota = this.#quotas.get(name) ?? new CallQuota(this.limits[which]);
    quota.limits = this.limits[which];
    this.#quotas.set(name, quota);
    return quota;
  }

  user(openid: string): SimulatedUser {
    return this.#users.get(openid) ?? {};
  }

  changeUser(openid: string, user: SimulatedUser): void {
    this.#users.delete(openid);
    this.#users.set(openid, user);
    if (this.#users.size > MAX_USERS) {
      const [oldest] = this.#users.keys();
      if (oldest !== undefined) this.#users.delete(oldest);
    }
  }

  /** Takes the answer scripted for this send; each send uses one up. */
  takeAnswer(openid: string): ScriptedAnswer | undefined {
    const user = this.user(openid);
    if (user.answer !== undefined) {
      const { answer, ...rest } = user;
      const left = oneLess(answer);
      this.changeUser(openid, left === undefined ? rest : { ...rest, answer: left });
      return answer;
    }
    const { answer } = this.behaviour;
    if (answer !== undefined) this.behaviour.answer = oneLess(answer);
    return answer;
  }

  takeTokenAnswer(): ScriptedAnswer | undefined {
    const { tokenAnswer } = this.behaviour;
    if (tokenAnswer !== undefined) this.behaviour.tokenAnswer = oneLess(tokenAnswer);
    return tokenAnswer;
  }
}

function oneLess(answer: ScriptedAnswer): ScriptedAnswer | undefined {
  if (answer.times === undefined) return answer;
  return answer.times <= 1 ? undefined : { ...answer, times: answer.times - 1 };
}

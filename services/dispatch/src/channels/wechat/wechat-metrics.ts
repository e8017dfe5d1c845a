// send-to-openid, access-tokens -> here: what a dispatcher measures of WeChat.
// Guarantees: counters only grow. Labels are the apps of WECHAT_APPS_FILE and fixed lists, so outsiders cannot create
// one.
import { Counter, Gauge, Histogram, type Registry } from "@petrel/shared/kernel/metrics/metrics";

export const sendOutcomes = [
  "taken",
  "refused",
  "unbound",
  "held",
  "retry",
  "misconfigured",
  "failed",
] as const;
export type SendOutcome = (typeof sendOutcomes)[number];

export interface WechatMetrics {
  /** @param code WeChat's, or "unanswered", or "" if nothing was sent */
  readonly sent: (appid: string, outcome: SendOutcome, code: string) => void;
  readonly took: (appid: string, ms: number) => void;
  readonly fetched: (
    appid: string,
    outcome: "fetched" | "doubted" | "stale" | "failed",
    code: string,
  ) => void;
  readonly unbound: (outcome: string, reason: string, count: number) => void;
}

export interface WatchedApp {
  readonly appid: string;
  readonly isClosed: () => boolean;
}

const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** All other codes are counted together: an unknown code from outside must not become a label. */
const knownCodes: ReadonlySet<string> = new Set(
  [
    "",
    "unanswered",
    "0",
    "-1",
    "40001",
    "40003",
    "40013",
    "40014",
    "40037",
    "40125",
    "40164",
    "40241",
    "41030",
  ].concat([
    "42001",
    "43004",
    "43101",
    "43116",
    "43117",
    "45009",
    "45011",
    "45065",
    "45109",
    "47003",
    "48001",
  ]),
);

export function createWechatMetrics(registry: Registry, apps: readonly WatchedApp[]): WechatMetrics {
  const registers = [registry];
  const sends = new Counter({
    name: "petrel_wechat_sends_total",
    help: "Messages to an openid, by outcome and WeChat's code",
    labelNames: ["appid", "outcome", "code"],
    registers,
  });
  const seconds = new Histogram({
    name: "petrel_wechat_send_seconds",
    help: "How long a request took, including the wait for a connection",
    labelNames: ["appid"],
    buckets: SECONDS,
    registers,
  });
  const fetches = new Counter({
    name: "petrel_wechat_token_refreshes_total",
    help: "Requests for an access token, by outcome and WeChat's code; doubted: WeChat returned the one it had just refused",
    labelNames: ["appid", "outcome", "code"],
    registers,
  });
  const unbound = new Counter({
    name: "petrel_wechat_invalidations_total",
    help: "Openids that WeChat does not know: their devices forgotten, kept because registered again, or dropped here",
    labelNames: ["outcome", "reason"],
    registers,
  });
  registry.registerMetric(
    new Gauge({
      name: "petrel_wechat_app_closed",
      help: "1 while sends to an app are paused because WeChat asked for it or does not answer",
      labelNames: ["appid"],
      registers: [],
      collect() {
        for (const { appid, isClosed } of apps) this.set({ appid }, isClosed() ? 1 : 0);
      },
    }),
  );
  for (const { appid } of apps) {
    sends.inc({ appid, outcome: "taken", code: "0" }, 0);
    sends.inc({ appid, outcome: "misconfigured", code: "other" }, 0);
    seconds.zero({ appid });
    fetches.inc({ appid, outcome: "fetched", code: "0" }, 0);
    fetches.inc({ appid, outcome: "failed", code: "unanswered" }, 0);
  }
  for (const reason of ["openid-invalid", "not-following"]) {
    for (const outcome of ["forgotten", "kept", "dropped"]) unbound.inc({ outcome, reason }, 0);
  }
  const label = (code: string): string => (knownCodes.has(code) ? code : "other");
  return {
    sent: (appid, outcome, code) => sends.inc({ appid, outcome, code: label(code) }),
    took: (appid, ms) => seconds.observe({ appid }, ms / 1000),
    fetched: (appid, outcome, code) => fetches.inc({ appid, outcome, code: label(code) }),
    unbound: (outcome, reason, count) => unbound.inc({ outcome, reason }, count),
  };
}

// doctor/doctor -> here: whether services show their metrics, and the present values of those that alerts watch.
// Guarantees: reads only.
import { describeMs } from "../explain/describe-time.js";
import { describeCause, getText } from "./check-services.js";
import { failure, type Finding, ok } from "./finding.js";

interface Rule {
  readonly metric: string;
  readonly isWrong: (value: number) => boolean;
  readonly says: string;
  readonly mend: string;
}

const CERTIFICATE_SOON_SECONDS = 7 * 86_400;

export const metricRules: readonly Rule[] = [
  {
    metric: "petrel_redis_link_up",
    isWrong: (value) => value === 0,
    says: "its link to Redis is down",
    mend: "Is Redis running, and reachable from there?",
  },
  {
    metric: "petrel_token_source_up",
    isWrong: (value) => value === 0,
    says: "it cannot read the keys that check tokens",
    mend: "Is auth, or the other issuer, reachable from there (AUTH_URL, TOKEN_ISSUERS)?",
  },
  {
    metric: "petrel_apns_credential_halted",
    isWrong: (value) => value > 0,
    says: "Apple refuses a key or certificate: nothing is sent with it",
    mend: "docs/phones/apns.md; then petrel dead-letters replay --cause misconfigured.",
  },
  {
    metric: "petrel_apns_breaker_open",
    isWrong: (value) => value > 0,
    says: "too many device tokens of an app were rejected at once: its breaker is open",
    mend: "Does the app register for the right environment? docs/phones/apns.md.",
  },
  {
    metric: "petrel_fallback_full_streams",
    isWrong: (value) => value > 0,
    says: "a fallback queue is full",
    mend: "Is a channel down, or paused (petrel channels list)?",
  },
  {
    metric: "petrel_out_of_file_descriptors",
    isWrong: (value) => value > 0,
    says: "it has no file descriptor left",
    mend: "Raise its limit (ulimit -n), or run more nodes.",
  },
  {
    metric: "petrel_certificate_expires_seconds",
    isWrong: (value) => value < CERTIFICATE_SOON_SECONDS,
    says: "a certificate expires within a week, or has",
    mend: "Renew it: docs/operate/tls.md.",
  },
];

export async function checkMetrics(urls: readonly string[], interrupted: AbortSignal): Promise<Finding[]> {
  const checked = await Promise.all(urls.map((url) => checkOne(url, interrupted)));
  return checked.flat();
}

async function checkOne(given: string, interrupted: AbortSignal): Promise<Finding[]> {
  const check = "metrics";
  const url = given.endsWith("/metrics") ? given : `${given.replace(/\/$/, "")}/metrics`;
  let text: string;
  try {
    const answer = await getText(url, interrupted);
    if (answer.status !== 200)
      return [
        failure(check, `${url} answered ${answer.status}`, "Metrics have a port of their own: METRICS_PORT."),
      ];
    ({ text } = answer);
  } catch (error) {
    return [
      failure(
        check,
        `${url} does not answer: ${describeCause(error)}`,
        "Metrics have a port of their own: METRICS_PORT.",
      ),
    ];
  }
  const wrong = judgeMetrics(text);
  if (!/^petrel_/m.test(text))
    return [failure(check, `${url} shows no metric of Petrel`, "Is this its address?")];
  return wrong.length === 0
    ? [ok(check, `${url} shows nothing that an alert would tell`)]
    : wrong.map(({ series, value, rule }) =>
        failure(check, `${url}: ${rule.says} (${series} is ${describeValue(series, value)})`, rule.mend),
      );
}

export function judgeMetrics(
  text: string,
): { readonly series: string; readonly value: number; readonly rule: Rule }[] {
  return text.split("\n").flatMap((line) => {
    const [, series = "", name = "", word = ""] = /^((\w+)(?:\{.*\})?) (\S+)/.exec(line) ?? [];
    const rule = metricRules.find(({ metric }) => metric === name);
    const value = Number(word);
    return rule !== undefined && rule.isWrong(value) ? [{ series, value, rule }] : [];
  });
}

function describeValue(series: string, value: number): string {
  return series.includes("_seconds") ? describeMs(value * 1_000) : String(value);
}

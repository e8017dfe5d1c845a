// doctor/doctor -> here: what is wrong, judged by dispatch's answer to GET /v1/diagnosis.
// Guarantees: a missing fact is not judged.
import { describeMs, msBetween } from "../explain/describe-time.js";
import { failure, type Finding, ok, skipped, warning } from "./finding.js";
import { judgeServer, type ServerFacts } from "./judge-redis.js";

export interface Diagnosis {
  readonly at: string;
  readonly dispatcher: string;
  readonly version: string;
  readonly redis: readonly ServerFacts[];
  /** The ids of all that are alive; absent in a release that does not tell. */
  readonly dispatchers?: readonly string[];
  readonly partitions: { readonly configured: number; readonly stored?: number; readonly owned: number };
  readonly backlog: {
    readonly ready: number;
    readonly readyOldestSeconds: number;
    readonly wakeLagSeconds: number;
    readonly scheduleLagSeconds: number;
    readonly lateUsers: number;
    readonly sampledUsers: number;
    readonly deadLetters: Readonly<Record<string, number>>;
  };
  readonly ackTimeoutSeconds: number;
  readonly channels: readonly {
    readonly channel: string;
    readonly probes: readonly {
      readonly credential: string;
      readonly environment?: string;
      readonly topic?: string;
      readonly verdict: string;
      readonly answer: string;
      readonly halted: boolean;
      readonly expiresAt?: string;
    }[];
  }[];
}

const DAY_MS = 86_400_000;
const EXPIRES_SOON_MS = 30 * DAY_MS;
const LATE_SHARE = 0.05;

/** Of the cluster, as one dispatcher sees it, and of that dispatcher. */
export function judgeDiagnosis(diagnosis: Diagnosis): Finding[] {
  const { partitions, backlog } = diagnosis;
  return [
    ...judgeDispatcher(diagnosis),
    partitions.owned === partitions.configured
      ? ok("owners", `all ${partitions.configured} partitions have an owner`)
      : failure(
          "owners",
          `${partitions.configured - partitions.owned} of ${partitions.configured} partitions have no owner: nothing is woken, pushed or scheduled there`,
          "Is a dispatcher with the role route running? A takeover takes LEASE_MS.",
        ),
    ...judgeLag(backlog, diagnosis.ackTimeoutSeconds),
  ];
}

/** What may differ from one dispatcher to another: its way to Redis, its clock, its settings, its credentials. */
export function judgeDispatcher({ redis, partitions, channels, dispatcher, at }: Diagnosis): Finding[] {
  return [
    ...redis.flatMap((server) => judgeServer(server, `dispatch (${dispatcher})`)),
    judgeLayout(partitions.stored, partitions.configured, "dispatch"),
    ...channels.flatMap((channel) => judgeChannel(channel, at)),
    ...(channels.length === 0
      ? [
          skipped(
            "channels",
            "this dispatcher sends by no fallback channel (FALLBACK_CHANNELS, DISPATCH_ROLES)",
          ),
        ]
      : []),
  ];
}

/** Whether all that are alive were asked: what one cannot reach, another may. */
export function judgeDispatchers(asked: readonly Diagnosis[]): Finding[] {
  const check = "dispatchers";
  const alive = new Set(asked.flatMap(({ dispatchers = [] }) => dispatchers));
  const ids = new Set(asked.map(({ dispatcher }) => dispatcher));
  const others = [...alive].filter((id) => !ids.has(id));
  if (alive.size === 0) return [];
  return [
    others.length === 0
      ? ok(check, `all ${alive.size} that are alive were asked`)
      : skipped(check, `${others.join(", ")} not asked: name each with a --dispatch of its own`),
  ];
}

/** @param stored as Redis' data was laid out */
export function judgeLayout(stored: number | undefined, configured: number, who: string): Finding {
  const check = "partitions";
  if (stored === undefined)
    return warning(check, "Redis has no Petrel data", "Is this the right Redis, and the right database?");
  return stored === configured
    ? ok(check, `Redis' data and ${who} have ${stored} partitions`)
    : failure(
        check,
        `Redis' data is divided into ${stored} partitions, ${who} is set to ${configured}: users are looked for in the wrong place`,
        `Set PARTITIONS=${stored} for every service; the number of a cluster cannot change.`,
      );
}

function judgeLag(backlog: Diagnosis["backlog"], ackTimeoutSeconds: number): Finding[] {
  const { ready, readyOldestSeconds, wakeLagSeconds, scheduleLagSeconds, lateUsers, sampledUsers } = backlog;
  const longest = Math.max(readyOldestSeconds, wakeLagSeconds, scheduleLagSeconds);
  const says =
    `hand-over waits ${describeMs(readyOldestSeconds * 1_000)} (${ready} messages), wakes ${describeMs(wakeLagSeconds * 1_000)}, ` +
    `schedules ${describeMs(scheduleLagSeconds * 1_000)}`;
  const mend = "Is dispatch short of CPU, or Redis slow? docs/operate/alerts.md.";
  const lag =
    longest > 3 * ackTimeoutSeconds
      ? failure("lag", says, mend)
      : longest > ackTimeoutSeconds
        ? warning("lag", says, mend)
        : ok("lag", says);
  const dead = Object.entries(backlog.deadLetters).filter(([, count]) => count > 0);
  return [
    lag,
    sampledUsers > 0 && lateUsers / sampledUsers > LATE_SHARE
      ? warning(
          "late users",
          `${lateUsers} of ${sampledUsers} users with open messages wait for more than three ack timeouts`,
          "Are they offline without a device? petrel user ID and petrel why MESSAGE explain one of them.",
        )
      : ok("late users", `${lateUsers} of ${sampledUsers} users with open messages wait long`),
    dead.length === 0
      ? ok("dead letters", "there is none")
      : warning(
          "dead letters",
          dead.map(([cause, count]) => `${count} ${cause}`).join(", "),
          "petrel dead-letters list; after fixing the cause, petrel dead-letters replay --cause CAUSE.",
        ),
  ];
}

function judgeChannel({ channel, probes }: Diagnosis["channels"][number], at: string): Finding[] {
  if (probes.length === 0) return [skipped(channel, "it cannot be tried without reaching somebody")];
  return probes.flatMap(({ credential, environment = "", topic, verdict, answer, halted, expiresAt }) => {
    const name = [
      credential,
      ...(environment === "" ? [] : [environment]),
      ...(topic === undefined ? [] : [`for ${topic}`]),
    ].join(" ");
    return [judgeProbe(channel, name, verdict, answer, halted), ...judgeExpiry(channel, name, expiresAt, at)];
  });
}

interface Hand {
  /** What the provider refuses. */
  readonly what: string;
  readonly refused: string;
  readonly halted: string;
  readonly unreachable: string;
}

/** How each channel is mended. */
const hands: Readonly<Record<string, Hand>> = {
  apns: {
    what: "the key or certificate",
    refused:
      "It has expired, was revoked, or is another team's; ExpiredProviderToken may also be a wrong clock. Give dispatch a new one: docs/phones/apns.md.",
    halted: "The next send ends the halt, within ten minutes.",
    unreachable:
      "Does the network let dispatch out to it (443 or 2197), or is a proxy needed (APNS_PROXY_URL)?",
  },
  wechat: {
    what: "the secret or the token",
    refused:
      "Is the secret in WECHAT_APPS_FILE right, and dispatch's address on the app's list? docs/phones/wechat.md.",
    halted: "Sends resume by themselves when WeChat's limit ends, or it answers again.",
    unreachable: "Does the network let dispatch out to it (443), and is WECHAT_ENDPOINT right?",
  },
};
const webHand: Hand = {
  what: "the key",
  refused: "Is it the one that browsers subscribed with, and is the clock right? docs/phones/web-push.md.",
  halted: "Sends resume by themselves.",
  unreachable: "Does the network let dispatch out to it (443)?",
};

function judgeProbe(check: string, name: string, verdict: string, answer: string, halted: boolean): Finding {
  const hand = hands[check] ?? webHand;
  switch (verdict) {
    case "good":
      return halted
        ? warning(check, `${name} is accepted again, but sends are still halted`, hand.halted)
        : // A push service may not look at the key of a push to nobody.
          ok(check, check === "web" ? `${name}: answered (${answer})` : `${name} is accepted (${answer})`);
    case "refused":
      return failure(check, `${name}: the provider refuses ${hand.what}: ${answer}`, hand.refused);
    case "topic-refused":
      return failure(
        check,
        `${name}: the credential is not for this topic: ${answer}`,
        "Name the app's bundle id, or another key, in APNS_APPS_FILE.",
      );
    case "busy":
      return warning(
        check,
        `${name}: the provider is busy: ${answer}`,
        "Try again; sends are retried by themselves.",
      );
    default:
      return failure(check, `${name} is not reached: ${answer}`, hand.unreachable);
  }
}

function judgeExpiry(check: string, name: string, expiresAt: string | undefined, at: string): Finding[] {
  if (expiresAt === undefined) return [];
  const leftMs = msBetween(at, expiresAt);
  if (leftMs > EXPIRES_SOON_MS) return [ok(check, `${name}: its certificate is good until ${expiresAt}`)];
  const mend = "Make a new one at Apple's, and restart dispatch: docs/phones/apns.md.";
  return leftMs <= 0
    ? [failure(check, `${name}: its certificate expired at ${expiresAt}`, mend)]
    : [warning(check, `${name}: its certificate expires at ${expiresAt}, in ${describeMs(leftMs)}`, mend)];
}

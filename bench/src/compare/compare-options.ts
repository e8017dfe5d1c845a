// Bench: what the command line says.
// Guarantees: every option is checked; `--quick` only changes what was not said.
import { parseArgs } from "node:util";
import { CONTENDERS, type ContenderName } from "../contenders/open-contender.js";

export const WORKLOADS = [
  "idle-cluster",
  "idle-connections",
  "single",
  "batched",
  "library",
  "latency",
  "half-load",
  "connect",
  "broadcast",
  "registered",
  "drops",
  // Last: what earlier users left for a minute has gone by then, and is not taken off.
  "storage",
  "scaling",
  "storm",
] as const;
export type WorkloadName = (typeof WORKLOADS)[number];

export const FURTHER_REDIS = { "8.2": "redis-8.2", valkey: "valkey-9.1" } as const;
export type RedisName = keyof typeof FURTHER_REDIS;

export interface CompareOptions {
  readonly workloads: readonly WorkloadName[];
  readonly contenders: readonly ContenderName[];
  /** Measured ones; one more goes before. */
  readonly rounds: number;
  readonly users: number;
  readonly messages: number;
  readonly publishers: number;
  /** Messages in one request. */
  readonly batch: number;
  /** Messages a second, for latencies. */
  readonly rate: number;
  readonly seconds: number;
  /** That come and go, a round. */
  readonly connects: number;
  /** That idle. */
  readonly connections: number;
  readonly idleSeconds: number;
  /** In the one topic. */
  readonly sockets: number;
  readonly registered: number;
  /** Connections in the storm. */
  readonly storm: number;
  readonly dropClients: number;
  readonly ackDelayMs: number;
  /** The root of another built tree. */
  readonly baseline: string | undefined;
  /** Major versions of Node to run Petrel on, too. */
  readonly nodes: readonly string[];
  /** Servers to run Petrel on, too. */
  readonly redis: readonly RedisName[];
  /** What Petrel writes as events, once more for each; by default it has its default. */
  readonly events: readonly ("none" | "all")[];
  /** For Petrel's services. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where CPU profiles of Petrel's processes go. */
  readonly profile: string | undefined;
  /** Files; "-" for the standard output. */
  readonly json: string | undefined;
  readonly markdown: string | undefined;
  readonly plot: string | undefined;
  /** Writes the figures into the documentation. */
  readonly docs: boolean;
}

const DEFAULT_WORKLOADS = WORKLOADS.filter((name) => name !== "storm" && name !== "scaling");
const QUICK_WORKLOADS: readonly WorkloadName[] = [
  "idle-cluster",
  "single",
  "batched",
  "latency",
  "connect",
  "broadcast",
];
const DEFAULT_CONTENDERS = CONTENDERS.filter((name) => name !== "floor");

const DEFAULTS = {
  rounds: "3",
  users: "200",
  messages: "12000",
  publishers: "256",
  batch: "100",
  rate: "1000",
  seconds: "3",
  connects: "1000",
  connections: "5000",
  "idle-seconds": "30",
  sockets: "2000",
  registered: "100000",
  storm: "20000",
  "drop-clients": "400",
};
const QUICK: Partial<typeof DEFAULTS> = {
  rounds: "1",
  messages: "3000",
  seconds: "1",
  connects: "200",
  connections: "300",
  "idle-seconds": "5",
  sockets: "300",
  registered: "10000",
  storm: "1000",
  "drop-clients": "50",
};

export const COMPARE_HELP = `npm run bench -- [options]

Petrel and others in one run: µs of CPU of all server processes, Redis included, as the kernel counts them.
The contenders' rounds alternate; each delivery is checked.

  --workloads ${WORKLOADS.slice(0, 7).join(",")},
              ${WORKLOADS.slice(7).join(",")}
                          all but scaling and storm by default; with --quick ${QUICK_WORKLOADS.slice(0, 3).join(", ")},
                          ${QUICK_WORKLOADS.slice(3).join(", ")}
  --contenders petrel,ws  of ${CONTENDERS.join(", ")}
                          (all but floor)
  --rounds 3              measured rounds, after some that warm up; of what differs much, more
  --users 200             users who get messages
  --messages 12000        messages a round
  --publishers 256        publishers; each posts, waits for the answer, posts again
  --batch 100             messages in one request
  --rate 1000             messages a second, for latencies
  --seconds 3             length of such a round
  --connects 1000         connections opened and closed a round
  --connections 5000      idle connections
  --idle-seconds 30       how long they idle
  --sockets 2000          subscribers of the one topic
  --registered 100000     registered users, compared with 1,000
  --storm 20000           connections that reconnect at once, with messages at --rate meanwhile
  --drop-clients 400      clients that are cut off repeatedly; Socket.IO: a quarter of them
  --ack-delay-ms 300      an ack goes at once after a quiet time, else lingers this long, as in the library
  --baseline DIRECTORY    also Petrel from another built tree
  --node 22,24            also Petrel on these versions of Node
  --redis ${Object.keys(FURTHER_REDIS).join(",")}      also Petrel on these servers (npm run test:install-servers)
  --events none,all       also Petrel with these EVENTS
  --environment A=1,B=2   variables for Petrel's services
  --quick                 small and short, one round each: two minutes, to try it out
  --markdown FILE --json FILE --plot FILE
                          the tables, all figures, a picture (SVG); "-" for the standard output
  --docs                  write into docs/: the measurements, their picture, the page on capacity
  --profile DIRECTORY     CPU profiles of Petrel's services
`;

/** @returns undefined where only help is asked for; throws with a line for the user */
export function readCompareOptions(args: readonly string[]): CompareOptions | undefined {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      workloads: text,
      contenders: { type: "string", default: DEFAULT_CONTENDERS.join(",") },
      rounds: text,
      users: text,
      messages: text,
      publishers: text,
      batch: text,
      rate: text,
      seconds: text,
      connects: text,
      connections: text,
      "idle-seconds": text,
      sockets: text,
      registered: text,
      storm: text,
      "drop-clients": text,
      "ack-delay-ms": { type: "string", default: "300" },
      baseline: text,
      node: text,
      redis: text,
      events: text,
      environment: text,
      profile: text,
      json: text,
      markdown: text,
      plot: text,
      docs: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const defaults = { ...DEFAULTS, ...(values.quick ? QUICK : {}) };
  const count = (name: keyof typeof DEFAULTS): number =>
    numberOf(`--${name}`, values[name] ?? defaults[name], 1);
  return {
    workloads:
      values.workloads === undefined
        ? values.quick
          ? QUICK_WORKLOADS
          : DEFAULT_WORKLOADS
        : namesOf("--workloads", values.workloads, WORKLOADS),
    contenders: namesOf("--contenders", values.contenders, CONTENDERS),
    rounds: count("rounds"),
    users: count("users"),
    messages: count("messages"),
    publishers: count("publishers"),
    batch: count("batch"),
    rate: count("rate"),
    seconds: count("seconds"),
    connects: count("connects"),
    connections: count("connections"),
    idleSeconds: count("idle-seconds"),
    sockets: count("sockets"),
    registered: count("registered"),
    storm: count("storm"),
    dropClients: count("drop-clients"),
    ackDelayMs: numberOf("--ack-delay-ms", values["ack-delay-ms"], 0),
    baseline: values.baseline,
    nodes: versionsOf(values.node),
    redis:
      values.redis === undefined
        ? []
        : namesOf("--redis", values.redis, Object.keys(FURTHER_REDIS) as RedisName[]),
    events: values.events === undefined ? [] : namesOf("--events", values.events, ["none", "all"]),
    environment: environmentOf(values.environment),
    profile: values.profile,
    json: values.json,
    markdown: values.markdown,
    plot: values.plot,
    docs: values.docs,
  };
}

function numberOf(option: string, text: string, least: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least)
    throw new Error(`${option} ${text}: a number from ${least} on`);
  return value;
}

function namesOf<Name extends string>(option: string, text: string, known: readonly Name[]): readonly Name[] {
  const asked = text.split(",").filter(Boolean);
  const unknown = asked.find((name) => !known.some((one) => one === name));
  if (unknown !== undefined || asked.length === 0)
    throw new Error(`${option} ${text}: some of ${known.join(", ")}`);
  return known.filter((name) => asked.includes(name));
}

function versionsOf(text: string | undefined): readonly string[] {
  const versions = (text ?? "").split(",").filter(Boolean);
  for (const version of versions)
    if (!/^\d+(\.\d+){0,2}$/.test(version)) throw new Error(`--node ${text}: versions such as 22 or 24.1.0`);
  return versions;
}

function environmentOf(text: string | undefined): Readonly<Record<string, string>> {
  const pairs = (text ?? "").split(",").filter(Boolean);
  return Object.fromEntries(
    pairs.map((pair) => {
      const [, name = "", value = ""] = /^([A-Z][A-Z0-9_]*)=(.*)$/.exec(pair) ?? [];
      if (name === "") throw new Error(`--environment ${pair}: pairs such as HAND_OVER=dispatch`);
      return [name, value];
    }),
  );
}

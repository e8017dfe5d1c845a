// Bench, fan-out: what the command line says.
// Guarantees: every option is checked; `--quick` only changes what was not said.
import { parseArgs } from "node:util";
import { CONTENDERS, type ContenderName } from "../contenders/open-contender.js";

export const WORKLOADS = ["alone", "room", "burst", "many"] as const;
export type WorkloadName = (typeof WORKLOADS)[number];

export interface FanOutOptions {
  readonly contenders: readonly ContenderName[];
  readonly workloads: readonly WorkloadName[];
  /** In the one room. */
  readonly sockets: number;
  /** To the one room, in a round. */
  readonly messages: number;
  readonly publishers: number;
  readonly topics: number;
  /** Of each topic. */
  readonly members: number;
  /** Messages a second over all topics. */
  readonly rate: number;
  readonly seconds: number;
  /** Measured ones; one more goes before. */
  readonly rounds: number;
  readonly loadProcesses: number;
  readonly broadcast: boolean;
  /** Between two broadcasts. */
  readonly everyMs: number;
  /** A file, or "-" for the standard output. */
  readonly json: string | undefined;
  /** Where CPU profiles of Petrel's nodes go. */
  readonly profile: string | undefined;
}

export const FAN_OUT_HELP = `npm run bench:topics -- [options]

One topic with many sockets, then many topics with a few: µs of CPU per delivery, Petrel and others in one run.

  --workloads ${WORKLOADS.join(",")}
                                alone: one message at a time to one topic, until everyone has it; room: the same by
                                each of the publishers; burst: they wait for their answers only; many: a steady rate
                                over many topics
  --only petrel,centrifugo      of ${CONTENDERS.join(", ")}
  --sockets 2000                sockets in the one room, on two nodes
  --messages 50                 messages to the one room a round
  --publishers 4                concurrent publishers
  --topics 1000 --members 5     topics, and members of each, of the workload "many"
  --rate 500 --seconds 5        messages a second over all topics, and seconds a round
  --rounds 3                    measured rounds, after an unmeasured one
  --load-processes 1            processes that hold the sockets; each holds as many as it may open files
  --broadcast                   instead: to everyone on Petrel, with single messages beside it (10,000 sockets)
  --every-ms 1000               time between two broadcasts
  --quick                       small and short: 300 sockets, 200 topics, one round
  --json FILE                   figures as JSON, "-" for the standard output
  --profile DIRECTORY           CPU profiles of Petrel's nodes
`;

/** Socket.IO with recovery, as everyone else here keeps what was sent for a while. */
const DEFAULT_CONTENDERS: readonly ContenderName[] = CONTENDERS.filter((name) => name !== "socket.io");
const QUICK = { sockets: "300", messages: "20", topics: "200", rate: "200", seconds: "2", rounds: "1" };
const BROADCAST = { sockets: "10000", "load-processes": "2", seconds: "15" };
const DEFAULTS = {
  sockets: "2000",
  messages: "50",
  publishers: "4",
  topics: "1000",
  members: "5",
  rate: "500",
  seconds: "5",
  rounds: "3",
  "load-processes": "1",
  "every-ms": "1000",
};

/** @returns undefined where only help is asked for; throws with a line for the user */
export function readFanOutOptions(args: readonly string[]): FanOutOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      workloads: { type: "string", default: WORKLOADS.join(",") },
      only: { type: "string", default: DEFAULT_CONTENDERS.join(",") },
      sockets: { type: "string" },
      messages: { type: "string" },
      publishers: { type: "string" },
      topics: { type: "string" },
      members: { type: "string" },
      rate: { type: "string" },
      seconds: { type: "string" },
      rounds: { type: "string" },
      "load-processes": { type: "string" },
      "every-ms": { type: "string" },
      broadcast: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      json: { type: "string" },
      profile: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const defaults = {
    ...DEFAULTS,
    ...(values.broadcast ? BROADCAST : {}),
    ...(values.quick ? QUICK : {}),
  };
  const count = (name: keyof typeof DEFAULTS): number => {
    const text = values[name] ?? defaults[name];
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} ${text}: a number from 1 on`);
    return value;
  };
  return {
    contenders: namesOf("only", values.only, CONTENDERS),
    workloads: namesOf("workloads", values.workloads, WORKLOADS),
    sockets: count("sockets"),
    messages: count("messages"),
    publishers: count("publishers"),
    topics: count("topics"),
    members: count("members"),
    rate: count("rate"),
    seconds: count("seconds"),
    rounds: count("rounds"),
    loadProcesses: count("load-processes"),
    broadcast: values.broadcast,
    everyMs: count("every-ms"),
    json: values.json,
    profile: values.profile,
  };
}

function namesOf<Name extends string>(option: string, text: string, known: readonly Name[]): readonly Name[] {
  const asked = text.split(",").filter(Boolean);
  const unknown = asked.find((name) => !known.some((one) => one === name));
  if (unknown !== undefined || asked.length === 0)
    throw new Error(`--${option} ${text}: some of ${known.join(", ")}`);
  return known.filter((name) => asked.includes(name));
}

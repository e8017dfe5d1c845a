// doctor/doctor -> here: what is wrong with a Redis server, judged by its own answers (GET /v1/diagnosis, or INFO and
// TIME).
// Guarantees: a missing fact is not judged.
import { describeMs } from "../explain/describe-time.js";
import { failure, type Finding, ok, warning } from "./finding.js";

export interface ServerFacts {
  readonly server: string;
  readonly problem?: string;
  readonly roundTripMs?: number;
  /** Relative to the clock of whoever asked. */
  readonly clockAheadMs?: number;
  readonly info?: Readonly<Record<string, string>>;
  /** What Redis's user `default` may do, by `ACL GETUSER`. */
  readonly defaultUser?: { readonly commands: string; readonly keys: string };
}

const SLOW_MS = 5;
const CLOCK_WARNING_MS = 1_000;
const CLOCK_ERROR_MS = 10_000;
const MEMORY_WARNING = 0.75;
const MEMORY_ERROR = 0.9;

/** @param asker whose clock `clockAheadMs` refers to: "dispatch", "this machine" */
export function judgeServer({ server, ...facts }: ServerFacts, asker: string): Finding[] {
  const { problem, info } = facts;
  if (problem !== undefined) {
    return [
      failure(
        "redis",
        `${server} does not answer ${asker}: ${problem}`,
        "Is it running, and reachable from there?",
      ),
    ];
  }
  return [
    ...(info === undefined
      ? []
      : [
          judgeVersion(server, info),
          ...judgePersistence(server, info),
          ...judgeDefaultUser(server, info, facts.defaultUser),
          judgeEviction(server, info),
          judgeMemory(server, info),
          ...judgeReplicas(server, info),
        ]),
    ...judgeLatency(server, facts.roundTripMs),
    ...judgeClock(server, facts.clockAheadMs, asker),
  ];
}

type Info = Readonly<Record<string, string>>;

function judgeVersion(server: string, info: Info): Finding {
  const valkey = info["valkey_version"];
  const [name, version, least] =
    valkey === undefined ? ["Redis", info["redis_version"] ?? "0", "7.0"] : ["Valkey", valkey, "7.2"];
  const says = `${server} is ${name} ${version}`;
  return isAtLeast(version, least)
    ? ok("redis version", says)
    : failure(
        "redis version",
        says,
        "Petrel needs Redis 7.0 or Valkey 7.2, or newer: docs/operate/redis.md.",
      );
}

function judgePersistence(server: string, info: Info): Finding[] {
  const check = "redis persistence";
  if (info["aof_enabled"] === undefined) return [];
  if (info["aof_enabled"] !== "1") {
    return [
      failure(
        check,
        `${server} writes no append-only file: a restart loses messages that were accepted`,
        "CONFIG SET appendonly yes, and the same in redis.conf: docs/operate/redis.md.",
      ),
    ];
  }
  const failed = ["aof_last_write_status", "aof_last_bgrewrite_status"].filter(
    (name) => info[name] !== undefined && info[name] !== "ok",
  );
  return failed.length === 0
    ? [ok(check, `${server} writes an append-only file`)]
    : [
        failure(
          check,
          `${server}: ${failed.map((name) => `${name} is ${info[name]}`).join(", ")}`,
          "Is its disk full, or failing?",
        ),
      ];
}

/** At its start Redis replays its append-only file with this user's rights; Valkey does not. */
function judgeDefaultUser(server: string, info: Info, user: ServerFacts["defaultUser"]): Finding[] {
  const check = "redis users";
  if (user === undefined || info["aof_enabled"] !== "1" || info["valkey_version"] !== undefined) return [];
  return [
    user.commands === "+@all" && user.keys === "~*"
      ? ok(check, `${server}: the user default has all rights, on or off`)
      : failure(
          check,
          `${server}: the user default is restricted (${user.commands} ${user.keys}), so a restart loses what scripts wrote`,
          "ACL SETUSER default off resetpass allkeys allchannels allcommands, and the same in its ACL file, before it restarts: docs/operate/redis.md.",
        ),
  ];
}

function judgeEviction(server: string, info: Info): Finding {
  const check = "redis eviction";
  const policy = info["maxmemory_policy"] ?? "unknown";
  if (policy !== "noeviction") {
    return failure(
      check,
      `${server} has maxmemory-policy ${policy}: it drops messages when memory is short`,
      "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf.",
    );
  }
  const evicted = Number(info["evicted_keys"] ?? 0);
  return evicted === 0
    ? ok(check, `${server} evicts nothing`)
    : failure(
        check,
        `${server} has evicted ${evicted} keys since its start`,
        "Messages are lost: compare with the archive, or tell the senders.",
      );
}

function judgeMemory(server: string, info: Info): Finding {
  const check = "redis memory";
  const [used, max] = [Number(info["used_memory"] ?? 0), Number(info["maxmemory"] ?? 0)];
  if (max === 0) {
    return warning(
      check,
      `${server} uses ${describeBytes(used)} and has no maxmemory: the kernel may kill it when memory is short`,
      "Set maxmemory to some 70 % of the machine's: docs/operate/sizing.md.",
    );
  }
  const share = used / max;
  const says = `${server} uses ${(share * 100).toFixed(0)} % of its memory (${describeBytes(used)} of ${describeBytes(max)})`;
  const mend =
    "At 100 % every send is answered 503. Raise maxmemory, or find who sends so much: docs/operate/sizing.md.";
  if (share >= MEMORY_ERROR) return failure(check, says, mend);
  return share >= MEMORY_WARNING ? warning(check, says, mend) : ok(check, says);
}

function judgeReplicas(server: string, info: Info): Finding[] {
  if (info["role"] === "slave") {
    return [failure("redis role", `${server} is a replica`, "Name the master, or its sentinels.")];
  }
  return info["loading"] === "1"
    ? [failure("redis role", `${server} is loading its data`, "Wait until it is done.")]
    : [];
}

function judgeLatency(server: string, roundTripMs: number | undefined): Finding[] {
  if (roundTripMs === undefined) return [];
  const says = `${server} answers in ${roundTripMs.toFixed(1)} ms`;
  return [
    roundTripMs < SLOW_MS
      ? ok("redis latency", says)
      : warning(
          "redis latency",
          says,
          "Each message waits for it: is it far away, or busy (SLOWLOG GET, a fork, a swap)?",
        ),
  ];
}

function judgeClock(server: string, clockAheadMs: number | undefined, asker: string): Finding[] {
  if (clockAheadMs === undefined) return [];
  const off = Math.abs(clockAheadMs);
  const says =
    off < CLOCK_WARNING_MS
      ? `the clocks of ${server} and ${asker} agree`
      : `the clock of ${server} is ${describeMs(off)} ${clockAheadMs > 0 ? "ahead of" : "behind"} that of ${asker}`;
  const mend =
    "Leases, expiries and schedules go by Redis' clock, tokens and APNs by the services'. Run NTP on both; never step a clock back.";
  if (off >= CLOCK_ERROR_MS) return [failure("clocks", says, mend)];
  return [off >= CLOCK_WARNING_MS ? warning("clocks", says, mend) : ok("clocks", says)];
}

export function describeBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = bytes;
  let unit = 0;
  for (; size >= 1_024 && unit < units.length - 1; unit++) size /= 1_024;
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`;
}

function isAtLeast(version: string, least: string): boolean {
  const [have, want] = [version, least].map((text) => text.split(".").map(Number));
  const [major = 0, minor = 0] = have ?? [];
  const [wantMajor = 0, wantMinor = 0] = want ?? [];
  return major > wantMajor || (major === wantMajor && minor >= wantMinor);
}

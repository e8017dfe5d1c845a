// `petrel redis failover` -> here: a planned failover of a Redis that Sentinel watches.
// Guarantees: no acknowledged write is lost, because the old master stops taking writes before the failover begins and
// until it is a replica. If this gives up before a replica was promoted, the old master stays the master.
import { setTimeout as sleep } from "node:timers/promises";
import { CliError, describeError } from "../cli-error.js";
import {
  formatAddress,
  RedisLink,
  type RedisAccess,
  type RedisAddress,
  type RedisReply,
} from "./redis-link.js";

export interface FailoverOptions {
  readonly masterName: string;
  readonly sentinels: readonly RedisAddress[];
  readonly sentinelAccess: RedisAccess;
  readonly redisAccess: RedisAccess;
  /** How long writes wait if this process dies in the middle. */
  readonly pauseMs: number;
  /** How long catching up, and then the promotion, may take. */
  readonly deadlineMs: number;
  readonly note: (line: string) => void;
  readonly interrupted: AbortSignal;
}

export interface Failover {
  readonly from: string;
  readonly to: string;
  /** How long the old master took no writes. */
  readonly pausedMs: number;
}

const LOOK_EVERY_MS = 20;

/** @throws CliError that says in what state it left things */
export async function failOver(options: FailoverOptions): Promise<Failover> {
  const { masterName, redisAccess, note } = options;
  const links: RedisLink[] = [];
  try {
    const sentinels = await openSentinels(options, links);
    const from = await findMaster(sentinels, masterName);
    await sentinels[0]?.ask("SENTINEL", "CKQUORUM", masterName);
    const old = await RedisLink.open(from, redisAccess);
    links.push(old);
    await checkMaster(old);
    note(`master ${formatAddress(from)}: pausing writes`);
    const startMs = performance.now();
    const pause = await PausedWrites.begin(old, options.pauseMs);
    let to: RedisAddress;
    try {
      await untilReplicasHaveAll(old, options);
      to = await promote(sentinels, from, options, links);
      await demote(old, to);
    } finally {
      await pause.end();
    }
    const pausedMs = performance.now() - startMs;
    note(`master ${formatAddress(to)}`);
    await untilSentinelsFollow(sentinels, to, options);
    return { from: formatAddress(from), to: formatAddress(to), pausedMs };
  } finally {
    for (const link of links) link.close();
  }
}

async function openSentinels(options: FailoverOptions, links: RedisLink[]): Promise<readonly RedisLink[]> {
  const { sentinels, sentinelAccess, note } = options;
  const opened = await Promise.allSettled(sentinels.map((one) => RedisLink.open(one, sentinelAccess)));
  for (const result of opened) {
    if (result.status === "fulfilled") links.push(result.value);
    else note(`sentinel ${describeError(result.reason)}`);
  }
  if (links.length === 0) throw new CliError("no sentinel answers");
  return [...links];
}

async function findMaster(sentinels: readonly RedisLink[], masterName: string): Promise<RedisAddress> {
  const told = await Promise.all(sentinels.map((sentinel) => masterBy(sentinel, masterName)));
  const [first] = told;
  if (first === undefined) throw new CliError(`no sentinel knows a master named ${masterName}`);
  if (told.some((one) => one === undefined || formatAddress(one) !== formatAddress(first))) {
    throw new CliError("the sentinels disagree on who is the master: is a failover under way?");
  }
  return first;
}

async function masterBy(sentinel: RedisLink, masterName: string): Promise<RedisAddress | undefined> {
  const answer = await sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName);
  if (!Array.isArray(answer)) return undefined;
  const [host, port] = answer as readonly RedisReply[];
  return { host: String(host), port: Number(port) };
}

async function checkMaster(link: RedisLink): Promise<void> {
  const { role, replicas } = await readReplication(link);
  if (role !== "master") throw new CliError(`${formatAddress(link.address)} says that it is not a master`);
  if (replicas.length === 0) throw new CliError("no replica is in sync with the master");
}

/** Waits for all replicas, because the sentinels choose which one is promoted. */
async function untilReplicasHaveAll(old: RedisLink, options: FailoverOptions): Promise<void> {
  const { offset } = await readReplication(old);
  await until("the replicas to have every write", options, async () => {
    const { replicas } = await readReplication(old);
    return replicas.length > 0 && replicas.every((has) => has >= offset);
  });
  options.note("the replicas have every write: failing over");
}

async function promote(
  sentinels: readonly RedisLink[],
  from: RedisAddress,
  options: FailoverOptions,
  links: RedisLink[],
): Promise<RedisAddress> {
  const { masterName, redisAccess, deadlineMs } = options;
  // From here on, do not stop: writes that resume now may go to the wrong server.
  const steadily = { deadlineMs };
  const [leader] = sentinels;
  if (leader === undefined) throw new CliError("no sentinel answers");
  await leader.ask("SENTINEL", "FAILOVER", masterName).catch((error: unknown) => {
    // Paused writes delay the sentinels' checks, too. With a short down-after they may have begun by themselves.
    if (!describeError(error).includes("INPROG")) throw error;
  });
  const to = await until("a replica to be promoted", steadily, async () => {
    const told = await Promise.all(sentinels.map((one) => masterBy(one, masterName).catch(() => undefined)));
    return told.find((one) => one !== undefined && formatAddress(one) !== formatAddress(from));
  });
  const successor = await RedisLink.open(to, redisAccess);
  links.push(successor);
  await until("the new master to say so", steadily, async () => {
    return (await readReplication(successor)).role === "master";
  });
  return to;
}

/**
 * Does what the sentinels would do about ten seconds later. From now on the old master answers nobody as a master:
 * waiting writes get READONLY.
 */
async function demote(old: RedisLink, to: RedisAddress): Promise<void> {
  try {
    await old.ask("REPLICAOF", to.host, String(to.port));
  } catch (error) {
    await closeClients(old);
    throw new CliError(
      `${formatAddress(to)} is the master now, but the old one could not be told: ${describeError(error)}. ` +
        "The sentinels will tell it in about ten seconds. Until then it accepts writes from clients that do not listen " +
        "to sentinels, and those writes are lost.",
      { cause: error },
    );
  }
  await closeClients(old);
  // Saved, so that it restarts as a replica. A server without a config file has nothing to save.
  await old.ask("CONFIG", "REWRITE").catch(() => undefined);
}

/** Sentinel refuses another failover before this time is over. */
async function untilSentinelsFollow(
  sentinels: readonly RedisLink[],
  to: RedisAddress,
  { masterName, deadlineMs, note }: FailoverOptions,
): Promise<void> {
  const follows = async (sentinel: RedisLink): Promise<boolean> => {
    const answer = await sentinel.ask("SENTINEL", "MASTER", masterName);
    const words = Array.isArray(answer) ? answer.map(String) : [];
    const valueOf = (name: string): string | undefined => words[words.indexOf(name) + 1];
    return valueOf("ip") === to.host && valueOf("port") === String(to.port);
  };
  await until("the sentinels to follow", { deadlineMs }, async () =>
    (await Promise.all(sentinels.map(follows))).every(Boolean),
  ).catch((error: unknown) => note(describeError(error)));
}

/** Clients that do not listen to sentinels look for the new master when their link ends. Sentinels keep their links. */
async function closeClients(old: RedisLink): Promise<void> {
  for (const type of ["normal", "pubsub"]) {
    const list = String(await old.ask("CLIENT", "LIST", "TYPE", type));
    const ids = list
      .split("\n")
      .filter((line) => line !== "" && !line.includes(" name=sentinel-"))
      .map((line) => /^id=(\d+)/.exec(line)?.[1] ?? "");
    // Some are gone by now.
    await Promise.all(
      ids.map((id) => old.ask("CLIENT", "KILL", "ID", id, "SKIPME", "yes").catch(() => undefined)),
    );
  }
}

/** Renewed while needed, so that it ends soon if this process dies. */
class PausedWrites {
  readonly #link: RedisLink;
  readonly #timer: NodeJS.Timeout;

  private constructor(link: RedisLink, pauseMs: number) {
    this.#link = link;
    this.#timer = setInterval(() => {
      link.ask("CLIENT", "PAUSE", String(pauseMs), "WRITE").catch(() => undefined);
    }, pauseMs / 3);
  }

  static async begin(link: RedisLink, pauseMs: number): Promise<PausedWrites> {
    await link.ask("CLIENT", "PAUSE", String(pauseMs), "WRITE");
    return new PausedWrites(link, pauseMs);
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    await this.#link.ask("CLIENT", "UNPAUSE").catch(() => undefined);
  }
}

interface Replication {
  readonly role: string;
  readonly offset: number;
  /** How far each connected replica has come. */
  readonly replicas: readonly number[];
}

async function readReplication(link: RedisLink): Promise<Replication> {
  const text = String(await link.ask("INFO", "replication"));
  const valueOf = (name: string): string => new RegExp(`^${name}:(.*)$`, "m").exec(text)?.[1]?.trim() ?? "";
  const replicas = [...text.matchAll(/^slave\d+:.*\bstate=online,offset=(\d+)/gm)].map(([, has]) =>
    Number(has),
  );
  return { role: valueOf("role"), offset: Number(valueOf("master_repl_offset")), replicas };
}

async function until<T>(
  what: string,
  {
    deadlineMs,
    interrupted,
  }: Pick<FailoverOptions, "deadlineMs"> & Partial<Pick<FailoverOptions, "interrupted">>,
  look: () => Promise<T>,
): Promise<Exclude<T, false | undefined>> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const found = await look();
    if (found !== false && found !== undefined) return found as Exclude<T, false | undefined>;
    if (interrupted?.aborted === true) throw new CliError("interrupted before the failover: writes continue");
    if (performance.now() > end) {
      throw new CliError(`waited ${deadlineMs / 1_000} s for ${what}: gave up, writes continue`);
    }
    await sleep(LOOK_EVERY_MS);
  }
}

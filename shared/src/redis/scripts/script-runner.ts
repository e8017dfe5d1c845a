// Calls the Lua scripts of the catalogue on one connection, or on those of a cluster.
// Guarantees: scripts are loaded on every (re)connect, on every node; on NOSCRIPT the source is sent with EVAL. While a
// slot moves to another node, a call is retried a few times.
import { Command } from "ioredis";
import { backoffMs } from "../../kernel/backoff.js";
import { pause } from "../../kernel/pause.js";
import {
  connectionsOf,
  forgetSlots,
  isCluster,
  masterAddress,
  masterOf,
  onServerReady,
} from "../connection/cluster-nodes.js";
import type { Redis, SingleRedis } from "../connection/connect.js";
import { noEvents, type EventWriting } from "./event-writing.js";
import { MessageEnds } from "./message-ends.js";
import { readScripts, type Script, type ScriptName } from "./script-catalogue.js";

const TRYAGAIN_ATTEMPTS = 5;

export class ScriptRunner {
  readonly redis: Redis;
  /** Counts the messages that calls made here have ended. */
  readonly ends = new MessageEnds();
  /** Which events calls made here write. */
  readonly events: EventWriting;
  readonly #scripts: ReadonlyMap<ScriptName, Script>;

  constructor(
    redis: Redis,
    scripts: ReadonlyMap<ScriptName, Script> = readScripts(),
    events: EventWriting = noEvents,
  ) {
    this.redis = redis;
    this.events = events;
    this.#scripts = scripts;
    // On a cluster, replicas load them too: one of them is the next master.
    onServerReady(redis, (server) => this.#load(server));
    for (const server of connectionsOf(redis)) if (server.status === "ready") this.#load(server);
  }

  /** The same scripts on another connection, without reading the files again. */
  alsoOn(redis: Redis): ScriptRunner {
    return new ScriptRunner(redis, this.#scripts, this.events);
  }

  /** Runs a script that returns one string. */
  async run(name: ScriptName, keys: readonly string[], args: readonly (string | number)[]): Promise<string> {
    return (await this.#call(name, keys, args)) as string;
  }

  /** Runs a script that returns a list of strings. */
  async runForList(
    name: ScriptName,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<string[]> {
    return (await this.#call(name, keys, args)) as string[];
  }

  /**
   * Runs a script that returns one string, on the master's own connection, and never resends it. Whatever is written to
   * that connection (see `masterOf`) in the same turn directly follows it.
   * @throws also if `run` would have retried; the next call may succeed
   */
  async runOnce(
    name: ScriptName,
    keys: readonly [string, ...string[]],
    args: readonly (string | number)[],
  ): Promise<string> {
    const { sha1 } = this.#find(name);
    const master = masterOf(this.redis, keys[0]);
    try {
      return (await master.sendCommand(commandOf("evalsha", sha1, keys, args))) as string;
    } catch (error) {
      const message = error instanceof Error ? error.message : "";
      if (message.startsWith("NOSCRIPT")) this.#load(master);
      else forgetSlots(this.redis);
      throw error;
    }
  }

  /** Pipelines the calls that `task` makes before it first awaits: one write per server. */
  together<T>(task: () => T): T {
    const { redis } = this;
    // Without a link there is no write to share: each call fails by itself.
    if (redis.status !== "ready") return task();
    const streams = connectionsOf(redis)
      .filter(({ status }) => status === "ready")
      .map(({ stream }) => stream);
    for (const stream of streams) stream.cork();
    try {
      return task();
    } finally {
      for (const stream of streams) stream.uncork();
    }
  }

  /** The server for a call with this key, if known: equal texts mean the same server. */
  serverOf(key: string): string {
    return isCluster(this.redis) ? (masterAddress(this.redis, key) ?? "") : "";
  }

  #find(name: ScriptName): Script {
    const script = this.#scripts.get(name);
    if (script === undefined) throw new Error(`no script ${name}`);
    return script;
  }

  async #call(
    name: ScriptName,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    const script = this.#find(name);
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#send("evalsha", script.sha1, keys, args);
      } catch (error) {
        const message = error instanceof Error ? error.message : "";
        if (message.startsWith("NOSCRIPT")) return this.#send("eval", script.source, keys, args);
        if (!message.startsWith("TRYAGAIN") || attempt >= TRYAGAIN_ATTEMPTS) throw error;
        await pause(5 + backoffMs(attempt, { baseMs: 20, capMs: 200 }));
      }
    }
  }

  #send(
    command: "eval" | "evalsha",
    script: string,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    return this.redis.sendCommand(commandOf(command, script, keys, args)) as Promise<unknown>;
  }

  #load(server: SingleRedis): void {
    // All of them in one write.
    server.stream.cork();
    for (const { source } of this.#scripts.values()) {
      // A failure shows at the first call, which then sends the source.
      server.script("LOAD", source).catch(() => undefined);
    }
    server.stream.uncork();
  }
}

/** Built directly: the generated methods would scan all arguments again for callbacks and arrays. */
function commandOf(
  command: "eval" | "evalsha",
  script: string,
  keys: readonly string[],
  args: readonly (string | number)[],
): Command {
  const all: (string | number)[] = [script, keys.length];
  // Pushed one by one: V8 adds spread elements of unknown kind one property at a time.
  for (const key of keys) all.push(key);
  for (const arg of args) all.push(arg);
  return new Command(command, all, { replyEncoding: "utf8" });
}

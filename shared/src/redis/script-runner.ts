// Calls the Lua scripts of the catalogue on one connection.
// Guarantees: scripts are loaded on every (re)connect; one that Redis has lost is sent along; a slot under way to
// another node is tried again, a few times.
import { Command } from "ioredis";
import { backoffMs } from "../kernel/backoff.js";
import type { Redis } from "./connect.js";
import { readScripts, type Script, type ScriptName } from "./script-catalogue.js";

const TRYAGAIN_ATTEMPTS = 5;

export class ScriptRunner {
  readonly redis: Redis;
  readonly #scripts: ReadonlyMap<ScriptName, Script>;

  constructor(redis: Redis) {
    this.redis = redis;
    this.#scripts = readScripts();
    redis.on("ready", () => this.#load());
    if (redis.status === "ready") this.#load();
  }

  /** Runs a script that answers one string. */
  async run(name: ScriptName, keys: readonly string[], args: readonly (string | number)[]): Promise<string> {
    return (await this.#call(name, keys, args)) as string;
  }

  /** Runs a script that answers a list of strings. */
  async runForList(
    name: ScriptName,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<string[]> {
    return (await this.#call(name, keys, args)) as string[];
  }

  /** What is called in `task`, before it first waits, leaves in one write. */
  together<T>(task: () => T): T {
    // Without a link there is no write to share: each call fails by itself.
    if (this.redis.status !== "ready") return task();
    const { stream } = this.redis;
    stream.cork();
    try {
      return task();
    } finally {
      stream.uncork();
    }
  }

  async #call(
    name: ScriptName,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    const script = this.#scripts.get(name);
    if (script === undefined) throw new Error(`no script ${name}`);
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#send("evalsha", script.sha1, keys, args);
      } catch (error) {
        const message = error instanceof Error ? error.message : "";
        if (message.startsWith("NOSCRIPT")) return this.#send("eval", script.source, keys, args);
        if (!message.startsWith("TRYAGAIN") || attempt >= TRYAGAIN_ATTEMPTS) throw error;
        await new Promise((resolve) =>
          setTimeout(resolve, 5 + backoffMs(attempt, { baseMs: 20, capMs: 200 })),
        );
      }
    }
  }

  #send(
    command: "eval" | "evalsha",
    script: string,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    // Built directly: the generated methods walk all arguments once more to look for callbacks and arrays.
    return this.redis.sendCommand(
      new Command(command, [script, keys.length, ...keys, ...args], { replyEncoding: "utf8" }),
    ) as Promise<unknown>;
  }

  #load(): void {
    for (const { source } of this.#scripts.values()) {
      // A failure shows at the first call, which sends the script along.
      this.redis.script("LOAD", source).catch(() => undefined);
    }
  }
}

// Tests only: the scripts unchanged, on a real Redis with a clock that the test steps.
// Guarantees: a script loses at most a leading `#!lua`; it is prefixed with a `redis` that answers TIME with the test's
// time.
import type { Redis } from "../../redis/connection/connect.js";
import { readScripts, type ScriptName } from "../../redis/scripts/script-catalogue.js";

const NOW_KEY = "test:now-ms";
const PRELUDE = `
local real = redis
local redis = setmetatable({ call = function(command, ...)
  if command ~= 'TIME' then return real.call(command, ...) end
  local nowMs = real.call('GET', '${NOW_KEY}')
  return { math.floor(nowMs / 1000), nowMs % 1000 * 1000 }
end }, { __index = real })
`;

export class SteppedScripts {
  readonly redis: Redis;
  /** Of each script that has run: its digest, once Redis knows it. */
  readonly #known = new Map<ScriptName, Promise<string>>();
  calls = 0;

  constructor(redis: Redis) {
    this.redis = redis;
  }

  /** What runs after this call, on the same connection, has this time, also where nobody awaits it. */
  async setNow(nowMs: number): Promise<void> {
    await this.redis.set(NOW_KEY, Math.floor(nowMs));
  }

  async run(name: ScriptName, keys: readonly string[], args: readonly (string | number)[]): Promise<string> {
    this.calls++;
    return (await this.redis.evalsha(await this.#load(name), keys.length, ...keys, ...args)) as string;
  }

  together<T>(task: () => T): T {
    return task();
  }

  #load(name: ScriptName): Promise<string> {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const source =
      readScripts()
        .get(name)
        ?.source.replace(/^#!lua\n/, "") ?? "";
    const loading = this.redis.script("LOAD", PRELUDE + source) as Promise<string>;
    this.#known.set(name, loading);
    return loading;
  }
}

// Tests only: the scripts as they are, on a real Redis whose clock the test moves.
// Guarantees: no line of a script is changed, but for a leading `#!lua`; before it stands a `redis` that answers TIME with the test's time.
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
  readonly #scripts = readScripts();
  calls = 0;

  constructor(redis: Redis) {
    this.redis = redis;
  }

  async setNow(nowMs: number): Promise<void> {
    await this.redis.set(NOW_KEY, Math.floor(nowMs));
  }

  async run(name: ScriptName, keys: readonly string[], args: readonly (string | number)[]): Promise<string> {
    const source = this.#scripts.get(name)?.source.replace(/^#!lua\n/, "") ?? "";
    this.calls++;
    return (await this.redis.eval(PRELUDE + source, keys.length, ...keys, ...args)) as string;
  }

  together<T>(task: () => T): T {
    return task();
  }
}

// dispatch/channels/apns/device-breaker -> here: the apps for which a dispatcher has just seen many tokens called bad
// at once.
// Guarantees: one process's observation keeps the others from judging single tokens of the same spike; the note
// expires.
import type { ApnsEnvironment } from "../../protocol/fallback/device.js";
import { clusterKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

interface Scope {
  readonly topic: string;
  readonly environment: ApnsEnvironment;
}

export class ApnsSpikesStore {
  readonly #scripts: ScriptRunner;

  constructor(scripts: ScriptRunner) {
    this.#scripts = scripts;
  }

  async note({ topic, environment }: Scope, forMs: number): Promise<void> {
    await this.#scripts.run("announce.v1", [clusterKeys.apnsSpike(environment, topic)], [Math.ceil(forMs)]);
  }

  async isKnown({ topic, environment }: Scope): Promise<boolean> {
    return (await this.#scripts.redis.exists(clusterKeys.apnsSpike(environment, topic))) === 1;
  }
}

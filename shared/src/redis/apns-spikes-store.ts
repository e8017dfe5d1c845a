// dispatch/channels/apns/device-breaker -> here: in which app a dispatcher has just seen many tokens called bad at once.
// Guarantees: what one process has seen keeps the others from taking single tokens of the same spike for bad; forgotten
// by itself.
import type { ApnsEnvironment } from "../protocol/device.js";
import type { Redis } from "./connect.js";
import { clusterKeys } from "./keys.js";

interface Scope {
  readonly topic: string;
  readonly environment: ApnsEnvironment;
}

export class ApnsSpikesStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async note({ topic, environment }: Scope, forMs: number): Promise<void> {
    await this.#redis.set(clusterKeys.apnsSpike(environment, topic), "1", "PX", Math.ceil(forMs));
  }

  async isKnown({ topic, environment }: Scope): Promise<boolean> {
    return (await this.#redis.exists(clusterKeys.apnsSpike(environment, topic))) === 1;
  }
}

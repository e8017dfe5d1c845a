// Tests only -> app, webhook-deps: dispatch's routes on a real Redis, without a dispatcher.
// Guarantees: an operator and a sender have keys; nothing is routed, sent or delivered.
import { systemClock } from "@petrel/shared/kernel/clock";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { InvalidationsStore } from "@petrel/shared/redis/devices/invalidations-store";
import { DeadLettersStore } from "@petrel/shared/redis/fallback/dead-letters-store";
import { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { hashProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import type { OpenStore } from "@petrel/shared/testing/redis/open-store";
import { buildApp, type DispatchDeps } from "../app.js";
import { webhookDeps, type WebhookDepsOptions } from "./webhook-deps.js";

const SECRET = "s".repeat(43);

export type Caller = "operator" | "sender" | "";

/** The operator's key has the scope admin; the sender's has those of a producer. "" for a stranger. */
export function headersOf(as: Caller): Readonly<Record<string, string>> {
  return as === "" ? {} : { authorization: `Bearer ${as}.${SECRET}` };
}

/** Close it before the store. */
export async function openApp(
  store: OpenStore,
  more: Partial<DispatchDeps> = {},
  webhooks: WebhookDepsOptions = {},
): Promise<HttpApp> {
  const { scripts, partitions, redis } = store;
  const app = await buildApp({
    ...webhookDeps(store, webhooks),
    version: "0.0.0",
    logger: createLogger({ service: "test", level: "silent" }),
    metrics: createRegistry("dispatch"),
    authenticator: new ProducerAuthenticator({
      findKey: async (id) => ({
        id,
        owner: "o",
        scopes: id === "operator" ? ["admin"] : ["send", "read", "devices"],
        secretSha256: hashProducerSecret(SECRET),
      }),
    }),
    dispatcherId: "d.1",
    ownedPartitions: () => [],
    readReadyLengths: async () => [],
    deadLetters: new DeadLettersStore(scripts, partitions),
    readAttempts: async () => [],
    onReplayed: () => undefined,
    invalidations: new InvalidationsStore(redis, partitions),
    readyWithoutRedisMs: 0,
    clock: systemClock,
    pingRedis: async () => undefined,
    isMember: () => true,
    ...more,
  });
  await app.ready();
  return app;
}

// Tests only: collect's application on a Redis of its own, with producers who may do this and that.
// Guarantees: the same parts as in main.ts, except that nothing listens; `close()` leaves nothing running.
import { systemClock } from "@petrel/shared/kernel/clock";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import type { ProducerScope } from "@petrel/shared/protocol/producer-scopes";
import type { InboxMessage } from "@petrel/shared/protocol/messages/stored-message";
import { type AcceptOptions, MessageAccepter } from "@petrel/shared/redis/accept/accept-messages";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { UserEraser } from "@petrel/shared/redis/erasure/erase-user";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { ProducerKeysStore } from "@petrel/shared/redis/producers/producer-keys-store";
import { readInbox } from "@petrel/shared/redis/inbox/read-inbox";
import { SlidingWindowLimiter } from "@petrel/shared/redis/limits/sliding-window-limiter";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { hashProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import { type OpenStore, openStore } from "@petrel/shared/testing/redis/open-store";
import type { StartRedisOptions } from "@petrel/shared/testing/redis/start-redis";
import { AcceptanceCounts } from "../accept/acceptance-counts.js";
import { buildApp } from "../app.js";
import { KEY_PREPAID, KEY_WINDOW_MS, MessageLimits } from "../accept/limit-messages.js";

export interface OpenCollectOptions {
  readonly redis?: StartRedisOptions;
  readonly accept?: Partial<AcceptOptions>;
  readonly acceptDeadlineMs?: number;
  /** Of a key that has no limit of its own; none by default. */
  readonly messagesPerKey?: number;
  /** Stands between the application and the store. */
  readonly wrapStore?: (store: MessageAccepter) => Pick<MessageAccepter, "accept">;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: unknown;
}

export interface Ask {
  readonly body?: unknown;
  /** Bytes or text as they are, instead of `body`. */
  readonly raw?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  /** Who asks; by default a producer with every scope. */
  readonly as?: string | undefined;
}

export interface OpenCollect {
  readonly store: OpenStore;
  readonly app: HttpApp;
  readonly counts: AcceptanceCounts;
  ask(method: "GET" | "POST" | "DELETE", url: string, ask?: Ask): Promise<Answer>;
  keysOf(userId: string): PartitionKeys;
  /** All that is stored for a user, in order. */
  inboxOf(userId: string): Promise<InboxMessage[]>;
  /** Makes a producer's key. @returns the value of Authorization */
  producer(owner: string, scopes: readonly ProducerScope[], limit?: number | "unlimited"): Promise<string>;
  close(): Promise<void>;
}

const everyScope: readonly ProducerScope[] = ["send", "read", "tokens", "devices", "introspect", "admin"];
const asItIs = (store: MessageAccepter): MessageAccepter => store;
const logger = createLogger({ service: "test", level: "silent" });

export async function openCollect(options: OpenCollectOptions = {}): Promise<OpenCollect> {
  const { acceptDeadlineMs = 5_000, wrapStore = asItIs } = options;
  const store = await openStore(options.redis);
  const storeAttemptMs = Math.floor(acceptDeadlineMs * 0.4);
  const redis = await connectRedis({
    url: store.server.url,
    role: "collect",
    logger,
    commandTimeoutMs: storeAttemptMs,
  });
  const scripts = new ScriptRunner(redis);
  const accepter = new MessageAccepter({
    scripts,
    partitions: store.partitions,
    ackTimeoutMs: 10_000,
    inboxCap: 10_000,
    readyCap: 100_000,
    handOver: "accept",
    maxInFlight: 2,
    ...options.accept,
  });
  const keys = new ProducerKeysStore(scripts);
  const counts = new AcceptanceCounts();
  const app = await buildApp({
    version: "0.0.0",
    logger,
    clock: systemClock,
    authenticator: new ProducerAuthenticator({ findKey: keys.find }),
    scripts,
    audit: new AuditLog({ scripts, logger, maxEntries: 1_000, keepDays: 30 }),
    eraser: new UserEraser({
      scripts,
      partitions: store.partitions,
      devices: new DevicesStore(scripts, store.partitions),
    }),
    partitions: store.partitions,
    store: wrapStore(accepter),
    counts,
    limits: new MessageLimits(
      new SlidingWindowLimiter({
        scripts,
        name: "messages-per-key",
        limit: 0,
        windowMs: KEY_WINDOW_MS,
        prepaid: KEY_PREPAID,
        deadlineMs: 5_000,
      }),
      options.messagesPerKey ?? 0,
    ),
    acceptDeadlineMs,
    readyWithoutRedisMs: 0,
    storeAttemptMs,
  });
  await app.ready();

  async function producer(
    owner: string,
    scopes: readonly ProducerScope[],
    messagesPerSecond?: number | "unlimited",
  ): Promise<string> {
    const id = `${owner}-${scopes.join("-")}`;
    await keys.create(
      { id, owner, name: id, scopes, secretSha256: hashProducerSecret("secret"), messagesPerSecond },
      new Date(),
    );
    return `Bearer ${id}.secret`;
  }
  const everything = await producer("shop", everyScope);

  async function ask(method: "GET" | "POST" | "DELETE", url: string, how: Ask = {}): Promise<Answer> {
    const authorization = "as" in how ? how.as : everything;
    const payload = how.raw ?? (how.body === undefined ? undefined : JSON.stringify(how.body));
    const response = await app.inject({
      method,
      url,
      headers: {
        ...(authorization === undefined ? {} : { authorization }),
        ...(payload === undefined ? {} : { "content-type": "application/json" }),
        ...how.headers,
      },
      ...(payload === undefined ? {} : { payload }),
    });
    const { statusCode: status, headers, body } = response;
    return { status, headers, body: body === "" ? undefined : (JSON.parse(body) as unknown) };
  }

  function keysOf(userId: string): PartitionKeys {
    const keys = store.partitions[partitionOfUser(userId, store.partitions.length)];
    if (keys === undefined) throw new Error("no partition");
    return keys;
  }

  return {
    store,
    app,
    counts,
    ask,
    keysOf,
    inboxOf: (userId) =>
      readInbox(store.scripts, keysOf(userId), userId, 0, { maxEntries: 1_000, maxBytes: 1e9 }).then(
        ({ messages }) => [...messages],
      ),
    producer,
    close: async () => {
      await app.close();
      redis.disconnect();
      await store.close();
    },
  };
}

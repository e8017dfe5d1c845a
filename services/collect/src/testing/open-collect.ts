// Tests only -> start-collect: collect on a Redis of its own, with producers of various scopes.
// Guarantees: the production wiring; `close()` leaves nothing running.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import type { ProducerScope } from "@petrel/shared/protocol/producer-scopes";
import type { InboxMessage } from "@petrel/shared/protocol/messages/stored-message";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { ProducerKeysStore } from "@petrel/shared/redis/producers/producer-keys-store";
import { readInbox } from "@petrel/shared/redis/inbox/read-inbox";
import { hashProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import { openTestService } from "@petrel/shared/testing/open-test-service";
import { type OpenStore, openStore } from "@petrel/shared/testing/redis/open-store";
import type { StartRedisOptions } from "@petrel/shared/testing/redis/start-redis";
import type { AcceptanceCounts } from "../accept/acceptance-counts.js";
import { readCollectSettings } from "../config.js";
import { type CollectOverrides, startCollect } from "../start-collect.js";

export interface OpenCollectOptions {
  readonly redis?: StartRedisOptions;
  readonly accept?: CollectOverrides["accept"];
  readonly acceptDeadlineMs?: number;
  /** For a key without a limit of its own; no limit by default. */
  readonly messagesPerKey?: number;
  /** Wraps the store. */
  readonly wrapStore?: CollectOverrides["wrapStore"];
  readonly wrapPublisher?: CollectOverrides["wrapPublisher"];
  /** As the process would read it: `TOPICS_FILE` and so on. */
  readonly environment?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: unknown;
}

export interface Ask {
  readonly body?: unknown;
  /** Bytes or text to send unchanged, instead of `body`. */
  readonly raw?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  /** Who asks; a producer with every scope by default. */
  readonly as?: string | undefined;
}

type Method = "GET" | "POST" | "PUT" | "DELETE";

export interface OpenCollect {
  readonly store: OpenStore;
  readonly app: HttpApp;
  /** Where it listens: http://127.0.0.1:… */
  readonly address: string;
  readonly counts: AcceptanceCounts;
  /** Its metrics, as Prometheus reads them. */
  metrics(): Promise<string>;
  ask(method: Method, url: string, ask?: Ask): Promise<Answer>;
  keysOf(userId: string): PartitionKeys;
  /** Everything stored for a user, in order. */
  inboxOf(userId: string): Promise<InboxMessage[]>;
  /** Makes a producer's key. @returns the value of Authorization */
  producer(owner: string, scopes: readonly ProducerScope[], limit?: number | "unlimited"): Promise<string>;
  close(): Promise<void>;
}

const everyScope: readonly ProducerScope[] = ["send", "read", "tokens", "devices", "introspect", "admin"];

export async function openCollect(options: OpenCollectOptions = {}): Promise<OpenCollect> {
  const { acceptDeadlineMs = 5_000, messagesPerKey = 0, accept, wrapStore, wrapPublisher } = options;
  const store = await openStore(options.redis);
  const settings = readCollectSettings({
    HOST: "127.0.0.1",
    PORT: "0",
    REDIS_URL: store.server.url,
    PARTITIONS: String(store.partitions.length),
    READY_WITHOUT_REDIS_MS: "0",
    ACCEPT_DEADLINE_MS: String(acceptDeadlineMs),
    MESSAGES_PER_KEY_PER_SECOND: String(messagesPerKey),
    ...options.environment,
  });
  const service = await openTestService("collect", settings.config);
  const { app, address, counts } = await startCollect(settings, service, {
    keyLimitDeadlineMs: 5_000,
    ...(accept === undefined ? {} : { accept }),
    ...(wrapStore === undefined ? {} : { wrapStore }),
    ...(wrapPublisher === undefined ? {} : { wrapPublisher }),
  });
  const keys = new ProducerKeysStore(store.scripts);

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

  async function ask(method: Method, url: string, how: Ask = {}): Promise<Answer> {
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
    address,
    counts,
    metrics: () => service.metrics.metrics(),
    ask,
    keysOf,
    inboxOf: (userId) =>
      readInbox(store.scripts, keysOf(userId), userId, 0, { maxEntries: 1_000, maxBytes: 1e9 }).then(
        ({ messages }) => [...messages],
      ),
    producer,
    close: async () => {
      await service.lifecycle.stop("the test is over");
      await store.close();
    },
  };
}

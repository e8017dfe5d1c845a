// petrel -> here -> collect: topics: their logs, who is there, and for whom the server keeps them. docs/send/topics.md.
import { path, type ServiceCaller, withQuery } from "../requests/service-caller.js";
import type { MessageOptions, Stored } from "../send/message.js";

export interface TopicHead {
  readonly topic: string;
  readonly epoch: string | null;
  readonly offset: number;
  readonly oldest: number;
  readonly messages: number;
  readonly users: number | null;
  readonly connections: number | null;
}

export interface KeptMessage {
  readonly id: string;
  readonly offset: number;
  readonly at: string;
  /** The user whose client published it. */
  readonly from?: string;
  readonly data: unknown;
}

export interface PresentUser {
  readonly user: string;
  readonly connections: number;
  readonly since: string;
}

export interface KeptTopic {
  readonly topic: string;
  readonly since: string;
}

/** What a topic message may have besides its data. */
export type TopicMessageOptions = Pick<
  MessageOptions,
  "ttlSeconds" | "priority" | "idempotencyKey" | "deliverAt"
>;

type Publish = (
  message: { readonly to: { readonly topic: string }; readonly data: unknown } & TopicMessageOptions,
) => Promise<Stored>;

export class TopicsApi {
  readonly #caller: ServiceCaller;
  readonly #publish: Publish;

  constructor(caller: ServiceCaller, publish: Publish) {
    this.#caller = caller;
    this.#publish = publish;
  }

  /** Batched with everything else that is sent. Scope: `send`. */
  publish(topic: string, data: unknown, options: TopicMessageOptions = {}): Promise<Stored> {
    return this.#publish({ ...options, to: { topic }, data });
  }

  /** The topic's position. Scope: `read`. */
  async get(topic: string): Promise<TopicHead> {
    return (await this.#caller.call("collect", "GET", path`/v1/topics/${topic}`)) as unknown as TopicHead;
  }

  /** The messages in its log, in order. Scope: `read`. @param after exclusive: begins above this offset */
  async *history(
    topic: string,
    { after = 0 }: { readonly after?: number } = {},
  ): AsyncGenerator<KeptMessage, void> {
    for (let next: unknown = after; typeof next === "number";) {
      const query = { after: next };
      const page = await this.#caller.call(
        "collect",
        "GET",
        withQuery(path`/v1/topics/${topic}/messages`, query),
      );
      yield* page["items"] as readonly KeptMessage[];
      next = page["nextAfter"];
    }
  }

  /** Who is there, by name; empty if the topic's rule does not list users. Scope: `read`. */
  presence(topic: string): AsyncIterableIterator<PresentUser> {
    return this.#caller.items("collect", path`/v1/topics/${topic}/presence`);
  }

  /** Subscribes every connection of the user, now and later. Scope: `send`. */
  async keep(userId: string, topic: string): Promise<void> {
    await this.#caller.call("collect", "PUT", path`/v1/users/${userId}/topics/${topic}`);
  }

  /** Ends what `keep` began. Scope: `send`. */
  async drop(userId: string, topic: string): Promise<void> {
    await this.#caller.call("collect", "DELETE", path`/v1/users/${userId}/topics/${topic}`);
  }

  /** Scope: `read`. */
  kept(userId: string): AsyncIterableIterator<KeptTopic> {
    return this.#caller.items("collect", path`/v1/users/${userId}/topics`);
  }
}

// petrel -> here -> collect: a user's stored messages and presence; disconnecting and erasing a user.
// docs/send/http-api.md.
import { path, type ServiceCaller, withQuery } from "../requests/service-caller.js";

export interface StoredMessage {
  readonly id: string;
  readonly seq: number;
  readonly epoch: string;
  readonly acceptedAt: string;
  readonly expiresAt: string;
  readonly priority: string;
  readonly fallback: string;
  readonly data: unknown;
}

export interface ScheduledMessage {
  readonly id: string;
  readonly deliverAt: string;
  readonly expiresAt: string;
  readonly data: unknown;
}

export interface UserPresence {
  readonly online: boolean;
  readonly connections: readonly {
    readonly id: string;
    readonly node: string;
    readonly platform: string;
    readonly connectedAt: string;
  }[];
}

export interface LastSeen {
  readonly user: string;
  readonly online: boolean;
  /** `null` while online, and if unknown. */
  readonly lastSeenAt: string | null;
}

const MAX_USERS = 200;

export class UsersApi {
  readonly #caller: ServiceCaller;

  constructor(caller: ServiceCaller) {
    this.#caller = caller;
  }

  /** In order of `seq`. Scope: `read`. @param after exclusive: begins above this `seq` */
  async *messages(
    userId: string,
    { after = 0 }: { readonly after?: number } = {},
  ): AsyncGenerator<StoredMessage, void> {
    for (let next: unknown = after; typeof next === "number";) {
      const query = { after: next };
      const page = await this.#caller.call(
        "collect",
        "GET",
        withQuery(path`/v1/users/${userId}/messages`, query),
      );
      yield* page["items"] as readonly StoredMessage[];
      next = page["nextAfter"];
    }
  }

  /** The user's scheduled messages, by time. Scope: `read`. */
  scheduled(userId: string): AsyncIterableIterator<ScheduledMessage> {
    return this.#caller.items("collect", path`/v1/users/${userId}/messages`, { state: "scheduled" });
  }

  /** Includes each connection. Scope: `read`. */
  async presence(userId: string): Promise<UserPresence> {
    const answer = await this.#caller.call("collect", "GET", path`/v1/users/${userId}/presence`);
    return answer as unknown as UserPresence;
  }

  /** For many users, in the order given; queries 200 at a time. Scope: `read`. */
  async online(userIds: readonly string[]): Promise<LastSeen[]> {
    const all: LastSeen[] = [];
    for (let from = 0; from < userIds.length; from += MAX_USERS) {
      const users = userIds
        .slice(from, from + MAX_USERS)
        .map(encodeURIComponent)
        .join(",");
      const page = await this.#caller.call("collect", "GET", `/v1/presence?users=${users}`);
      all.push(...(page["items"] as readonly LastSeen[]));
    }
    return all;
  }

  /** Closes all connections of a user. Scope: `admin`. @returns how many */
  async disconnect(userId: string): Promise<number> {
    const { disconnected } = await this.#caller.call("collect", "POST", path`/v1/users/${userId}/disconnect`);
    return Number(disconnected);
  }

  /** Erases a person. Scope: `admin`. May take minutes; after an error call it again. */
  async erase(userId: string): Promise<void> {
    await this.#caller.call("collect", "DELETE", path`/v1/users/${userId}`);
  }
}

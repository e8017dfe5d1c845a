// petrel -> here -> collect: reads a message's state, and cancels it. docs/send/http-api.md.
import { path, type ServiceCaller } from "../requests/service-caller.js";
import type { Recipient } from "../send/message.js";

export type MessageState =
  | "scheduled"
  | "queued"
  | "delivered"
  | "pushed"
  | "published"
  | "expired"
  | "cancelled"
  | "failed";

export interface MessageStatus {
  readonly id: string;
  readonly to: Exclude<Recipient, { readonly users: readonly string[] }>;
  readonly state: MessageState;
  readonly seq?: number;
  readonly epoch?: string;
  /** For a topic message. */
  readonly topic?: string;
  readonly offset?: number;
  readonly acceptedAt: string;
  readonly expiresAt: string;
  readonly deliverAt?: string;
  readonly reason?: { readonly code: string; readonly message: string };
  readonly timeline: readonly {
    readonly at: string;
    readonly event: string;
    readonly [detail: string]: unknown;
  }[];
}

export class MessagesApi {
  readonly #caller: ServiceCaller;

  constructor(caller: ServiceCaller) {
    this.#caller = caller;
  }

  /** Scope: `read`. @throws PetrelError `PETREL_NOT_FOUND` a day after its end */
  async get(id: string): Promise<MessageStatus> {
    return (await this.#caller.call("collect", "GET", path`/v1/messages/${id}`)) as unknown as MessageStatus;
  }

  /**
   * Cancels it, before or after its scheduled time. Scope: `send`.
   * @throws PetrelError `PETREL_CONFLICT`: too late; `details.state` has its state
   */
  async cancel(id: string): Promise<void> {
    await this.#caller.call("collect", "DELETE", path`/v1/messages/${id}`);
  }
}

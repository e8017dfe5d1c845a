// A business system -> here -> auth, collect: Petrel for backends, and the package's entry.
// Guarantees: `send` resolves once the message is stored, exactly once however often it was tried. A rejection says
// whether it may be stored nevertheless.
import { PetrelEvents, type EventsOptions } from "./events/read-events.js";
import { resolveOptions, type PetrelOptions } from "./petrel-options.js";
import type { Method, ServiceName } from "./requests/send-request.js";
import { ServiceCaller, type CallOptions } from "./requests/service-caller.js";
import { DevicesApi } from "./resources/devices.js";
import { MessagesApi } from "./resources/messages.js";
import { TokensApi } from "./resources/tokens.js";
import { TopicsApi } from "./resources/topics.js";
import { UsersApi } from "./resources/users.js";
import type { Message, Recipient, SentTo } from "./send/message.js";
import { MessageSender } from "./send/message-sender.js";

export { PetrelError, petrelErrorCodes, type Outcome } from "./petrel-error.js";
export type { PetrelOptions } from "./petrel-options.js";
export type { PetrelErrorCode } from "./error-codes.js";
export type { EventGap, EventsOptions, EventType, PetrelEvent, PetrelEvents } from "./events/read-events.js";
export type { Fetch, Method, ServiceName } from "./requests/send-request.js";
export type { CallOptions } from "./requests/service-caller.js";
export type { Device, NewDevice } from "./resources/devices.js";
export type { MessageState, MessageStatus } from "./resources/messages.js";
export type { Revocation, Ticket, TokenRequest, Tokens, TopicGrant, TopicRight } from "./resources/tokens.js";
export type {
  KeptMessage,
  KeptTopic,
  PresentUser,
  TopicHead,
  TopicMessageOptions,
} from "./resources/topics.js";
export type { LastSeen, ScheduledMessage, StoredMessage, UserPresence } from "./resources/users.js";
export type {
  Message,
  MessageOptions,
  Notification,
  Recipient,
  SentTo,
  Stored,
  StoredForList,
  StoredForUser,
} from "./send/message.js";

export class Petrel {
  readonly messages: MessagesApi;
  readonly users: UsersApi;
  readonly topics: TopicsApi;
  readonly tokens: TokensApi;
  readonly devices: DevicesApi;
  readonly #caller: ServiceCaller;
  readonly #sender: MessageSender;

  /** @throws TypeError naming an option that is missing or invalid */
  constructor(options: PetrelOptions) {
    const resolved = resolveOptions(options);
    this.#caller = new ServiceCaller(resolved, resolved);
    this.#sender = new MessageSender(resolved, resolved);
    this.messages = new MessagesApi(this.#caller);
    this.users = new UsersApi(this.#caller);
    this.topics = new TopicsApi(this.#caller, (message) => this.send(message));
    this.tokens = new TokensApi(this.#caller);
    this.devices = new DevicesApi(this.#caller);
  }

  /**
   * Resolves when the message is stored. Messages sent at the same time share a request; those to one recipient are
   * stored in the order of the calls.
   * @throws PetrelError `outcome` says whether it may be stored nevertheless
   */
  async send<To extends Recipient>(message: Message<To>): Promise<SentTo<To>> {
    return (await this.#sender.send(message)) as SentTo<To>;
  }

  /** Resolves when there is room for more messages: await it if you send without awaiting `send`. */
  ready(): Promise<void> {
    return this.#sender.ready();
  }

  /** Events: `for await (const event of petrel.events({ after }))`. Continues after any fault. */
  events(options: EventsOptions = {}): PetrelEvents {
    return new PetrelEvents(this.#caller, options);
  }

  /**
   * Any other route, such as dispatch's dead letters. May be tried more than once.
   * @param path with its query, percent-encoded
   * @throws PetrelError
   */
  request(
    service: ServiceName,
    method: Method,
    path: string,
    options: CallOptions = {},
  ): Promise<Readonly<Record<string, unknown>>> {
    return this.#caller.call(service, method, path, options);
  }

  /** Accepts no more messages, and resolves when all are settled, after at most `timeoutMs`. Then ends the rest. */
  async close(): Promise<void> {
    await this.#sender.close();
    this.#caller.close();
  }
}

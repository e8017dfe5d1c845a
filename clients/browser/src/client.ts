// The package's entry, for browsers and Node: what an application may use.
// Guarantees: nothing of the library beside these names is public.
import type { PetrelClientOptions } from "./client-options.js";
import { PetrelClient } from "./petrel-client.js";

export type { NotificationClick, WebPushOptions } from "./web-push/web-push.js";
export type { AckMode, PetrelClientOptions, SharedOptions } from "./client-options.js";
export type { SharedAck } from "./share/hub/ack-policy.js";
export type { ShareEnvironment } from "./share/share-environment.js";
export type { ClientTiming } from "./client-timing.js";
export type { TopicPosition, WelcomeFrame } from "./frames.js";
export type { NetworkEvents } from "./connection/network-watch.js";
export type { Socket, SocketConstructor } from "./connection/socket.js";
export type { GetTicket } from "./credentials/ticket-source.js";
export type { GetToken, TokenReason } from "./credentials/token-source.js";
export type {
  GivenState,
  PublishedMessage,
  PublishOptions,
  StartPosition,
  TopicHandle,
  TopicLost,
  TopicMessage,
  TopicOptions,
  TopicPresence,
  TopicState,
  TopicSubscribed,
} from "./topics/topic-options.js";
export type { ClientEvents, ClientState, ClosedEvent, OfflineEvent, StateChange } from "./client-events.js";
export type { PetrelMessage } from "./delivery/handed-message.js";
export type { Position } from "./delivery/user-sequence.js";
export type { RecalledMessage } from "./delivery/message-delivery.js";
export { clientErrorCodes, PetrelClientError, SignedOutError } from "./client-error.js";
export type { Debug } from "./debug-log.js";
export { PetrelClient };

/** Creates a client and starts it. Listeners added in the same turn miss nothing. */
export function connect<Data = unknown>(options: PetrelClientOptions): PetrelClient<Data> {
  const client = new PetrelClient<Data>(options);
  client.connect();
  return client;
}

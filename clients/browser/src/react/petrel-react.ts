// An application in React -> here -> client: the provider and the hooks, the entry of `@petrel/client/react`.
// Guarantees: one client per provider, one handle per topic. All components see the same state in one render. On a
// server everything renders as before the first connection.
import {
  createContext,
  createElement,
  useContext,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore,
  type ReactNode,
  type RefObject,
} from "react";
import type {
  ClientState,
  PetrelClient,
  PetrelClientOptions,
  PetrelMessage,
  PublishedMessage,
  PublishOptions,
  TopicMessage,
  TopicPresence,
} from "../client.js";
import { ClientHolder } from "./client-holder.js";
import type { LiveStore } from "./live-store.js";
import { NO_TOPIC, type TopicView } from "./topic-store.js";

export type { TopicView } from "./topic-store.js";

export interface PetrelProviderProps {
  /**
   * For a client that lives with the provider. Read only once, except for `getToken` and `getTicket`; a new `key`
   * starts over.
   */
  readonly options?: PetrelClientOptions | undefined;
  /** Your own client instead, which you start and close. */
  readonly client?: PetrelClient | undefined;
  /** How many messages each list holds (100). */
  readonly keep?: number | undefined;
  readonly children?: ReactNode;
}

const HolderContext = createContext<ClientHolder | undefined>(undefined);
const NO_MESSAGES: readonly PetrelMessage[] = Object.freeze([]);

/** Creates a client, or takes yours, for the hooks below it. */
export function PetrelProvider({ options, client, keep = 100, children }: PetrelProviderProps): ReactNode {
  const newest = useNewest(options);
  const [holder] = useState(() => new ClientHolder(client ?? ownOptions(options, newest), keep));
  useEffect(() => holder.mount(), [holder]);
  return createElement(HolderContext.Provider, { value: holder }, children);
}

/** The client itself. */
export function usePetrel<Data = unknown>(): PetrelClient<Data> {
  return useHolder().client as PetrelClient<Data>;
}

/** `closed` on a server, and before the provider is mounted. */
export function useConnectionState(): ClientState {
  return useLive(useHolder().stores.state, "closed");
}

/**
 * The newest messages to the user, oldest first, from the time somebody first asked. They are acknowledged as they
 * arrive.
 * @param onMessage called for each one that arrives while this component is mounted; may be async: its ack waits
 */
export function useMessages<Data = unknown>(
  onMessage?: (message: PetrelMessage<Data>) => unknown,
): readonly PetrelMessage<Data>[] {
  const { client, stores } = useHolder();
  const newest = useNewest(onMessage);
  const listens = onMessage !== undefined;
  useEffect(
    () =>
      listens
        ? client.on("message", (message) => newest.current?.(message as PetrelMessage<Data>))
        : undefined,
    [client, listens, newest],
  );
  return useLive(stores.messages, NO_MESSAGES) as readonly PetrelMessage<Data>[];
}

export interface UseTopicOptions<Data = unknown> {
  /** Called for each one that arrives while this component is mounted; may be async: the next one waits. */
  readonly onMessage?: ((message: TopicMessage<Data>) => unknown) | undefined;
  /** `oldest`: also what the topic keeps. */
  readonly from?: "oldest" | undefined;
}

export interface UsedTopic<Data = unknown> extends TopicView {
  readonly messages: readonly TopicMessage<Data>[];
  readonly publish: (data: unknown, options?: PublishOptions) => Promise<PublishedMessage>;
}

/** Subscribes to a topic as long as the component is mounted. */
export function useTopic<Data = unknown>(
  topic: string,
  options: UseTopicOptions<Data> = {},
): UsedTopic<Data> {
  const { client, stores } = useHolder();
  const { onMessage, from } = options;
  const newest = useNewest(onMessage);
  const listens = onMessage !== undefined;
  useEffect(
    () =>
      listens
        ? client.subscribe<Data>(topic, {
            onMessage: (message) => newest.current?.(message),
            // Reported to the view's subscribers.
            onLost: () => undefined,
            onError: () => undefined,
          }).unsubscribe
        : undefined,
    [client, listens, newest, topic],
  );
  const view = useLive(stores.topic(topic, from), NO_TOPIC);
  return {
    ...(view as TopicView & { readonly messages: readonly TopicMessage<Data>[] }),
    publish: (data, publishOptions) => client.publish(topic, data, publishOptions),
  };
}

/** Who is in a topic; undefined if unknown, or not disclosed. Needs the right `presence`. */
export function usePresence(topic: string): TopicPresence | undefined {
  return useLive(useHolder().stores.presence(topic), undefined);
}

function useHolder(): ClientHolder {
  const holder = useContext(HolderContext);
  if (holder === undefined) throw new Error("There is no PetrelProvider around this component.");
  return holder;
}

/** @param onServer the value before the first connection */
function useLive<Value>(store: LiveStore<Value>, onServer: Value): Value {
  return useSyncExternalStore(store.subscribe, store.get, () => onServer);
}

/** A callback may change at each render: the newest is called, without subscribing again. */
function useNewest<Value>(value: Value): RefObject<Value> {
  const newest = useRef(value);
  useEffect(() => {
    newest.current = value;
  });
  return newest;
}

function ownOptions(
  options: PetrelClientOptions | undefined,
  newest: RefObject<PetrelClientOptions | undefined>,
): PetrelClientOptions {
  if (options === undefined) throw new TypeError("PetrelProvider: options or a client is needed");
  const { getToken, getTicket } = options;
  return {
    ...options,
    ...(getToken === undefined ? {} : { getToken: (asked) => (newest.current?.getToken ?? getToken)(asked) }),
    ...(getTicket === undefined
      ? {}
      : { getTicket: (asked) => (newest.current?.getTicket ?? getTicket)(asked) }),
  };
}

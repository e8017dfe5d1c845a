// petrel-react -> here -> live-store: a topic, for components to show.
// Guarantees: all components of one topic share one handle and see the same. Presence is requested separately, because
// it takes a right of its own.
import type { PetrelClient, PetrelClientError, TopicMessage, TopicPresence } from "../client.js";
import { LiveStore, withNewest } from "./live-store.js";

export interface TopicView {
  /** `joining`: no answer yet, or no connection · `refused`: see `error` */
  readonly status: "joining" | "joined" | "refused";
  /** The newest messages, oldest first. */
  readonly messages: readonly TopicMessage[];
  /** Messages were missed and are gone: the list starts over after the gap. */
  readonly hasGap: boolean;
  readonly error: PetrelClientError | undefined;
}

export type TopicStore = LiveStore<TopicView>;
export type PresenceStore = LiveStore<TopicPresence | undefined>;

export const NO_TOPIC: TopicView = Object.freeze({
  status: "joining",
  messages: Object.freeze([]),
  hasGap: false,
  error: undefined,
});

export function createTopicStore(
  client: PetrelClient,
  topic: string,
  {
    keep,
    from,
    onIdle,
  }: { readonly keep: number; readonly from: "oldest" | undefined; readonly onIdle: () => void },
): TopicStore {
  return new LiveStore<TopicView>(
    NO_TOPIC,
    (set) =>
      client.subscribe(topic, {
        from,
        onMessage: (message) =>
          set((view) => ({ ...view, messages: withNewest(view.messages, message, keep) })),
        onSubscribed: () => set((view) => ({ ...view, status: "joined", error: undefined })),
        onLost: () => set((view) => ({ ...view, messages: [], hasGap: true })),
        onError: (error) => set((view) => ({ ...view, status: "refused", error })),
      }).unsubscribe,
    onIdle,
  );
}

export function createPresenceStore(client: PetrelClient, topic: string, onIdle: () => void): PresenceStore {
  return new LiveStore<TopicPresence | undefined>(
    undefined,
    (set) =>
      client.subscribe(topic, {
        onPresence: (presence) => set(() => presence),
        // Refused or not, nobody is shown.
        onError: () => set(() => undefined),
        onLost: () => undefined,
      }).unsubscribe,
    onIdle,
  );
}

// petrel-react -> here: the stores of one provider's components, one for each thing shown.
// Guarantees: everybody gets the same store while somebody is subscribed; afterwards it is dropped.
import type { ClientState, PetrelClient } from "../client.js";
import { LiveStore } from "./live-store.js";
import { createMessageStore, type MessageStore } from "./message-store.js";
import { createPresenceStore, createTopicStore, type PresenceStore, type TopicStore } from "./topic-store.js";

export class LiveStores {
  readonly messages: MessageStore;
  readonly state: LiveStore<ClientState>;
  readonly #client: PetrelClient;
  readonly #keep: number;
  readonly #topics = new Map<string, TopicStore>();
  readonly #presences = new Map<string, PresenceStore>();

  /** @param keep how many messages a list holds */
  constructor(client: PetrelClient, keep: number) {
    this.#client = client;
    this.#keep = keep;
    this.messages = createMessageStore(client, keep);
    this.state = new LiveStore<ClientState>(client.state, (set) => {
      // It may have changed since it was last read.
      set(() => client.state);
      return client.on("state", (state) => set(() => state));
    });
  }

  /** @param from taken from whoever joins first */
  topic(topic: string, from: "oldest" | undefined): TopicStore {
    const key = `${topic} ${from ?? ""}`;
    return getOrMake(this.#topics, key, () =>
      createTopicStore(this.#client, topic, {
        keep: this.#keep,
        from,
        onIdle: () => this.#topics.delete(key),
      }),
    );
  }

  presence(topic: string): PresenceStore {
    return getOrMake(this.#presences, topic, () =>
      createPresenceStore(this.#client, topic, () => this.#presences.delete(topic)),
    );
  }
}

function getOrMake<Store>(stores: Map<string, Store>, key: string, make: () => Store): Store {
  const found = stores.get(key) ?? make();
  stores.set(key, found);
  return found;
}

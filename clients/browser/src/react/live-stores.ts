// petrel-react -> here: what the components of one provider show, each thing once.
// Guarantees: the same store for everybody who asks while somebody looks; afterwards it is forgotten.
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
      // It may have moved since it was last looked at.
      set(() => client.state);
      return client.on("state", (state) => set(() => state));
    });
  }

  /** @param from of those who join first */
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

// petrel-react -> here -> live-store: the newest messages to the user, for components to show.
// Guarantees: a recalled message leaves the list. Without subscribers, none is taken from the client, so none is
// acknowledged unseen.
import type { PetrelClient, PetrelMessage } from "../client.js";
import { LiveStore, withNewest } from "./live-store.js";

export type MessageStore = LiveStore<readonly PetrelMessage[]>;

export function createMessageStore(client: PetrelClient, keep: number): MessageStore {
  return new LiveStore<readonly PetrelMessage[]>([], (set) => {
    const offs = [
      client.on("message", (message) => set((messages) => withNewest(messages, message, keep))),
      client.on("recalled", ({ id }) =>
        set((messages) =>
          messages.some((one) => one.id === id) ? messages.filter((one) => one.id !== id) : messages,
        ),
      ),
    ];
    return () => {
      for (const off of offs) off();
    };
  });
}

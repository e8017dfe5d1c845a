// petrel-react -> here -> client: a client that lives as long as its provider is on the page.
// Guarantees: making one has no effect, on a server neither; it connects when the provider is mounted and closes after
// it has left. Mounted again in the same turn, as in StrictMode, it stays connected: one socket.
import { PetrelClient, type PetrelClientOptions } from "../client.js";
import { LiveStores } from "./live-stores.js";
import { afterThisTurn } from "./live-store.js";

export class ClientHolder {
  readonly client: PetrelClient;
  readonly stores: LiveStores;
  readonly #isOwn: boolean;
  #mounts = 0;
  #cancelClose: (() => void) | undefined;

  /** @param given a client, which its owner starts and closes; or options for one of its own */
  constructor(given: PetrelClient | PetrelClientOptions, keep: number) {
    this.#isOwn = !(given instanceof PetrelClient);
    this.client = given instanceof PetrelClient ? given : new PetrelClient(given);
    this.stores = new LiveStores(this.client, keep);
  }

  /** @returns for when the provider leaves */
  mount(): () => void {
    if (!this.#isOwn) return () => undefined;
    this.#mounts++;
    this.#cancelClose?.();
    this.#cancelClose = undefined;
    this.client.connect();
    return () => {
      if (--this.#mounts > 0) return;
      this.#cancelClose = afterThisTurn(() => {
        this.#cancelClose = undefined;
        void this.client.close("the page left");
      });
    };
  }
}

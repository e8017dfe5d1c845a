// petrel-react -> here -> client: a client that lives as long as its provider is mounted.
// Guarantees: creating one has no effect, so it is safe on a server. It connects when the provider mounts and closes
// after it has unmounted. If it mounts again in the same turn, as in StrictMode, it stays connected: one socket.
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

  /** @returns a function to call when the provider unmounts */
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

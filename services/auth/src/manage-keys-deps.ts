// What the routes that manage producer keys work with.
// Guarantees: none; a shape.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { ProducerKeysStore } from "@petrel/shared/redis/producer-keys-store";
import type { ProducerAuthenticator } from "@petrel/shared/security/authenticate-producer";

export interface ManageKeysDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly producerKeys: ProducerKeysStore;
  readonly clock: Clock;
}

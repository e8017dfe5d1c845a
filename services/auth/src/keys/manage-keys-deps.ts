// The dependencies that the routes for producer keys share.
// A shape only.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import type { ProducerKeysStore } from "@petrel/shared/redis/producers/producer-keys-store";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import type { AtRestCipher } from "@petrel/shared/security/encrypt-at-rest";

export interface ManageKeysDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly producerKeys: ProducerKeysStore;
  readonly scripts: ScriptRunner;
  /** Seals the secrets of keys that may sign. */
  readonly cipher: AtRestCipher;
  readonly audit: AuditLog;
  readonly clock: Clock;
}

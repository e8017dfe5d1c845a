// open-channels -> here -> the channels' own open…: the parts of the process that a channel may use.
// Guarantees: none of its own; these parts belong to the process and outlive the channels.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { Registry } from "@petrel/shared/kernel/metrics/metrics";
import type { Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { AtRestCipher } from "@petrel/shared/security/encrypt-at-rest";

export interface ChannelDeps {
  readonly scripts: ScriptRunner;
  /** All of them, by number. */
  readonly partitions: readonly PartitionKeys[];
  readonly registry: Registry;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tracing: Tracing;
  /** Seals the secrets that a channel stores; undefined if KEY_ENCRYPTION_FILE is not set. */
  readonly cipher?: AtRestCipher | undefined;
}

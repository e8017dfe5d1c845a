// push-node/start-push-node -> here: opens this room: what receives the texts of this node's channels, and what brings
// a connection up to date.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { Semaphore } from "@petrel/shared/kernel/semaphore";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import type { InboxHistory } from "@petrel/shared/redis/inbox/hold-history";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import { createCatchUp, type CatchUp } from "./catch-up.js";
import { createCheckEpoch, type CheckEpoch } from "./check-epoch.js";
import { createDeliver } from "./deliver.js";
import type { DeliveryAcks } from "./delivery-acks.js";
import type { DeliveryObserver } from "./delivery-observer.js";
import { ReceivePace, type ReceivePaceOptions } from "./pace-receiving.js";
import { createReceiveEnvelopes, type ReceiveDeps } from "./receive-envelopes.js";

export interface DeliveryOptions {
  readonly redis: Redis;
  readonly scripts: ScriptRunner;
  readonly registry: ConnectionRegistry;
  readonly acks: DeliveryAcks;
  readonly observer: DeliveryObserver;
  readonly history: InboxHistory;
  readonly recordKeepMs: number;
  /** The most bytes that may wait in a live connection's socket. */
  readonly outboundBoundBytes: number;
  readonly pace: Omit<ReceivePaceOptions, "clock">;
  /** How many inbox pages are read at a time. */
  readonly concurrentCatchUps: number;
  /** Messages were written to sockets. */
  readonly onSent: (count: number) => void;
  /** The topics that the server keeps for users have changed. */
  readonly onKeptTopics: ReceiveDeps["onKeptTopics"];
  /** Users were erased. */
  readonly onErased: ReceiveDeps["onErased"];
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Delivery {
  /** Call it with each text that is published to this node. */
  readonly receive: (text: string) => void;
  readonly catchUp: CatchUp;
  readonly checkEpoch: CheckEpoch;
}

export function openDelivery(options: DeliveryOptions): Delivery {
  const { redis, registry, acks, onKeptTopics, onErased, clock, logger, concurrentCatchUps } = options;
  const pace = new ReceivePace({ clock, ...options.pace });
  const checkEpoch = createCheckEpoch({ redis, logger });
  const semaphore = new Semaphore(concurrentCatchUps);
  const catchUp = createCatchUp({ ...options, checkEpoch, semaphore, pace });
  const deliver = createDeliver({ ...options, catchUp, checkEpoch, pace });
  const receive = createReceiveEnvelopes({ registry, deliver, catchUp, acks, onKeptTopics, onErased });
  return { receive, catchUp, checkEpoch };
}

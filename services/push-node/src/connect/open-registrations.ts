// push-node/start-push-node -> here -> push-node/connect/{node-routes, register-connection, renew-leases}: opens what
// registers connections and keeps them registered.
import type { Clock } from "@petrel/shared/kernel/clock";
import { Semaphore } from "@petrel/shared/kernel/semaphore";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import { NodeRoutes, type NodeRoutesOptions } from "./node-routes.js";
import { RegisterConnections, type RegisterOptions } from "./register-connection.js";
import { createLeaseRenewal, type LeaseRenewal } from "./renew-leases.js";

export interface RegistrationsOptions {
  readonly registry: ConnectionRegistry;
  readonly routes: Omit<NodeRoutesOptions, "logger" | "isDraining">;
  readonly delivery: Pick<RegisterOptions, "catchUp" | "checkEpoch">;
  readonly moves: RegisterOptions["moves"];
  readonly topics: RegisterOptions["topics"];
  readonly pingSeconds: number;
  /** See WelcomeFrame. */
  readonly ackWithinMs: number;
  readonly isDraining: () => boolean;
  /** How many connections may register again at a time. */
  readonly concurrent: number;
  readonly clock: Clock;
  readonly logger: NodeRoutesOptions["logger"];
}

export interface Registrations {
  readonly registrations: RegisterConnections;
  readonly renewal: LeaseRenewal;
}

export function openRegistrations(options: RegistrationsOptions): Registrations {
  const {
    registry,
    delivery,
    moves,
    topics,
    pingSeconds,
    ackWithinMs,
    isDraining,
    concurrent,
    clock,
    logger,
  } = options;
  const routes = new NodeRoutes({ ...options.routes, isDraining, logger });
  const registrations = new RegisterConnections({
    ...delivery,
    registry,
    routes,
    moves,
    topics,
    isDraining,
    welcome: { node: options.routes.nodeId, pingSeconds, ackWithinMs },
    logger,
  });
  const semaphore = new Semaphore(concurrent);
  const renewal = createLeaseRenewal({ registry, routes, registrations, clock, semaphore, logger });
  return { registrations, renewal };
}

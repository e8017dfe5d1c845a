// push-node/start-push-node -> here -> push-node/connect/connect-route: opens everything that admits a client, from its
// upgrade request to its registration.
import type { Clock } from "@petrel/shared/kernel/clock";
import { RandomText } from "@petrel/shared/kernel/random-text";
import type { TrustedProxies } from "@petrel/shared/kernel/http/client-address";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { ConnectionMetrics } from "../connection/connection-metrics.js";
import type { Connection } from "../connection/connection.js";
import { createCheckCredential, type CheckCredentialDeps } from "./check-credential.js";
import type { ConnectRouteDeps } from "./connect-route.js";
import type { HandshakeAdmission } from "./handshake-admission.js";
import { createAddressConnects, type UserConnects } from "./limit-connects.js";
import type { OpenDeps } from "./open-connection.js";
import type { HandshakeRules } from "./read-handshake.js";
import { UnauthenticatedConnections } from "./unauthenticated-connections.js";

export interface HandshakeSettings {
  readonly tokenInQuery: boolean;
  readonly authTimeoutMs: number;
  readonly maxUnauthenticated: number;
  readonly maxUnauthenticatedPerAddress: number;
  readonly connectsPerAddressPerMinute: number;
}

export interface HandshakesOptions {
  readonly settings: HandshakeSettings;
  readonly isAllowedOrigin: HandshakeRules["isAllowedOrigin"];
  readonly trustedProxies: TrustedProxies;
  readonly credentials: Omit<CheckCredentialDeps, "clock">;
  readonly admission: HandshakeAdmission;
  readonly partitions: readonly PartitionKeys[];
  readonly registrations: OpenDeps["registrations"];
  readonly userConnects: UserConnects;
  readonly frames: OpenDeps["frames"];
  readonly counts: Pick<ConnectionMetrics, "turnedAway" | "pushedOut" | "opened" | "closed">;
  /** A socket has ended. @param connection undefined if it was not authenticated yet */
  readonly onClosed: (connection: Connection | undefined) => void;
  readonly isDraining: () => boolean;
  readonly stopping: AbortSignal;
  readonly scripts: ScriptRunner;
  readonly limitCounts: LimitCounts;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Twelve characters. */
const CONNECTION_ID_BYTES = 9;

export function openHandshakes(options: HandshakesOptions): ConnectRouteDeps {
  const { settings, counts, onClosed, admission, isDraining, scripts, clock, logger } = options;
  const takeConnectOfAddress = createAddressConnects({
    perAddressPerMinute: settings.connectsPerAddressPerMinute,
    scripts,
    counts: options.limitCounts,
    logger,
  });
  const ids = new RandomText(CONNECTION_ID_BYTES);
  return {
    rules: { isAllowedOrigin: options.isAllowedOrigin, tokenInQuery: settings.tokenInQuery },
    trustedProxies: options.trustedProxies,
    unauthenticated: new UnauthenticatedConnections({
      max: settings.maxUnauthenticated,
      maxPerAddress: settings.maxUnauthenticatedPerAddress,
      onPushedOut: counts.pushedOut,
    }),
    admission,
    takeConnectOfAddress,
    onTurnedAway: counts.turnedAway,
    isDraining,
    stopping: options.stopping,
    logger,
    open: {
      checkCredential: createCheckCredential({ ...options.credentials, clock }),
      authTimeoutMs: settings.authTimeoutMs,
      userConnects: options.userConnects,
      partitions: options.partitions,
      registrations: options.registrations,
      frames: options.frames,
      isDraining,
      newId: () => ids.next(),
      events: {
        opened: counts.opened,
        closed: (code, connection) => {
          counts.closed(code);
          onClosed(connection);
        },
      },
      clock,
      logger,
    },
  };
}

// open-apns -> here -> send-to-device: which pool and which gate a message to an app's devices uses.
// Guarantees: one pool for each credential and environment, however many apps share it. Connections are opened on first
// use.
import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Clock } from "@petrel/shared/kernel/clock";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { ApnsEnvironment } from "@petrel/shared/protocol/fallback/device";
import type { ProviderTokenStore } from "@petrel/shared/redis/fallback/provider-token-store";
import { type ApnsApp, type ApnsCredential, findApnsApp } from "./credentials/apns-apps.js";
import { type ApnsAuth, ApnsPool } from "./connection/apns-pool.js";
import { CredentialGate } from "./credentials/credential-gate.js";
import { ProviderTokens } from "./credentials/provider-token.js";

/** A credential in one environment. */
export interface ApnsRoute {
  /** The credential's name, not a secret. */
  readonly credential: string;
  readonly environment: ApnsEnvironment;
  /** Bundle ids of its apps; undefined means any. */
  readonly topics: readonly string[] | undefined;
  /** The certificate's expiry, if its file shows it without a passphrase. */
  readonly expiresAtMs?: number;
  readonly pool: Pick<ApnsPool, "send" | "state" | "close">;
  readonly gate: CredentialGate;
}

export interface ApnsRoutesOptions {
  readonly apps: readonly ApnsApp[];
  readonly endpoints: Readonly<Record<ApnsEnvironment, string>>;
  /** PEM; replaces the system's authorities. */
  readonly ca: Buffer | undefined;
  readonly proxyUrl: string | undefined;
  /** Applies separately to the wait for a connection and to the answer; ms. */
  readonly waitMs: number;
  readonly requestTimeoutMs: number;
  readonly haltMs: number;
  readonly tokenStore: ProviderTokenStore;
  readonly onConnection: (environment: ApnsEnvironment, event: "opened" | "lost" | "failed") => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class ApnsRoutes {
  readonly #apps: readonly ApnsApp[];
  readonly #routes = new Map<string, ApnsRoute>();

  constructor(options: ApnsRoutesOptions) {
    this.#apps = options.apps;
    const auths = new Map<string, ApnsAuth>();
    for (const { credential, environments } of options.apps) {
      const { name } = credential;
      const auth = auths.get(name) ?? authOf(credential, options);
      auths.set(name, auth);
      for (const environment of environments) {
        const key = nameOf(name, environment);
        if (!this.#routes.has(key)) {
          const topics = topicsOf(options.apps, name, environment);
          this.#routes.set(key, {
            ...openRoute(name, environment, auth, options),
            topics,
            ...expiryOf(credential),
          });
        }
      }
    }
  }

  get all(): readonly ApnsRoute[] {
    return [...this.#routes.values()];
  }

  /** @returns undefined if no credential fits this app and environment */
  find(topic: string, environment: ApnsEnvironment): ApnsRoute | undefined {
    const app = findApnsApp(this.#apps, topic, environment);
    return app === undefined ? undefined : this.#routes.get(nameOf(app.credential.name, environment));
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map(({ pool }) => pool.close()));
  }
}

function openRoute(
  credential: string,
  environment: ApnsEnvironment,
  auth: ApnsAuth,
  options: ApnsRoutesOptions,
): Omit<ApnsRoute, "topics"> {
  const { endpoints, ca, proxyUrl, waitMs, requestTimeoutMs, haltMs, clock, onConnection } = options;
  const logger = options.logger.child({ credential, environment });
  return {
    credential,
    environment,
    pool: new ApnsPool({
      endpoint: endpoints[environment],
      auth,
      waitMs,
      requestTimeoutMs,
      clock,
      logger,
      metrics: {
        opened: () => onConnection(environment, "opened"),
        lost: () => onConnection(environment, "lost"),
        failed: () => onConnection(environment, "failed"),
      },
      ...(ca === undefined ? {} : { ca }),
      ...(proxyUrl === undefined ? {} : { proxyUrl }),
    }),
    gate: new CredentialGate({
      clock,
      haltMs,
      onChange: (isHalted, reason) => {
        if (isHalted) {
          logger.error(
            { reason },
            "APNs refuses this key or certificate: nothing is sent with it; its messages become dead letters, which can be replayed once it is fixed",
          );
        } else logger.info({ reason }, "APNs accepts this key or certificate again");
      },
      onRest: (forMs) =>
        logger.error(
          { pausedMs: forMs },
          "APNs saw too many provider tokens of this key: sending with it is paused. Does another installation also make tokens with it?",
        ),
    }),
  };
}

function authOf(credential: ApnsCredential, { tokenStore, clock }: ApnsRoutesOptions): ApnsAuth {
  if (credential.kind === "certificate") return { kind: "certificate", certificate: credential.certificate };
  const { keyId, teamId, privateKeyPem } = credential;
  const privateKey = createPrivateKey(privateKeyPem);
  return {
    kind: "token",
    tokens: new ProviderTokens({ store: tokenStore, keyId, teamId, privateKey, clock }),
  };
}

function topicsOf(
  apps: readonly ApnsApp[],
  credential: string,
  environment: ApnsEnvironment,
): readonly string[] | undefined {
  const its = apps.filter(
    (app) => app.credential.name === credential && app.environments.includes(environment),
  );
  const topics = its.flatMap((app) => app.topics ?? []);
  return its.every((app) => app.topics !== undefined) ? topics : undefined;
}

/** (A PKCS #12 file cannot be read without unpacking it.) */
function expiryOf(credential: ApnsCredential): Pick<ApnsRoute, "expiresAtMs"> {
  if (credential.kind !== "certificate" || !("cert" in credential.certificate)) return {};
  return { expiresAtMs: Date.parse(new X509Certificate(credential.certificate.cert).validTo) };
}

function nameOf(credential: string, environment: ApnsEnvironment): string {
  return `${environment} ${credential}`;
}

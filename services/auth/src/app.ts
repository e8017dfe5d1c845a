// auth's HTTP application: who is a user, who may send, and which devices are whose.
// Guarantees: built from what it is given, without listening; every route of auth's contract is here or answers 501.
import type { KeyObject } from "node:crypto";
import { buildHttpApp, type HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createReadiness } from "@petrel/shared/kernel/lifecycle/patient-readiness";
import { addJsonBodyReader } from "@petrel/shared/kernel/http/bodies/read-json-body";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { pingRedis } from "@petrel/shared/redis/connection/cluster-nodes";
import type { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import type { ProducerKeysStore } from "@petrel/shared/redis/producers/producer-keys-store";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { SpentNonces } from "@petrel/shared/redis/producers/spent-nonces";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { SessionsStore, type SessionsStoreOptions } from "@petrel/shared/redis/auth/sessions-store";
import { TicketsStore } from "@petrel/shared/redis/auth/tickets-store";
import { TokenRevocations } from "@petrel/shared/redis/auth/token-revocations";
import { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import type { AtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { createSignatureChecks } from "@petrel/shared/security/producers/signature-checks";
import { createSignToken } from "@petrel/shared/security/tokens/sign-token";
import type { MatchOrigin } from "@petrel/shared/security/requests/match-origin";
import type { PushHosts } from "@petrel/shared/security/web-push/push-hosts";
import type { RefreshTokens } from "@petrel/shared/security/tokens/refresh-token";
import type { TokenSource } from "@petrel/shared/security/tokens/token-source";
import { createTrustedVerification, type TrustRules } from "@petrel/shared/security/tokens/trusted-issuers";
import { MAX_FOREIGN_LIFE_SECONDS, type VerifiedToken } from "@petrel/shared/security/tokens/verified-token";
import type { Service } from "@petrel/shared/service/open-service";
import { answerBrowsers } from "./answer-browsers.js";
import { decorateWithProducer } from "@petrel/shared/security/producers/authorize-producer";
import { createRequestLimiter, type RequestLimits } from "@petrel/shared/security/requests/limit-requests";
import { documentedRules } from "./documented-rules.js";
import { decorateWithUser } from "./tokens/authorize-user.js";
import { addCreateKey } from "./routes/create-key.js";
import { addCreateTicket } from "./routes/create-ticket.js";
import { addCreateToken } from "./routes/create-token.js";
import { addDevicesOfToken } from "./routes/devices-of-token.js";
import { addDevicesOfUser } from "./routes/devices-of-user.js";
import { addIntrospect } from "./routes/introspect.js";
import { addListAudit } from "./routes/list-audit.js";
import { addListKeys } from "./routes/list-keys.js";
import { addPublishJwks } from "./routes/publish-jwks.js";
import { addRefreshToken } from "./routes/refresh-token.js";
import { addUpdateKey } from "./routes/update-key.js";
import { addRevokeKey } from "./routes/revoke-key.js";
import { addRevokeTokens, type RevocationLimit } from "./routes/revoke-tokens.js";
import { addRotateKey } from "./routes/rotate-key.js";
import { addWebPushKey } from "./routes/web-push-key.js";
import { addSigningKeys } from "./routes/signing-keys.js";
import type { SigningKeyTimes } from "./keys/signing-key-set.js";
import type { SigningKeyring } from "./keys/signing-keyring.js";

export interface AuthDeps {
  readonly service: Pick<Service, "version" | "tls" | "logger" | "clock" | "requests" | "compiledSchemas">;
  readonly requestLimits: RequestLimits;
  readonly revocationLimit: RevocationLimit;
  readonly producerKeys: ProducerKeysStore;
  readonly devices: DevicesStore;
  /** Push services whose endpoints may be registered. */
  readonly pushHosts: PushHosts;
  /** This server's public VAPID key for them; absent without Web Push. */
  readonly vapidKey: KeyObject | undefined;
  readonly audit: AuditLog;
  readonly scripts: ScriptRunner;
  /** All of them, by number. */
  readonly partitions: readonly PartitionKeys[];
  /** Seals and opens the secrets of producer keys that sign. */
  readonly cipher: AtRestCipher;
  readonly keyring: SigningKeyring;
  readonly keyTimes: SigningKeyTimes;
  readonly refreshTokens: RefreshTokens;
  readonly sessionTimes: Pick<SessionsStoreOptions, "leewayMs" | "idleMs" | "absoluteMs" | "maxPerUser">;
  readonly trust: TrustRules;
  /** Called with the external issuer's keys, if there is one. */
  readonly onTokenSource?: (source: TokenSource) => void;
  /** Matches the origins whose pages may call the routes for browsers. */
  readonly matchOrigin: MatchOrigin;
  readonly readyWithoutRedisMs: number;
}

const BODY_LIMIT_BYTES = 65_536;
/** The longest life of a token that auth makes. */
const MAX_OWN_LIFE_SECONDS = 86_400;

/** Builds the application without listening; call `ready()` or `listen()` on it. */
export async function buildApp(deps: AuthDeps): Promise<HttpApp> {
  const { version, tls, logger, clock, requests, compiledSchemas } = deps.service;
  const { requestLimits, producerKeys, devices, pushHosts, keyring, keyTimes, refreshTokens, trust } = deps;
  const { audit, scripts, partitions } = deps;
  const { tokenIssuer: issuer, tokenAudience: audience, trustOwnTokens } = trust.settings;
  const app = await buildHttpApp({
    tls,
    service: "auth",
    version,
    logger,
    requests,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    trustedProxies: requestLimits.trustedProxies,
    documented: true,
    // Bodies here may come from strangers, but legitimate ones are small.
    bounds: { maxBodies: 1_000, maxBodiesPerAddress: 200 },
    compiledSchemas,
    documentedRules,
    readiness: createReadiness({
      patient: { redis: () => pingRedis(scripts.redis) },
      patienceMs: deps.readyWithoutRedisMs,
      clock,
    }),
  });
  const authenticator = new ProducerAuthenticator({
    findKey: producerKeys.find,
    signatures: createSignatureChecks(deps.cipher, new SpentNonces(scripts.redis).spend, logger),
    clock,
  });
  const signToken = createSignToken({ issuer, audience, clock });
  const verifyToken = createTrustedVerification(trust, {
    findOwnKey: keyring.findKey,
    // auth made the token by its own clock, so no tolerance is needed.
    ownClockToleranceSeconds: 0,
    logger,
    clock,
    ...(deps.onTokenSource === undefined ? {} : { onSource: deps.onTokenSource }),
  });
  const hasForeignTokens = trust.external !== undefined || trust.hs256Key !== undefined;
  const revocations = new TokenRevocations({
    scripts,
    partitions,
    maxTokenLifeMs: (hasForeignTokens ? MAX_FOREIGN_LIFE_SECONDS : MAX_OWN_LIFE_SECONDS) * 1_000,
  });
  const sessions = new SessionsStore({ scripts, partitions, ...deps.sessionTimes });
  const tickets = new TicketsStore<VerifiedToken>(scripts);
  const users = { verifyToken, revocations };
  const issue = { keyring, signToken, trustOwnTokens, sessions, refreshTokens };
  const manageKeys = {
    authenticator,
    producerKeys,
    scripts,
    cipher: deps.cipher,
    audit,
    clock,
  };

  addJsonBodyReader(app, BODY_LIMIT_BYTES);
  const limiter = createRequestLimiter({ authenticator, ...requestLimits });
  decorateWithProducer(app, limiter.shares);
  decorateWithUser(app);
  answerBrowsers(app, deps.matchOrigin);
  limiter.limit(app);
  addCreateToken(app, { authenticator, ...issue });
  addRefreshToken(app, { ...issue, audit });
  addRevokeTokens(app, { authenticator, audit, limit: deps.revocationLimit, ...users });
  addCreateTicket(app, { tickets, clock, ...users });
  addPublishJwks(app, { keyring });
  addSigningKeys(app, { authenticator, keyring, keyTimes, audit });
  addIntrospect(app, { authenticator, ...users, issuer, audience, external: trust.external });
  addCreateKey(app, manageKeys);
  addListKeys(app, manageKeys);
  addListAudit(app, { authenticator, audit });
  addRotateKey(app, manageKeys);
  addRevokeKey(app, manageKeys);
  addUpdateKey(app, manageKeys);
  addDevicesOfToken(app, { ...users, devices, pushHosts, clock });
  addDevicesOfUser(app, { authenticator, devices, pushHosts, clock });
  addWebPushKey(app, { vapidKey: deps.vapidKey });
  return app;
}

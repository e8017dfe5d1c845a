// auth's HTTP application: who is a user, who may send, and which devices are whose.
// Guarantees: built from what it is given, without listening; every route of auth's contract is here or answers 501.
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import { buildHttpApp, type HttpApp, type Readiness } from "@petrel/shared/kernel/http-app";
import type { Logger } from "@petrel/shared/kernel/logging";
import { addJsonBodyReader } from "@petrel/shared/kernel/read-json-body";
import type { DevicesStore } from "@petrel/shared/redis/devices-store";
import type { ProducerKeysStore } from "@petrel/shared/redis/producer-keys-store";
import type { TokenGenerationStore } from "@petrel/shared/redis/token-generation-store";
import { ProducerAuthenticator } from "@petrel/shared/security/authenticate-producer";
import { createSignToken } from "@petrel/shared/security/sign-token";
import { createVerifyToken } from "@petrel/shared/security/verify-token";
import { decorateWithProducer } from "@petrel/shared/security/authorize-producer";
import { decorateWithUser } from "./authorize-user.js";
import { addCreateKey } from "./routes/create-key.js";
import { addCreateToken } from "./routes/create-token.js";
import { addDevicesOfToken } from "./routes/devices-of-token.js";
import { addDevicesOfUser } from "./routes/devices-of-user.js";
import { addIntrospect } from "./routes/introspect.js";
import { addListKeys } from "./routes/list-keys.js";
import { addPublishJwks } from "./routes/publish-jwks.js";
import { addRefuseNotBuilt } from "./routes/refuse-not-built.js";
import { addRevokeKey } from "./routes/revoke-key.js";
import { addRotateKey } from "./routes/rotate-key.js";
import type { SigningKeyring } from "./signing-keyring.js";

export interface AuthDeps {
  readonly version: string;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly producerKeys: ProducerKeysStore;
  readonly generations: TokenGenerationStore;
  readonly devices: DevicesStore;
  readonly keyring: SigningKeyring;
  readonly issuer: string;
  readonly audience: string;
  /** Rejects where Redis does not answer. */
  readonly pingRedis: () => Promise<unknown>;
}

const BODY_LIMIT_BYTES = 65_536;

/** Builds the application; call `ready()` or `listen()` on it. */
export async function buildApp(deps: AuthDeps): Promise<HttpApp> {
  const { clock, issuer, audience, producerKeys, generations, devices, keyring } = deps;
  const app = await buildHttpApp({
    service: "auth",
    version: deps.version,
    logger: deps.logger,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    documented: true,
    readiness: () => checkReadiness(deps.pingRedis),
  });
  const authenticator = new ProducerAuthenticator({ findKey: producerKeys.find, clock });
  const signToken = createSignToken({ issuer, audience, clock });
  const verifyToken = createVerifyToken({
    issuer,
    audience,
    clock,
    findKey: keyring.findKey,
    // auth made the token by this clock: what is over is over.
    clockToleranceSeconds: 0,
  });
  const manageKeys = { authenticator, producerKeys, clock };

  addJsonBodyReader(app, BODY_LIMIT_BYTES);
  decorateWithProducer(app);
  decorateWithUser(app);
  addCreateToken(app, { authenticator, generations, keyring, signToken });
  addPublishJwks(app, { keyring });
  addIntrospect(app, { authenticator, generations, verifyToken, issuer, audience });
  addCreateKey(app, manageKeys);
  addListKeys(app, manageKeys);
  addRotateKey(app, manageKeys);
  addRevokeKey(app, manageKeys);
  addDevicesOfToken(app, { verifyToken, generations, devices, clock });
  addDevicesOfUser(app, { authenticator, devices, clock });
  addRefuseNotBuilt(app);
  return app;
}

async function checkReadiness(pingRedis: () => Promise<unknown>): Promise<Readiness> {
  try {
    await pingRedis();
    return { ready: true, checks: { redis: "ok" } };
  } catch (error) {
    return { ready: false, checks: { redis: describeError(error) } };
  }
}

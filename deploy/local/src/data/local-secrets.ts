// The local run: this machine's own keys, made at its first start.
// Guarantees: 256 bits each, from the system's random source; the same at every later start; readable only by the
// owner.
import { createPrivateKey, randomBytes } from "node:crypto";
import { chmod, readFile } from "node:fs/promises";
import { join } from "node:path";
import { producerScopes, type ProducerScope } from "@petrel/shared/protocol/producer-scopes";
import { makeProducerKeyId, makeProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import { makeVapidKey } from "@petrel/shared/security/web-push/vapid-key";
import {
  describeKnownKeys,
  isApnsProviderKey,
  makeApnsProviderKey,
  type ApnsProviderKey,
} from "./apns-provider-key.js";
import { LocalRunError, systemErrorCode } from "../local-run-error.js";
import { describeWechatApps } from "./wechat-apps.js";
import { writePrivateFile } from "./write-private-file.js";

export interface LocalKey {
  readonly id: string;
  readonly secret: string;
}

export interface LocalSecrets {
  /** For a business system: everything but `admin`. */
  readonly apiKey: LocalKey;
  /** Every scope. */
  readonly adminKey: LocalKey;
  /** 32 bytes as base64: encrypts what auth stores encrypted. */
  readonly keyEncryptionKey: string;
  /** Of the embedded Redis. */
  readonly redisPassword: string;
  /** Dispatch pushes to the APNs simulator with it. */
  readonly apnsKey: ApnsProviderKey;
  /** PEM: dispatch pushes to browsers' push services with it. */
  readonly vapidKey: string;
}

/** The files from which services read them. */
export interface SecretFiles {
  /** For auth: `[{ id, owner, name, scopes, secret }]`. */
  readonly producerKeys: string;
  /** For auth, collect and dispatch: 32 bytes as base64. */
  readonly keyEncryption: string;
  /** For clients of the embedded Redis. */
  readonly redisPassword: string;
  /** For services that call others: `key.secret` of the API key. */
  readonly apiKey: string;
  /** For dispatch: the provider key as PEM. */
  readonly apnsKey: string;
  /** For dispatch: WECHAT_APPS_FILE with the demo apps. */
  readonly wechatApps: string;
  /** For the WeChat simulator: the same apps. */
  readonly wechatSimulatedApps: string;
  /** For the APNs simulator: the public half, `[{ keyId, teamId, publicKey }]`. */
  readonly apnsKnownKeys: string;
  /** For auth, dispatch and the Web Push simulator: the VAPID key as PEM. */
  readonly vapidKey: string;
}

const apiScopes: readonly ProducerScope[] = producerScopes.filter((scope) => scope !== "admin");

/**
 * Reads `secrets.json`, or makes it.
 * @throws LocalRunError if it exists, but is damaged
 */
export async function loadSecrets(file: string): Promise<LocalSecrets> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
    const made = makeSecrets();
    await writePrivateFile(file, `${JSON.stringify(made, null, 2)}\n`);
    return made;
  }
  await chmod(file, 0o600);
  const read = parseSecrets(text);
  if (read === undefined) {
    throw new LocalRunError(`${file} is damaged: restore it, or remove it to get new keys`);
  }
  const { apnsKey, redisPassword, vapidKey } = read;
  if (apnsKey !== undefined && redisPassword !== undefined && vapidKey !== undefined) {
    return { ...read, apnsKey, redisPassword, vapidKey };
  }
  // An older release made the file without some of these: keep what is there.
  const completed = {
    ...read,
    redisPassword: redisPassword ?? makeRedisPassword(),
    apnsKey: apnsKey ?? makeApnsProviderKey(),
    vapidKey: vapidKey ?? makeVapidKey(),
  };
  await writePrivateFile(file, `${JSON.stringify(completed, null, 2)}\n`);
  return completed;
}

/** Rewrites the services' files, so that they match `secrets.json`. */
export async function writeSecretFiles(directory: string, secrets: LocalSecrets): Promise<SecretFiles> {
  const files = {
    producerKeys: join(directory, "producer-keys.json"),
    keyEncryption: join(directory, "key-encryption"),
    redisPassword: join(directory, "redis-password"),
    apiKey: join(directory, "api-key"),
    apnsKey: join(directory, "apns-key.p8"),
    apnsKnownKeys: join(directory, "apns-known-keys.json"),
    vapidKey: join(directory, "web-push-key.pem"),
    wechatApps: join(directory, "wechat-apps.json"),
    wechatSimulatedApps: join(directory, "wechat-simulated-apps.json"),
  };
  const producerKeys = [
    describeKey(secrets.apiKey, "local api key", apiScopes),
    describeKey(secrets.adminKey, "local admin key", producerScopes),
  ];
  await writePrivateFile(files.producerKeys, `${JSON.stringify(producerKeys, null, 2)}\n`);
  await writePrivateFile(files.keyEncryption, `${secrets.keyEncryptionKey}\n`);
  await writePrivateFile(files.redisPassword, `${secrets.redisPassword}\n`);
  await writePrivateFile(files.apiKey, `${credential(secrets.apiKey)}\n`);
  await writePrivateFile(files.apnsKey, secrets.apnsKey.privateKey);
  await writePrivateFile(files.apnsKnownKeys, describeKnownKeys(secrets.apnsKey));
  await writePrivateFile(files.vapidKey, secrets.vapidKey);
  const wechat = describeWechatApps();
  await writePrivateFile(files.wechatApps, wechat.apps);
  await writePrivateFile(files.wechatSimulatedApps, wechat.simulatedApps);
  return files;
}

/** `key.secret`, the text after `Bearer`. */
export function credential({ id, secret }: LocalKey): string {
  return `${id}.${secret}`;
}

function describeKey({ id, secret }: LocalKey, name: string, scopes: readonly ProducerScope[]) {
  // The secret itself, so that the key may sign; like secrets.json, the file is only for its owner.
  return { id, owner: "local", name, scopes, secret };
}

function makeSecrets(): LocalSecrets {
  const makeKey = (): LocalKey => ({ id: makeProducerKeyId(), secret: makeProducerSecret() });
  return {
    apiKey: makeKey(),
    adminKey: makeKey(),
    keyEncryptionKey: randomBytes(32).toString("base64"),
    redisPassword: makeRedisPassword(),
    apnsKey: makeApnsProviderKey(),
    vapidKey: makeVapidKey(),
  };
}

/** Letters, digits, `-` and `_`: needs no escaping in a URL, a file or redis.conf. */
function makeRedisPassword(): string {
  return randomBytes(32).toString("base64url");
}

/** Fields that older files lack, because a later version added them. */
type Added = "apnsKey" | "redisPassword" | "vapidKey";
type SecretsRead = Omit<LocalSecrets, Added> & Partial<Pick<LocalSecrets, Added>>;

function parseSecrets(text: string): SecretsRead | undefined {
  try {
    const secrets = JSON.parse(text) as Partial<LocalSecrets>;
    const { apiKey, adminKey, keyEncryptionKey, apnsKey, redisPassword, vapidKey } = secrets;
    const complete =
      isKey(apiKey) &&
      isKey(adminKey) &&
      typeof keyEncryptionKey === "string" &&
      Buffer.from(keyEncryptionKey, "base64").length === 32 &&
      (redisPassword === undefined || isPassword(redisPassword)) &&
      (vapidKey === undefined || isVapidKey(vapidKey)) &&
      (apnsKey === undefined || isApnsProviderKey(apnsKey));
    if (!complete) return undefined;
    return {
      apiKey,
      adminKey,
      keyEncryptionKey,
      ...(redisPassword === undefined ? {} : { redisPassword }),
      ...(apnsKey === undefined ? {} : { apnsKey }),
      ...(vapidKey === undefined ? {} : { vapidKey }),
    };
  } catch {
    return undefined;
  }
}

function isVapidKey(value: unknown): boolean {
  try {
    return createPrivateKey(String(value)).asymmetricKeyDetails?.namedCurve === "prime256v1";
  } catch {
    return false;
  }
}

function isPassword(value: unknown): boolean {
  return typeof value === "string" && /^[\w-]{22,}$/.test(value);
}

function isKey(key: Partial<LocalKey> | undefined): key is LocalKey {
  return typeof key?.id === "string" && typeof key.secret === "string";
}

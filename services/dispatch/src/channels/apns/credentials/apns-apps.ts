// config -> here -> channels/apns/apns-routes: which credential pushes to which app, in which environment.
// Guarantees: the result is usable: every file was read, every key is of the kind that Apple accepts, and no app has
// two credentials. Otherwise one line says what is wrong, without showing any part of a key.
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { createSecureContext } from "node:tls";
import { ConfigError } from "@petrel/shared/kernel/config";
import { describeError } from "@petrel/shared/kernel/errors";
import { suffixOf } from "@petrel/shared/protocol/messages/apns-overrides";
import {
  APNS_TOPIC_PATTERN,
  type ApnsEnvironment,
  apnsEnvironments,
} from "@petrel/shared/protocol/fallback/device";
import type { ClientCertificate } from "../connection/open-apns-session.js";

/** In the configuration's own terms. */
export interface ApnsAppsSettings {
  readonly apnsKeyFile: string | undefined;
  readonly apnsKeyId: string | undefined;
  readonly apnsTeamId: string | undefined;
  readonly apnsAppsFile: string | undefined;
}

/** How we authenticate to Apple; `name` may be logged. */
export type ApnsCredential =
  | {
      readonly kind: "key";
      readonly name: string;
      readonly keyId: string;
      readonly teamId: string;
      /** PKCS #8, P-256. */
      readonly privateKeyPem: string;
    }
  | { readonly kind: "certificate"; readonly name: string; readonly certificate: ClientCertificate };

export interface ApnsApp {
  /** Bundle ids; undefined means any. */
  readonly topics: readonly string[] | undefined;
  readonly environments: readonly ApnsEnvironment[];
  readonly credential: ApnsCredential;
}

const KEY_NAMES = ["APNS_KEY_FILE", "APNS_KEY_ID", "APNS_TEAM_ID"] as const;
const ID_PATTERN = /^[A-Za-z0-9]{1,64}$/;

/**
 * @returns an empty list if APNs is not configured
 * @throws ConfigError
 */
export function readApnsApps(settings: ApnsAppsSettings): ApnsApp[] {
  const given = [settings.apnsKeyFile, settings.apnsKeyId, settings.apnsTeamId];
  const missing = KEY_NAMES.filter((_name, i) => given[i] === undefined);
  const { apnsKeyFile: keyFile, apnsKeyId: keyId, apnsTeamId: teamId, apnsAppsFile: appsFile } = settings;
  if (appsFile !== undefined) {
    if (missing.length < KEY_NAMES.length) {
      throw new ConfigError(
        "APNS_APPS_FILE names the keys: leave out APNS_KEY_FILE, APNS_KEY_ID and APNS_TEAM_ID",
      );
    }
    return readAppsFile(appsFile);
  }
  if (missing.length === KEY_NAMES.length) return [];
  if (keyFile === undefined || keyId === undefined || teamId === undefined) {
    throw new ConfigError(
      `APNs needs ${KEY_NAMES.join(", ")}, all three: without ${missing.join(" and ")} it is off`,
    );
  }
  return [
    {
      topics: undefined,
      environments: apnsEnvironments,
      credential: readKey("APNS_KEY_FILE", { file: keyFile, keyId, teamId }),
    },
  ];
}

/** @returns undefined if no credential fits */
export function findApnsApp(
  apps: readonly ApnsApp[],
  topic: string,
  environment: ApnsEnvironment,
): ApnsApp | undefined {
  return apps.find(
    ({ topics, environments }) =>
      environments.includes(environment) &&
      (topics === undefined || topics.includes(topic) || topics.includes(bundleIdOf(topic))),
  );
}

/** The topic may name a kind of push, such as com.example.app.voip. */
function bundleIdOf(topic: string): string {
  return topic.slice(0, topic.length - suffixOf(topic).length);
}

function readAppsFile(file: string): ApnsApp[] {
  const where = "APNS_APPS_FILE";
  let value: unknown;
  try {
    value = JSON.parse(readText(where, file));
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`${where} must be JSON: ${describeError(error)}`);
  }
  if (!Array.isArray(value) || value.length === 0) {
    throw new ConfigError(`${where} must be a non-empty list of apps`);
  }
  const directory = dirname(resolve(file));
  const apps = value.map((one: unknown, i) => readApp(`${where}[${i}]`, one, directory));
  refuseTwice(where, apps);
  return apps;
}

function readApp(where: string, value: unknown, directory: string): ApnsApp {
  const app = asObject(where, value, ["topics", "environments", "key", "certificate"]);
  const topics = asWords(`${where}.topics`, app["topics"], (word) =>
    new RegExp(APNS_TOPIC_PATTERN).test(word),
  );
  const environments =
    app["environments"] === undefined
      ? apnsEnvironments
      : asWords(`${where}.environments`, app["environments"], isEnvironment);
  if ((app["key"] === undefined) === (app["certificate"] === undefined)) {
    throw new ConfigError(`${where} must have either a key or a certificate`);
  }
  const credential =
    app["key"] === undefined
      ? readCertificate(`${where}.certificate`, app["certificate"], directory)
      : readNamedKey(`${where}.key`, app["key"], directory);
  return { topics, environments: environments.filter(isEnvironment), credential };
}

function readNamedKey(where: string, value: unknown, directory: string): ApnsCredential {
  const { file, keyId, teamId } = asTexts(where, value, ["file", "keyId", "teamId"], []);
  return readKey(where, { file: resolve(directory, file ?? ""), keyId: keyId ?? "", teamId: teamId ?? "" });
}

function readKey(
  where: string,
  { file, keyId, teamId }: { readonly file: string; readonly keyId: string; readonly teamId: string },
): ApnsCredential {
  for (const [name, id] of Object.entries({ keyId, teamId })) {
    if (!ID_PATTERN.test(id))
      throw new ConfigError(`${where}: the ${name} must consist of letters and digits, as Apple shows it`);
  }
  const privateKeyPem = readText(where, file);
  let curve: string | undefined;
  try {
    curve = createPrivateKey(privateKeyPem).asymmetricKeyDetails?.namedCurve;
  } catch {
    // OpenSSL's own message would not help.
  }
  if (curve !== "prime256v1") {
    throw new ConfigError(
      `${where} must be a .p8 file with an EC private key on P-256, as Apple hands out; ${file} is none`,
    );
  }
  return { kind: "key", name: `key ${teamId}.${keyId}`, keyId, teamId, privateKeyPem };
}

function readCertificate(where: string, value: unknown, directory: string): ApnsCredential {
  const names = asTexts(where, value, ["file"], ["keyFile", "passphraseFile"]);
  const file = resolve(directory, names["file"] ?? "");
  const bytes = readBytes(where, file);
  const passphrase =
    names["passphraseFile"] === undefined
      ? {}
      : { passphrase: readText(where, resolve(directory, names["passphraseFile"])).replace(/\r?\n$/, "") };
  const isPem = bytes.includes("-----BEGIN CERTIFICATE-----");
  const keyFile = names["keyFile"];
  // A PEM file may hold both certificate and key.
  const key = keyFile === undefined ? bytes : readBytes(where, resolve(directory, keyFile));
  const certificate: ClientCertificate = isPem
    ? { cert: bytes, key, ...passphrase }
    : { pfx: bytes, ...passphrase };
  if (!isPem && keyFile !== undefined)
    throw new ConfigError(`${where}: a .p12 file holds its key, leave out keyFile`);
  try {
    createSecureContext(certificate);
  } catch (error) {
    throw new ConfigError(`${where}: ${file} and its key cannot be used: ${describeError(error)}`);
  }
  if (isPem) refuseExpired(where, file, bytes);
  return { kind: "certificate", name: `certificate ${file}`, certificate };
}

function refuseExpired(where: string, file: string, pem: Buffer): void {
  const { validTo } = new X509Certificate(pem);
  if (Date.parse(validTo) < Date.now()) throw new ConfigError(`${where}: ${file} expired on ${validTo}`);
}

function refuseTwice(where: string, apps: readonly ApnsApp[]): void {
  const seen = new Set<string>();
  for (const { topics = [], environments } of apps) {
    for (const topic of topics) {
      for (const environment of environments) {
        const name = `${topic} in ${environment}`;
        if (seen.has(name)) throw new ConfigError(`${where} names ${name} twice`);
        seen.add(name);
      }
    }
  }
  const keys = new Map<string, string>();
  for (const { credential } of apps) {
    if (credential.kind !== "key") continue;
    const { name, privateKeyPem } = credential;
    if ((keys.get(name) ?? privateKeyPem) !== privateKeyPem) {
      throw new ConfigError(`${where} has two files for ${name}`);
    }
    keys.set(name, privateKeyPem);
  }
}

function isEnvironment(word: string): word is ApnsEnvironment {
  return apnsEnvironments.some((known) => known === word);
}

function asObject(
  where: string,
  value: unknown,
  known: readonly string[],
): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ConfigError(`${where} must be an object`);
  }
  const unknown = Object.keys(value).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new ConfigError(`${where} has ${JSON.stringify(unknown)}; it may have ${known.join(", ")}`);
  }
  return value as Readonly<Record<string, unknown>>;
}

function asTexts(
  where: string,
  value: unknown,
  required: readonly string[],
  optional: readonly string[],
): Readonly<Record<string, string | undefined>> {
  const object = asObject(where, value, [...required, ...optional]);
  for (const name of required) {
    if (object[name] === undefined) throw new ConfigError(`${where} needs ${required.join(", ")}`);
  }
  for (const [name, text] of Object.entries(object)) {
    if (typeof text !== "string" || text === "") throw new ConfigError(`${where}.${name} must be a string`);
  }
  return object as Readonly<Record<string, string | undefined>>;
}

function asWords(where: string, value: unknown, isGood: (word: string) => boolean): string[] {
  const isList = Array.isArray(value) && value.length > 0;
  if (!isList || !value.every((word): word is string => typeof word === "string" && isGood(word))) {
    throw new ConfigError(
      `${where} must be a list of them, such as ["com.example.app"] or ["production", "sandbox"]`,
    );
  }
  return value;
}

function readText(where: string, file: string): string {
  return readBytes(where, file).toString("utf8");
}

function readBytes(where: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new ConfigError(`${where} cannot be read: ${describeError(error)}`);
  }
}

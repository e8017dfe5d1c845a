#!/usr/bin/env node
// Whoever runs docker-compose.yml -> here -> the files that its services read as secrets.
// Guarantees: from the system's random source; written all or none; what is there is never overwritten; the directory
// is its owner's alone (0700).
//
//   node deploy/docker/make-secrets.mjs [--host <name>] [<directory>]
//
// The files in it can be read by all (0444), which the directory makes mean: by its owner, and by the containers that
// Compose mounts them into. It mounts a file as it is, and a container's process is another user than yours.
//
// Certificates are self-signed, by `openssl`: for trials. Put a real one in the place of proxy-certificate.pem and
// proxy-key.pem before clients come, and Apple's key in that of apns-key.p8.
import { execFileSync } from "node:child_process";
import { createHash, createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** As simulators.env names them: ten of A–Z, 0–9, as at Apple. */
const APNS_KEY_ID = "PETRELKEY1";
const APNS_TEAM_ID = "PETRELTEAM";
const CERTIFICATE_DAYS = 825;

const scopes = ["send", "read", "tokens", "devices", "introspect", "admin"];

class UsageError extends Error {}

function makeProducerKey(name, scopesOfKey) {
  const id = `pk_${randomBytes(12).toString("base64url")}`;
  const secret = randomBytes(32).toString("base64url");
  const secretSha256 = createHash("sha256").update(secret).digest("hex");
  return {
    credential: `${id}.${secret}\n`,
    entry: { id, owner: "compose", name, scopes: scopesOfKey, secretSha256 },
  };
}

function makeApnsKey() {
  const { privateKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const publicKey = createPublicKey(privateKey).export({ type: "spki", format: "pem" });
  const known = [{ keyId: APNS_KEY_ID, teamId: APNS_TEAM_ID, publicKey }];
  return { privateKey, known: `${JSON.stringify(known, null, 2)}\n` };
}

/**
 * @param {string} directory
 * @param {string} name of both files
 * @param {readonly string[]} hosts DNS names; the first is the subject
 */
function makeCertificate(directory, name, hosts) {
  const keyFile = join(directory, `${name}-key.pem`);
  const certificateFile = join(directory, `${name}-certificate.pem`);
  const names = hosts.map((host) => `DNS:${host}`).join(",");
  const options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256"];
  const subject = ["-subj", `/CN=${hosts[0]}`, "-addext", `subjectAltName=${names}`];
  const files = ["-keyout", keyFile, "-out", certificateFile, "-days", String(CERTIFICATE_DAYS)];
  try {
    execFileSync("openssl", ["req", "-x509", ...options, ...subject, ...files], { stdio: "pipe" });
  } catch (error) {
    const reason = error.code === "ENOENT" ? "it is not installed" : (error.stderr ?? error.message);
    throw new UsageError(`openssl made no certificate: ${reason}`);
  }
  execFileSync("chmod", ["0444", keyFile, certificateFile]);
}

/** Redis' users (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/): as docs/operate/redis.md has them. */
function makeRedisUsers() {
  const makePassword = () => randomBytes(32).toString("base64url");
  const sha256 = (password) => createHash("sha256").update(password).digest("hex");
  const [password, operatorPassword, monitorPassword] = [makePassword(), makePassword(), makePassword()];
  const petrel =
    "resetkeys ~petrel:* resetchannels &petrel:* +@all -@admin -@dangerous +info +config|get +client|unblock";
  const users = [
    // Nobody is this one, as it is off. But a Redis that starts runs the transactions of its append-only file with this user's
    // rights: without all of them it loses those that it may not run (Redis up to 8.2 at least, not Valkey).
    "user default off resetpass ~* &* +@all",
    // A health check has no password.
    "user health on nopass resetkeys resetchannels -@all +ping",
    `user petrel on #${sha256(password)} ${petrel}`,
    // Backups, settings: docs/operate/operations.md.
    `user operator on #${sha256(operatorPassword)} ~* &* +@all`,
    // redis-exporter: figures, and no key.
    `user monitor on #${sha256(monitorPassword)} resetkeys resetchannels -@all +@connection +info +config|get +latency +slowlog +dbsize`,
  ];
  return { password, operatorPassword, monitorPassword, users: `${users.join("\n")}\n` };
}

function makeSecrets(directory, host) {
  const api = makeProducerKey(
    "everything but administration",
    scopes.filter((scope) => scope !== "admin"),
  );
  const admin = makeProducerKey("administration", scopes);
  const apns = makeApnsKey();
  const redis = makeRedisUsers();
  const files = {
    "key-encryption": `${randomBytes(32).toString("base64")}\n`,
    "producer-keys.json": `${JSON.stringify([api.entry, admin.entry], null, 2)}\n`,
    "redis-password": redis.password,
    "redis-operator-password": redis.operatorPassword,
    // As redis-exporter reads it.
    "redis-monitor-password.json": `${JSON.stringify({ "redis://monitor@redis:6379": redis.monitorPassword })}\n`,
    "redis-users": redis.users,
    "api-key": api.credential,
    "admin-key": admin.credential,
    "apns-key.p8": apns.privateKey,
    "apns-known-keys.json": apns.known,
    "grafana-admin-password": randomBytes(18).toString("base64url"),
  };
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(directory, name), content, { mode: 0o444, flag: "wx" });
  }
  makeCertificate(directory, "proxy", [...new Set([host, "localhost"])]);
  makeCertificate(directory, "apns-simulator", ["apns-simulator", "apns-simulator-sandbox"]);
}

function main() {
  const { values, positionals } = parseArgs({
    options: { host: { type: "string" } },
    allowPositionals: true,
  });
  const host = values.host ?? "localhost";
  if (!/^[A-Za-z0-9.-]{1,253}$/.test(host)) throw new UsageError(`--host is a DNS name, not ${host}`);
  if (positionals.length > 1) throw new UsageError("make-secrets.mjs [--host <name>] [<directory>]");
  const directory = resolve(positionals[0] ?? fileURLToPath(new URL("secrets", import.meta.url)));
  if (existsSync(directory)) throw new UsageError(`${directory} is there already: what is in it stays`);
  // Beside it, and moved when it is whole: a run that is cut short leaves nothing that looks like secrets.
  mkdirSync(dirname(directory), { recursive: true });
  const draft = mkdtempSync(`${directory}.`);
  try {
    makeSecrets(draft, host);
    renameSync(draft, directory);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    throw error;
  }
  process.stdout.write(`secrets are in ${directory}\n`);
}

try {
  main();
} catch (error) {
  if (!(error instanceof UsageError) && !String(error.code).startsWith("ERR_PARSE_ARGS")) throw error;
  process.stderr.write(`make-secrets: ${error.message}\n`);
  process.exitCode = 1;
}

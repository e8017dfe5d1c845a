// Tests of the routes that manage producer keys: keys that sign, overlaps, limits, and what is noted of it.
// Guarantees: on a real Redis, by the routes alone; another process is one more authenticator on the same store.
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Clock, systemClock } from "@petrel/shared/kernel/clock";
import { buildHttpApp, type HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { CompiledSchemas } from "@petrel/shared/kernel/schemas/compile-when-used";
import { addJsonBodyReader } from "@petrel/shared/kernel/http/bodies/read-json-body";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { ProducerKeysReader, ProducerKeysStore } from "@petrel/shared/redis/producers/producer-keys-store";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { SpentNonces } from "@petrel/shared/redis/producers/spent-nonces";
import { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { decorateWithProducer } from "@petrel/shared/security/producers/authorize-producer";
import { createAtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { hashProducerSecret, makeProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import { signRequest } from "@petrel/shared/security/producers/request-signature";
import { createSignatureChecks } from "@petrel/shared/security/producers/signature-checks";
import { type FaultProxy, startFaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { ManageKeysDeps } from "../keys/manage-keys-deps.js";
import { readProducerKeysFile } from "../keys/read-producer-keys-file.js";
import { takeOverKeyFile } from "../keys/take-over-key-file.js";
import { addCreateKey } from "./create-key.js";
import { addListKeys } from "./list-keys.js";
import { addRevokeKey } from "./revoke-key.js";
import { addUpdateKey } from "./update-key.js";
import { addRotateKey } from "./rotate-key.js";

const logger = createLogger({ service: "test", level: "silent" });
const cipher = createAtRestCipher(randomBytes(32));
const compiledSchemas = new CompiledSchemas();
const clock = { offsetMs: 0, monotonicMs: () => clock.offsetMs, wallMs: () => Date.now() + clock.offsetMs };

let store: OpenStore;
let app: HttpApp;

beforeAll(async () => {
  store = await openStore();
});
beforeEach(async () => {
  await store.clear();
  clock.offsetMs = 0;
  app = await open(depsOn(store));
});
afterAll(() => store.close());

function depsOn({ redis, scripts }: Pick<OpenStore, "redis" | "scripts">): ManageKeysDeps {
  return {
    authenticator: authenticatorOn(redis, clock),
    producerKeys: new ProducerKeysStore(scripts),
    scripts,
    cipher,
    audit: new AuditLog({ scripts, logger, maxEntries: 1_000, keepDays: 30 }),
    clock,
  };
}

function authenticatorOn(redis: OpenStore["redis"], time: Clock = systemClock): ProducerAuthenticator {
  const signatures = createSignatureChecks(cipher, new SpentNonces(redis).spend, logger);
  return new ProducerAuthenticator({ findKey: new ProducerKeysReader(redis).find, signatures, clock: time });
}

async function open(deps: ManageKeysDeps): Promise<HttpApp> {
  const readiness = () => ({ ready: true, checks: {} });
  const built = await buildHttpApp({
    service: "auth",
    version: "0",
    logger,
    bodyLimitBytes: 65_536,
    readiness,
    compiledSchemas,
  });
  addJsonBodyReader(built, 65_536);
  decorateWithProducer(built);
  addCreateKey(built, deps);
  addListKeys(built, deps);
  addRotateKey(built, deps);
  addRevokeKey(built, deps);
  addUpdateKey(built, deps);
  await deps.producerKeys.create(
    {
      id: "admin",
      owner: "ops",
      name: "admin",
      scopes: ["admin"],
      secretSha256: hashProducerSecret("admin-secret"),
    },
    new Date(),
  );
  await built.ready();
  return built;
}

interface Key {
  readonly id: string;
  readonly secret: string;
  readonly [field: string]: unknown;
}

async function ask(method: "POST" | "GET" | "DELETE" | "PATCH", url: string, payload?: unknown, on = app) {
  const answer = await on.inject({
    method,
    url,
    headers: {
      authorization: "Bearer admin.admin-secret",
      ...(payload === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(payload === undefined ? {} : { payload: JSON.stringify(payload) }),
  });
  return {
    status: answer.statusCode,
    text: answer.body,
    body: (answer.body === "" ? undefined : JSON.parse(answer.body)) as never,
  };
}

async function create(more: Readonly<Record<string, unknown>> = {}): Promise<Key> {
  const answer = await ask("POST", "/v1/keys", { name: "n", scopes: ["admin"], ...more });
  expect(answer.status).toBe(201);
  return answer.body;
}

let nonces = 0;

/** The status of a signed request, and of one with a bearer credential. */
async function tryBoth({ id, secret }: Key): Promise<{ signed: string; bearer: string }> {
  const method = "GET";
  const url = "/v1/keys?limit=1";
  const nonce = `n${++nonces}`;
  const timestamp = String(Math.floor(clock.wallMs() / 1_000));
  const bodySha256 = createHash("sha256").digest("hex");
  const signature = signRequest({ id: nonce, timestamp, method, target: url, bodySha256 }, secret);
  const signed = await app.inject({
    method,
    url,
    headers: {
      "petrel-key": id,
      "petrel-id": nonce,
      "petrel-timestamp": timestamp,
      "petrel-signature": `v1,${signature}`,
    },
  });
  const bearer = await app.inject({ method, url, headers: { authorization: `Bearer ${id}.${secret}` } });
  const outcome = ({ statusCode, body }: typeof signed): string =>
    statusCode === 200 ? "passes" : (JSON.parse(body) as { error: { code: string } }).error.code;
  return { signed: outcome(signed), bearer: outcome(bearer) };
}

describe("a key", () => {
  test("may sign if it was created so; its secret is stored only sealed", async () => {
    const plain = await create();
    expect(plain).toMatchObject({ signing: false });
    expect(await tryBoth(plain)).toEqual({ signed: "PETREL_SIGNATURE_INVALID", bearer: "passes" });
    const signing = await create({ signing: true });
    expect(signing).toMatchObject({ signing: true });
    expect(await tryBoth(signing)).toEqual({ signed: "passes", bearer: "passes" });
    const kept = JSON.stringify(await store.snapshot());
    expect(kept).not.toContain(signing.secret);
    expect(kept).not.toContain(plain.secret);
  });

  test("that must sign is refused as a bearer, and is allowed to sign implicitly", async () => {
    const key = await create({ require: "signature" });
    expect(key).toMatchObject({ signing: true, require: "signature" });
    expect(await tryBoth(key)).toEqual({ signed: "passes", bearer: "PETREL_SIGNATURE_REQUIRED" });
  });

  test.each([
    { require: "signature", signing: false },
    { require: "certificate" },
    { signing: "true" },
    { messagesPerSecond: -1 },
    { messagesPerSecond: "none" },
    { messagesPerSecond: 1.5 },
    { messagesPerSecond: "5" },
    { sealedSecret: "x" },
  ])("%j is refused", async (more) => {
    const answer = await ask("POST", "/v1/keys", { name: "n", scopes: ["send"], ...more });
    expect(answer.status).toBe(400);
  });

  test("is listed with all that it is, and without its secret in any form", async () => {
    const key = await create({ require: "signature", messagesPerSecond: "unlimited", owner: "shop" });
    const listed = await ask("GET", "/v1/keys?limit=1000");
    const { secret, ...shown } = key;
    expect((listed.body as { items: Key[] }).items).toContainEqual({
      ...shown,
      messagesPerSecond: "unlimited",
    });
    for (const hidden of [secret, hashProducerSecret(secret), "sealed", "Sha256"]) {
      expect(listed.text).not.toContain(hidden);
    }
  });

  test("passes its limit on to the limiter", async () => {
    const { id, secret } = await create({ messagesPerSecond: 12 });
    const producer = await authenticatorOn(store.redis).authenticate(`Bearer ${id}.${secret}`);
    expect(producer.messagesPerSecond).toBe(12);
  });
});

describe("a rotation", () => {
  test("without an overlap ends the old secret at once", async () => {
    const key = await create({ signing: true });
    expect(await tryBoth(key)).toEqual({ signed: "passes", bearer: "passes" });
    const { status, body } = await ask("POST", `/v1/keys/${key.id}/rotate`);
    expect(status).toBe(200);
    expect(body).not.toHaveProperty("formerUntil");
    expect(await tryBoth(body as Key)).toEqual({ signed: "passes", bearer: "passes" });
    expect(await tryBoth(key)).toEqual({
      signed: "PETREL_SIGNATURE_INVALID",
      bearer: "PETREL_UNAUTHENTICATED",
    });
    expect((await ask("POST", `/v1/keys/${key.id}/rotate`, {})).status).toBe(200);
  });

  test("with one leaves it good for so long, to sign and as a bearer", async () => {
    const key = await create({ signing: true });
    const rotated = (await ask("POST", `/v1/keys/${key.id}/rotate`, { overlapSeconds: 3_600 })).body as Key;
    const until = Date.parse(String(rotated["formerUntil"]));
    expect(until).toBeGreaterThan(Date.now() + 3_000_000);
    for (const one of [key, rotated])
      expect(await tryBoth(one)).toEqual({ signed: "passes", bearer: "passes" });
    clock.offsetMs = 3_700_000;
    expect(await tryBoth(rotated)).toEqual({ signed: "passes", bearer: "passes" });
    expect(await tryBoth(key)).toEqual({
      signed: "PETREL_SIGNATURE_INVALID",
      bearer: "PETREL_UNAUTHENTICATED",
    });
    const { items } = (await ask("GET", "/v1/keys?limit=1000")).body as { items: Key[] };
    expect(items.find(({ id }) => id === key.id)).not.toHaveProperty("formerUntil");
  });

  test.each([
    { overlapSeconds: -1 },
    { overlapSeconds: 2_592_001 },
    { overlapSeconds: "1" },
    { secret: "mine" },
    [],
  ])("with %j is refused, and changes nothing", async (body) => {
    const key = await create();
    expect((await ask("POST", `/v1/keys/${key.id}/rotate`, body)).status).toBe(400);
    expect((await tryBoth(key)).bearer).toBe("passes");
  });
});

test("a revoked key ends here at once, elsewhere within the caches' second, also one that signs", async () => {
  const key = await create({ signing: true });
  const elsewhere = authenticatorOn(store.redis, clock);
  await elsewhere.authenticate(`Bearer ${key.id}.${key.secret}`);
  expect((await ask("DELETE", `/v1/keys/${key.id}`)).status).toBe(204);
  expect(await tryBoth(key)).toEqual({ signed: "PETREL_UNAUTHENTICATED", bearer: "PETREL_UNAUTHENTICATED" });
  clock.offsetMs = 1_000;
  await expect(elsewhere.authenticate(`Bearer ${key.id}.${key.secret}`)).rejects.toMatchObject({
    code: "PETREL_UNAUTHENTICATED",
  });
});

test("the audit log names who made, rotated and revoked a key, without its secrets", async () => {
  const key = await create({ name: "Shop", owner: "shop", require: "signature" });
  const rotated = (await ask("POST", `/v1/keys/${key.id}/rotate`, { overlapSeconds: 60 })).body as Key;
  await ask("DELETE", `/v1/keys/${key.id}`);
  // Refused: nothing was done.
  await ask("POST", `/v1/keys/${key.id}/rotate`);
  const audit = new AuditLog({ scripts: store.scripts, logger, maxEntries: 1_000, keepDays: 30 });
  const { items } = await audit.list({ limit: 10 });
  expect(items).toMatchObject([
    { actor: "key:admin", action: "key.revoke", target: key.id },
    { actor: "key:admin", action: "key.rotate", target: key.id, details: { overlapSeconds: 60 } },
    {
      actor: "key:admin",
      action: "key.create",
      target: key.id,
      details: { name: "Shop", owner: "shop", scopes: "admin", signing: true, require: "signature" },
    },
  ]);
  const text = JSON.stringify(items);
  for (const { secret } of [key, rotated]) {
    expect(text).not.toContain(secret);
    expect(text).not.toContain(hashProducerSecret(secret));
  }
});

describe("where Redis' answer is lost", () => {
  let proxy: FaultProxy;
  let redis: Redis;
  let cut: HttpApp;

  beforeEach(async () => {
    proxy = await startFaultProxy({ targetPort: Number(new URL(store.server.url).port) });
    const url = `redis://127.0.0.1:${proxy.port}`;
    redis = await connectRedis({ url, role: "cut", logger, commandTimeoutMs: 300 });
    cut = await open(depsOn({ redis, scripts: new ScriptRunner(redis) }));
    // The key that asks is known from now on: the clock stands still.
    expect((await ask("GET", "/v1/keys?limit=1", undefined, cut)).status).toBe(200);
    await store.redis.config("RESETSTAT");
    proxy.stall("toClient");
  });
  afterEach(async () => {
    proxy.heal();
    await cut.close();
    redis.disconnect();
    await proxy.stop();
  });

  const countKeys = async (): Promise<number> =>
    ((await ask("GET", "/v1/keys?limit=1000")).body as { items: Key[] }).items.length;
  /** Its first answer was not waited for any longer. */
  const asksAgain = (command: string) =>
    waitFor(
      async () => {
        const stats = await store.redis.info("commandstats");
        return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0) >= 2;
      },
      { what: `a second ${command}` },
    );
  const newKey = { name: "n", scopes: ["admin"] };

  test("for a moment, a key is made all the same, and once", async () => {
    const making = ask("POST", "/v1/keys", newKey, cut);
    await asksAgain("zadd");
    proxy.heal();
    const { status, body } = await making;
    expect(status).toBe(201);
    expect(await countKeys()).toBe(2);
    expect((await tryBoth(body as Key)).bearer).toBe("passes");
  });

  test("for good, the 503 names the key that may have been made", async () => {
    const { status, body } = await ask("POST", "/v1/keys", newKey, cut);
    expect(status).toBe(503);
    const { code, details } = (body as { error: { code: string; details: { keyId: string } } }).error;
    expect(code).toBe("PETREL_UNAVAILABLE");
    expect(await countKeys()).toBe(2);
    expect((await ask("DELETE", `/v1/keys/${details.keyId}`)).status).toBe(204);
  });

  test("for a moment, a rotation is done once, and its secret is good", async () => {
    const key = await create({ signing: true });
    await store.redis.config("RESETSTAT");
    const rotating = ask("POST", `/v1/keys/${key.id}/rotate`, { overlapSeconds: 60 }, cut);
    await asksAgain("evalsha");
    proxy.heal();
    const { status, body } = await rotating;
    expect(status).toBe(200);
    expect((await new ProducerKeysReader(store.redis).find(key.id))?.former).toHaveLength(1);
    for (const one of [key, body as Key]) {
      const producer = await authenticatorOn(store.redis).authenticate(`Bearer ${one.id}.${one.secret}`);
      expect(producer.keyId).toBe(key.id);
    }
  });
});

describe("the key file", () => {
  const directory = mkdtempSync(join(tmpdir(), "petrel-keys-"));
  const file = join(directory, "keys.json");
  afterAll(() => rmSync(directory, { recursive: true }));
  const secret = makeProducerSecret();

  async function takeOver(entry: Readonly<Record<string, unknown>>): Promise<void> {
    const all = { id: "dev", owner: "dev", name: "Dev", scopes: ["admin"], ...entry };
    writeFileSync(file, JSON.stringify([all]));
    const deps = depsOn(store);
    await takeOverKeyFile(readProducerKeysFile(file), { ...deps, logger });
  }

  test("brings keys that sign, by their secret, and notes what it changed", async () => {
    await takeOver({ secret, messagesPerSecond: 3 });
    expect(await tryBoth({ id: "dev", secret })).toEqual({ signed: "passes", bearer: "passes" });
    expect(JSON.stringify(await store.snapshot())).not.toContain(secret);
    await takeOver({ secret, messagesPerSecond: 3 });
    await takeOver({ secret, require: "signature" });
    clock.offsetMs = 1_000;
    expect(await tryBoth({ id: "dev", secret })).toEqual({
      signed: "passes",
      bearer: "PETREL_SIGNATURE_REQUIRED",
    });
    await takeOver({ secretSha256: hashProducerSecret(secret) });
    clock.offsetMs = 2_000;
    expect(await tryBoth({ id: "dev", secret })).toEqual({
      signed: "PETREL_SIGNATURE_INVALID",
      bearer: "passes",
    });
    const audit = new AuditLog({ scripts: store.scripts, logger, maxEntries: 1_000, keepDays: 30 });
    const { items } = await audit.list({ limit: 10 });
    expect(items.map(({ actor, action, target }) => [actor, action, target])).toEqual([
      ["file", "key.update", "dev"],
      ["file", "key.update", "dev"],
      ["file", "key.create", "dev"],
    ]);
  });
});

describe("suspended, let again, limited", () => {
  const patch = (id: string, change: object) => ask("PATCH", `/v1/keys/${id}`, change);

  test("a suspended key is refused with its own code, as a bearer and signed, and passes once it is let again", async () => {
    const key = await create({ signing: true, scopes: ["admin"] });
    expect(await tryBoth(key)).toEqual({ signed: "passes", bearer: "passes" });
    const suspended = await patch(key.id, { suspended: true });
    expect(suspended).toMatchObject({ status: 200, body: { id: key.id, suspendedAt: expect.any(String) } });
    expect(await tryBoth(key)).toEqual({ signed: "PETREL_KEY_SUSPENDED", bearer: "PETREL_KEY_SUSPENDED" });
    // A stranger is told nothing of it.
    const wrong = await tryBoth({ ...key, secret: makeProducerSecret() });
    expect(wrong).toEqual({ signed: "PETREL_SIGNATURE_INVALID", bearer: "PETREL_UNAUTHENTICATED" });
    const again = await patch(key.id, { suspended: false });
    expect(again.body).not.toHaveProperty("suspendedAt");
    expect(await tryBoth(key)).toEqual({ signed: "passes", bearer: "passes" });
    const acts = await store.redis.xrevrange("petrel:audit", "+", "-", "COUNT", 2);
    expect(
      acts.map(([, fields]) => fields.includes(key.id) && fields.find((one) => one.startsWith("key."))),
    ).toEqual(["key.resume", "key.suspend"]);
  });

  test("another process applies it within the time of its cache; a rotation does not lift it", async () => {
    const elsewhere = authenticatorOn(store.redis, clock);
    const key = await create();
    const authorization = `Bearer ${key.id}.${key.secret}`;
    await elsewhere.authenticate(authorization);
    await patch(key.id, { suspended: true });
    await elsewhere.authenticate(authorization);
    clock.offsetMs += 1_001;
    await expect(elsewhere.authenticate(authorization)).rejects.toMatchObject({
      code: "PETREL_KEY_SUSPENDED",
      status: 403,
    });
    const { body } = await ask("POST", `/v1/keys/${key.id}/rotate`, { overlapSeconds: 0 });
    clock.offsetMs += 1_001;
    const rotated = `Bearer ${key.id}.${(body as { secret: string }).secret}`;
    await expect(elsewhere.authenticate(rotated)).rejects.toMatchObject({ code: "PETREL_KEY_SUSPENDED" });
  });

  test("a limit replaces the common one, until it is removed", async () => {
    const elsewhere = authenticatorOn(store.redis, clock);
    const key = await create();
    const limitOf = async (): Promise<unknown> => {
      clock.offsetMs += 1_001;
      return (await elsewhere.authenticate(`Bearer ${key.id}.${key.secret}`)).messagesPerSecond;
    };
    expect(await limitOf()).toBeUndefined();
    for (const limit of [7, 0, "unlimited"]) {
      expect((await patch(key.id, { messagesPerSecond: limit })).body).toMatchObject({
        messagesPerSecond: limit,
      });
      expect(await limitOf()).toBe(limit);
    }
    expect((await patch(key.id, { messagesPerSecond: null })).body).not.toHaveProperty("messagesPerSecond");
    expect(await limitOf()).toBeUndefined();
  });

  test("refused: an unknown key, a revoked one, the calling key itself, an empty change", async () => {
    const key = await create();
    await ask("DELETE", `/v1/keys/${key.id}`);
    expect((await patch("nobody", { suspended: true })).status).toBe(404);
    expect((await patch(key.id, { suspended: true })).status).toBe(409);
    expect((await patch("admin", { suspended: true })).status).toBe(409);
    for (const body of [{}, { suspended: "yes" }, { messagesPerSecond: -1 }, { revoked: true }]) {
      expect((await patch(key.id, body)).status).toBe(400);
    }
  });
});

// Tests what becomes of producer keys once they are made: where Redis' answer is lost, where the key file names them,
// where they are suspended and limited.
// Guarantees: on a real Redis, by the routes alone; another process is one more authenticator on the same store.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { ProducerKeysReader } from "@petrel/shared/redis/producers/producer-keys-store";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { hashProducerSecret, makeProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import { type FaultProxy, startFaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { readProducerKeysFile } from "../keys/read-producer-keys-file.js";
import { takeOverKeyFile } from "../keys/take-over-key-file.js";
import { type Key, KeyRoutes, logger } from "../testing/key-routes.js";

let keys: KeyRoutes;
beforeAll(async () => {
  keys = await KeyRoutes.start();
});
beforeEach(() => keys.clear());
afterAll(() => keys.stop());

describe("if Redis' answer is lost", () => {
  let proxy: FaultProxy;
  let redis: Redis;
  let cut: HttpApp;

  beforeEach(async () => {
    proxy = await startFaultProxy({ targetPort: Number(new URL(keys.store.server.url).port) });
    const url = `redis://127.0.0.1:${proxy.port}`;
    redis = await connectRedis({ url, role: "cut", logger, commandTimeoutMs: 1_000 });
    cut = await keys.open(keys.depsOn({ redis, scripts: new ScriptRunner(redis) }));
    // The key that asks is known from now on: the clock stands still.
    expect((await keys.ask("GET", "/v1/keys?limit=1", undefined, cut)).status).toBe(200);
    await keys.store.redis.config("RESETSTAT");
    proxy.stall("toClient");
  });
  afterEach(async () => {
    proxy.heal();
    await cut.close();
    redis.disconnect();
    await proxy.stop();
  });

  const countKeys = async (): Promise<number> =>
    ((await keys.ask("GET", "/v1/keys?limit=1000")).body as { items: Key[] }).items.length;
  /** Its first answer was not waited for any longer. */
  const asksAgain = (command: string) =>
    waitFor(
      async () => {
        const stats = await keys.store.redis.info("commandstats");
        return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0) >= 2;
      },
      { what: `a second ${command}` },
    );
  const newKey = { name: "n", scopes: ["admin"] };

  test("for a moment, a key is still created, once", async () => {
    const making = keys.ask("POST", "/v1/keys", newKey, cut);
    await asksAgain("zadd");
    proxy.heal();
    const { status, body } = await making;
    expect(status).toBe(201);
    expect(await countKeys()).toBe(2);
    expect((await keys.tryBoth(body as Key)).bearer).toBe("passes");
  });

  test("for good, the 503 names the key that may have been created", async () => {
    const { status, body } = await keys.ask("POST", "/v1/keys", newKey, cut);
    expect(status).toBe(503);
    const { code, details } = (body as { error: { code: string; details: { keyId: string } } }).error;
    expect(code).toBe("PETREL_UNAVAILABLE");
    expect(await countKeys()).toBe(2);
    expect((await keys.ask("DELETE", `/v1/keys/${details.keyId}`)).status).toBe(204);
  });

  test("for a moment, a rotation happens once, and its secret works", async () => {
    const key = await keys.create({ signing: true });
    await keys.store.redis.config("RESETSTAT");
    const rotating = keys.ask("POST", `/v1/keys/${key.id}/rotate`, { overlapSeconds: 60 }, cut);
    await asksAgain("evalsha");
    proxy.heal();
    const { status, body } = await rotating;
    expect(status).toBe(200);
    expect((await new ProducerKeysReader(keys.store.redis).find(key.id))?.former).toHaveLength(1);
    for (const one of [key, body as Key]) {
      const producer = await keys
        .authenticatorOn(keys.store.redis)
        .authenticate(`Bearer ${one.id}.${one.secret}`);
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
    const deps = keys.depsOn(keys.store);
    await takeOverKeyFile(readProducerKeysFile(file), { ...deps, logger });
  }

  test("loads keys that sign, with their secret, and audits what it changed", async () => {
    await takeOver({ secret, messagesPerSecond: 3 });
    expect(await keys.tryBoth({ id: "dev", secret })).toEqual({ signed: "passes", bearer: "passes" });
    expect(JSON.stringify(await keys.store.snapshot())).not.toContain(secret);
    await takeOver({ secret, messagesPerSecond: 3 });
    await takeOver({ secret, require: "signature" });
    keys.clock.offsetMs = 1_000;
    expect(await keys.tryBoth({ id: "dev", secret })).toEqual({
      signed: "passes",
      bearer: "PETREL_SIGNATURE_REQUIRED",
    });
    await takeOver({ secretSha256: hashProducerSecret(secret) });
    keys.clock.offsetMs = 2_000;
    expect(await keys.tryBoth({ id: "dev", secret })).toEqual({
      signed: "PETREL_SIGNATURE_INVALID",
      bearer: "passes",
    });
    const audit = new AuditLog({ scripts: keys.store.scripts, logger, maxEntries: 1_000, keepDays: 30 });
    const { items } = await audit.list({ limit: 10 });
    expect(items.map(({ actor, action, target }) => [actor, action, target])).toEqual([
      ["file", "key.update", "dev"],
      ["file", "key.update", "dev"],
      ["file", "key.create", "dev"],
    ]);
  });
});

describe("suspending, resuming and limiting", () => {
  const patch = (id: string, change: object) => keys.ask("PATCH", `/v1/keys/${id}`, change);

  test("a suspended key is refused with its own code, as a bearer and signed, and passes once resumed", async () => {
    const key = await keys.create({ signing: true, scopes: ["admin"] });
    expect(await keys.tryBoth(key)).toEqual({ signed: "passes", bearer: "passes" });
    const suspended = await patch(key.id, { suspended: true });
    expect(suspended).toMatchObject({ status: 200, body: { id: key.id, suspendedAt: expect.any(String) } });
    expect(await keys.tryBoth(key)).toEqual({
      signed: "PETREL_KEY_SUSPENDED",
      bearer: "PETREL_KEY_SUSPENDED",
    });
    // A stranger is told nothing of it.
    const wrong = await keys.tryBoth({ ...key, secret: makeProducerSecret() });
    expect(wrong).toEqual({ signed: "PETREL_SIGNATURE_INVALID", bearer: "PETREL_UNAUTHENTICATED" });
    const again = await patch(key.id, { suspended: false });
    expect(again.body).not.toHaveProperty("suspendedAt");
    expect(await keys.tryBoth(key)).toEqual({ signed: "passes", bearer: "passes" });
    const acts = await keys.store.redis.xrevrange("petrel:audit", "+", "-", "COUNT", 2);
    expect(
      acts.map(([, fields]) => fields.includes(key.id) && fields.find((one) => one.startsWith("key."))),
    ).toEqual(["key.resume", "key.suspend"]);
  });

  test("another process applies it within the time of its cache; a rotation does not lift it", async () => {
    const elsewhere = keys.authenticatorOn(keys.store.redis, keys.clock);
    const key = await keys.create();
    const authorization = `Bearer ${key.id}.${key.secret}`;
    await elsewhere.authenticate(authorization);
    await patch(key.id, { suspended: true });
    await elsewhere.authenticate(authorization);
    keys.clock.offsetMs += 1_001;
    await expect(elsewhere.authenticate(authorization)).rejects.toMatchObject({
      code: "PETREL_KEY_SUSPENDED",
      status: 403,
    });
    const { body } = await keys.ask("POST", `/v1/keys/${key.id}/rotate`, { overlapSeconds: 0 });
    keys.clock.offsetMs += 1_001;
    const rotated = `Bearer ${key.id}.${(body as { secret: string }).secret}`;
    await expect(elsewhere.authenticate(rotated)).rejects.toMatchObject({ code: "PETREL_KEY_SUSPENDED" });
  });

  test("a limit replaces the common one until it is removed", async () => {
    const elsewhere = keys.authenticatorOn(keys.store.redis, keys.clock);
    const key = await keys.create();
    const limitOf = async (): Promise<unknown> => {
      keys.clock.offsetMs += 1_001;
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

  test("refuses an unknown key, a revoked one, the calling key itself, and an empty change", async () => {
    const key = await keys.create();
    await keys.ask("DELETE", `/v1/keys/${key.id}`);
    expect((await patch("nobody", { suspended: true })).status).toBe(404);
    expect((await patch(key.id, { suspended: true })).status).toBe(409);
    expect((await patch("admin", { suspended: true })).status).toBe(409);
    for (const body of [{}, { suspended: "yes" }, { messagesPerSecond: -1 }, { revoked: true }]) {
      expect((await patch(key.id, body)).status).toBe(400);
    }
  });
});

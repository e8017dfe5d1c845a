// Tests of the routes that manage producer keys: keys that sign, rotations with overlaps, and what is noted of it.
// Guarantees: on a real Redis, by the routes alone; another process is one more authenticator on the same store.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { hashProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import { type Key, KeyRoutes, logger } from "../testing/key-routes.js";

let keys: KeyRoutes;
beforeAll(async () => {
  keys = await KeyRoutes.start();
});
beforeEach(() => keys.clear());
afterAll(() => keys.stop());

describe("a key", () => {
  test("may sign if created so; its secret is stored only sealed", async () => {
    const plain = await keys.create();
    expect(plain).toMatchObject({ signing: false });
    expect(await keys.tryBoth(plain)).toEqual({ signed: "PETREL_SIGNATURE_INVALID", bearer: "passes" });
    const signing = await keys.create({ signing: true });
    expect(signing).toMatchObject({ signing: true });
    expect(await keys.tryBoth(signing)).toEqual({ signed: "passes", bearer: "passes" });
    const kept = JSON.stringify(await keys.store.snapshot());
    expect(kept).not.toContain(signing.secret);
    expect(kept).not.toContain(plain.secret);
  });

  test("that must sign is refused as a bearer, and may sign implicitly", async () => {
    const key = await keys.create({ require: "signature" });
    expect(key).toMatchObject({ signing: true, require: "signature" });
    expect(await keys.tryBoth(key)).toEqual({ signed: "passes", bearer: "PETREL_SIGNATURE_REQUIRED" });
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
  ])("refuses %j", async (more) => {
    const answer = await keys.ask("POST", "/v1/keys", { name: "n", scopes: ["send"], ...more });
    expect(answer.status).toBe(400);
  });

  test("is listed with all its fields, and without its secret in any form", async () => {
    const key = await keys.create({ require: "signature", messagesPerSecond: "unlimited", owner: "shop" });
    const listed = await keys.ask("GET", "/v1/keys?limit=1000");
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
    const { id, secret } = await keys.create({ messagesPerSecond: 12 });
    const producer = await keys.authenticatorOn(keys.store.redis).authenticate(`Bearer ${id}.${secret}`);
    expect(producer.messagesPerSecond).toBe(12);
  });
});

describe("a rotation", () => {
  test("without an overlap ends the old secret at once", async () => {
    const key = await keys.create({ signing: true });
    expect(await keys.tryBoth(key)).toEqual({ signed: "passes", bearer: "passes" });
    const { status, body } = await keys.ask("POST", `/v1/keys/${key.id}/rotate`);
    expect(status).toBe(200);
    expect(body).not.toHaveProperty("formerUntil");
    expect(await keys.tryBoth(body as Key)).toEqual({ signed: "passes", bearer: "passes" });
    expect(await keys.tryBoth(key)).toEqual({
      signed: "PETREL_SIGNATURE_INVALID",
      bearer: "PETREL_UNAUTHENTICATED",
    });
    expect((await keys.ask("POST", `/v1/keys/${key.id}/rotate`, {})).status).toBe(200);
  });

  test("with an overlap keeps the old secret valid for that long, to sign and as a bearer", async () => {
    const key = await keys.create({ signing: true });
    const rotated = (await keys.ask("POST", `/v1/keys/${key.id}/rotate`, { overlapSeconds: 3_600 }))
      .body as Key;
    const until = Date.parse(String(rotated["formerUntil"]));
    expect(until).toBeGreaterThan(Date.now() + 3_000_000);
    for (const one of [key, rotated])
      expect(await keys.tryBoth(one)).toEqual({ signed: "passes", bearer: "passes" });
    keys.clock.offsetMs = 3_700_000;
    expect(await keys.tryBoth(rotated)).toEqual({ signed: "passes", bearer: "passes" });
    expect(await keys.tryBoth(key)).toEqual({
      signed: "PETREL_SIGNATURE_INVALID",
      bearer: "PETREL_UNAUTHENTICATED",
    });
    const { items } = (await keys.ask("GET", "/v1/keys?limit=1000")).body as { items: Key[] };
    expect(items.find(({ id }) => id === key.id)).not.toHaveProperty("formerUntil");
  });

  test.each([
    { overlapSeconds: -1 },
    { overlapSeconds: 2_592_001 },
    { overlapSeconds: "1" },
    { secret: "mine" },
    [],
  ])("with %j is refused and changes nothing", async (body) => {
    const key = await keys.create();
    expect((await keys.ask("POST", `/v1/keys/${key.id}/rotate`, body)).status).toBe(400);
    expect((await keys.tryBoth(key)).bearer).toBe("passes");
  });
});

test("a revoked key ends here at once and elsewhere within the caches' second, even one that signs", async () => {
  const key = await keys.create({ signing: true });
  const elsewhere = keys.authenticatorOn(keys.store.redis, keys.clock);
  await elsewhere.authenticate(`Bearer ${key.id}.${key.secret}`);
  expect((await keys.ask("DELETE", `/v1/keys/${key.id}`)).status).toBe(204);
  expect(await keys.tryBoth(key)).toEqual({
    signed: "PETREL_UNAUTHENTICATED",
    bearer: "PETREL_UNAUTHENTICATED",
  });
  keys.clock.offsetMs = 1_000;
  await expect(elsewhere.authenticate(`Bearer ${key.id}.${key.secret}`)).rejects.toMatchObject({
    code: "PETREL_UNAUTHENTICATED",
  });
});

test("the audit log names who created, rotated and revoked a key, without secrets", async () => {
  const key = await keys.create({ name: "Shop", owner: "shop", require: "signature" });
  const rotated = (await keys.ask("POST", `/v1/keys/${key.id}/rotate`, { overlapSeconds: 60 })).body as Key;
  await keys.ask("DELETE", `/v1/keys/${key.id}`);
  // Refused: nothing was done.
  await keys.ask("POST", `/v1/keys/${key.id}/rotate`);
  const audit = new AuditLog({ scripts: keys.store.scripts, logger, maxEntries: 1_000, keepDays: 30 });
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

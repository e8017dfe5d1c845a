// Tests that secrets sealed with an old encryption key are resealed with the new one, on a real Redis.
// Guarantees: afterwards the old key opens nothing, the new one everything; nothing that changed meanwhile is reverted.
import { randomBytes } from "node:crypto";
import { Registry } from "prom-client";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { SigningKeysStore } from "@petrel/shared/redis/auth/signing-keys-store";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { ProducerKeysStore } from "@petrel/shared/redis/producers/producer-keys-store";
import { rotateProducerKey } from "@petrel/shared/redis/producers/rotate-producer-key";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { type AtRestCipher, createAtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { hashProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import {
  openProducerSecret,
  sealProducerSecret,
} from "@petrel/shared/security/producers/seal-producer-secret";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { ResealSecrets } from "./reseal-secrets.js";
import { SigningKeyring } from "./signing-keyring.js";

const silent = createLogger({ service: "test", level: "silent" });
const [oldKey, newKey] = [randomBytes(32), randomBytes(32)];
const [oldCipher, newCipher] = [createAtRestCipher(oldKey), createAtRestCipher(newKey)];
const rotating = createAtRestCipher(newKey, oldKey);
const times = { leadMs: 3_600_000, rotateAfterMs: 0, keepRetiredMs: 86_400_000, keepWithdrawnMs: 86_400_000 };

let server: TestRedis;
let redis: Redis;
let scripts: ScriptRunner;
let producerKeys: ProducerKeysStore;
beforeAll(async () => {
  server = await startRedis();
  redis = await connectRedis({ url: server.url, role: "test", logger: silent });
  scripts = new ScriptRunner(redis);
  producerKeys = new ProducerKeysStore(scripts);
});
beforeEach(() => redis.flushall());
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

const openRing = (cipher: AtRestCipher): Promise<SigningKeyring> =>
  SigningKeyring.open({
    store: new SigningKeysStore(scripts),
    cipher,
    logger: silent,
    algorithm: "ES256",
    times,
  });

async function addKey(id: string, secret: string, cipher: AtRestCipher = oldCipher): Promise<void> {
  const key = { id, owner: "o", name: id, scopes: [] as const, secretSha256: hashProducerSecret(secret) };
  await producerKeys.create({ ...key, sealedSecret: sealProducerSecret(cipher, id, secret) }, new Date());
}

async function opensWith(cipher: AtRestCipher, keyId: string): Promise<string[]> {
  const record = await producerKeys.find(keyId);
  if (record === undefined) throw new Error(`no key ${keyId}`);
  return [record, ...(record.former ?? [])].map(({ sealedSecret, secretSha256 }) => {
    if (sealedSecret === undefined) return "not sealed";
    try {
      return openProducerSecret(cipher, { keyId, sealed: sealedSecret, secretSha256 });
    } catch {
      return "closed";
    }
  });
}

async function gaugeOf(reseal: ResealSecrets): Promise<Record<string, number>> {
  const registry = new Registry();
  reseal.register(registry);
  const [gauge] = await registry.getMetricsAsJSON();
  const values = (gauge?.values ?? []) as { labels: { kind?: string; by?: string }; value: number }[];
  return Object.fromEntries(values.map(({ labels, value }) => [`${labels.kind} ${labels.by}`, value]));
}

test("reseals secrets, previous secrets and signing keys; then the old key can be removed", async () => {
  const before = await openRing(oldCipher);
  for (let i = 0; i < 120; i++) await addKey(`k${String(i).padStart(3, "0")}`, `secret ${i}`);
  await rotateProducerKey(scripts, "k000", {
    secretSha256: hashProducerSecret("another"),
    sealedSecret: sealProducerSecret(oldCipher, "k000", "another"),
    overlapMs: 60_000,
    rotatedAt: new Date(),
  });
  await producerKeys.create(
    { id: "bearer", owner: "o", name: "b", scopes: [], secretSha256: hashProducerSecret("b") },
    new Date(),
  );
  const keyring = await openRing(rotating);
  const reseal = new ResealSecrets({ producerKeys, keyring, cipher: rotating, logger: silent });
  await reseal.run();
  expect(await gaugeOf(reseal)).toEqual({
    "signing_key first": 1,
    "signing_key further": 0,
    "signing_key unknown": 0,
    "producer_secret first": 121,
    "producer_secret further": 0,
    "producer_secret unknown": 0,
  });
  expect(await opensWith(oldCipher, "k000")).toEqual(["closed", "closed"]);
  expect(await opensWith(newCipher, "k000")).toEqual(["another", "secret 0"]);
  expect(await opensWith(newCipher, "k119")).toEqual(["secret 119"]);
  expect(await opensWith(newCipher, "bearer")).toEqual(["not sealed"]);
  expect((await openRing(newCipher)).active.kid).toBe(before.active.kid);
});

test("a process with an outdated file still opens what others have resealed, and reseals nothing back", async () => {
  await addKey("k1", "one");
  const behind = createAtRestCipher(oldKey, newKey);
  const late = await openRing(behind);
  const ahead = await openRing(rotating);
  const reseal = new ResealSecrets({ producerKeys, keyring: ahead, cipher: rotating, logger: silent });
  await reseal.run();
  expect(await opensWith(behind, "k1")).toEqual(["one"]);
  await late.refresh();
  expect(late.active.kid).toBe(ahead.active.kid);
});

test("counts a secret that no key can open and leaves it alone", async () => {
  const foreign = createAtRestCipher(randomBytes(32));
  await addKey("k1", "one", foreign);
  const keyring = await openRing(rotating);
  const reseal = new ResealSecrets({ producerKeys, keyring, cipher: rotating, logger: silent });
  await reseal.run();
  expect(await gaugeOf(reseal)).toMatchObject({ "producer_secret unknown": 1, "producer_secret first": 0 });
  expect(await opensWith(foreign, "k1")).toEqual(["one"]);
});

test("a secret replaced between read and write stays replaced", async () => {
  await addKey("k1", "one");
  const replaced = await producerKeys.reseal("k1", () => "too late");
  expect(replaced).toBe(1);
  await addKey("k2", "two");
  const racing = new ProducerKeysStore(scripts);
  const rotated = { secretSha256: hashProducerSecret("three"), sealedSecret: "three, sealed" };
  let rotation: Promise<unknown> = Promise.resolve();
  const count = await racing.reseal("k2", () => {
    // On the same link: it is there before the script that would replace it.
    rotation = rotateProducerKey(scripts, "k2", { ...rotated, overlapMs: 0, rotatedAt: new Date() });
    return "sealed anew";
  });
  await rotation;
  expect(count).toBe(0);
  expect(await producerKeys.find("k2")).toMatchObject(rotated);
});

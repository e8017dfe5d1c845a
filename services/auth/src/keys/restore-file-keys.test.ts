// Tests on a real Redis that keys of the key file are restored after Redis has lost everything.
// Guarantees: existing keys stay as they are.
import { randomBytes } from "node:crypto";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { ProducerKeysStore } from "@petrel/shared/redis/producers/producer-keys-store";
import { createAtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { hashProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import { type OpenStore, openStore } from "@petrel/shared/testing/redis/open-store";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { FileKey } from "./read-producer-keys-file.js";
import { restoreFileKeys } from "./restore-file-keys.js";
import { takeOverKeyFile, type TakeOverKeyFileDeps } from "./take-over-key-file.js";

const key = (id: string): FileKey => ({
  id,
  owner: "o",
  name: id,
  scopes: ["send"],
  secretSha256: hashProducerSecret(id),
});
const keys = [key("lost"), key("renamed")];

let store: OpenStore;
let deps: TakeOverKeyFileDeps;
beforeAll(async () => {
  store = await openStore();
  const { scripts } = store;
  const logger = createLogger({ service: "test", level: "silent" });
  const audit = new AuditLog({ scripts, logger, maxEntries: 1_000, keepDays: 30 });
  const cipher = createAtRestCipher(randomBytes(32));
  deps = { producerKeys: new ProducerKeysStore(scripts), cipher, audit, logger };
});
afterAll(() => store?.close());

test("restores a key that Redis has lost and leaves an existing one alone", async () => {
  const { producerKeys } = deps;
  await takeOverKeyFile(keys, deps);
  await store.redis.flushall();
  // Before anybody looks: what is missing then comes from the file.
  await producerKeys.create({ ...key("renamed"), name: "by an operator" }, new Date());
  const loop = restoreFileKeys(keys, deps, 20);
  const isBack = () =>
    expect
      .poll(() => producerKeys.find("lost"), { timeout: 30_000 })
      .toMatchObject({ secretSha256: hashProducerSecret("lost"), scopes: ["send"] });
  loop.start();
  try {
    await isBack();
    expect(await producerKeys.find("renamed")).toMatchObject({ name: "by an operator" });
    // It goes on looking.
    await store.redis.flushall();
    await isBack();
  } finally {
    await loop.stop();
  }
  expect(JSON.stringify(await store.redis.xrange("petrel:audit", "-", "+"))).toContain("key.create");
});

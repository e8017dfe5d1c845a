// Tests only: calls the scripts of users' tokens and devices and of producers' keys, by their typed callers.
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { SessionsStore } from "../../redis/auth/sessions-store.js";
import { SigningKeysStore } from "../../redis/auth/signing-keys-store.js";
import { TokenRevocations } from "../../redis/auth/token-revocations.js";
import { DevicesStore } from "../../redis/devices/devices-store.js";
import { invalidateDevices } from "../../redis/devices/invalidate-devices.js";
import { UserEraser } from "../../redis/erasure/erase-user.js";
import { takeCollapseTurn } from "../../redis/fallback/take-collapse-turn.js";
import { partitionKeys } from "../../redis/keys.js";
import { ProducerKeysStore } from "../../redis/producers/producer-keys-store.js";
import { rotateProducerKey } from "../../redis/producers/rotate-producer-key.js";
import type { ScriptRunner } from "../../redis/scripts/script-runner.js";

const turnOptions = { holder: "h", leaseMs: 1_000, keepUntilMs: 99_999_999_999_999 } as const;

/** A user who signs in, refreshes, and is signed out, in each possible way. */
export async function callTokens(scripts: ScriptRunner, partition: number): Promise<void> {
  const names = Array.from({ length: 50 }, (_, i) => `d${i}`);
  const userId = names.find((name) => partitionOfUser(name, 3) === partition) ?? "";
  const sessions = new SessionsStore({
    scripts,
    partitions: [partitionKeys(0), partitionKeys(1), partitionKeys(2)],
    leewayMs: -1,
    idleMs: 1_000,
    absoluteMs: 1_000,
    maxPerUser: 1,
  });
  for (const sessionId of ["s1", "s2"]) {
    await sessions.open({ userId, sessionId, hash: "h0", content: { ttlSeconds: 1 } });
  }
  const first = { userId, sessionId: "s2", number: 0, hash: "h0", successorHashes: ["h1"] as const };
  for (let i = 0; i < 2; i++) await sessions.refresh(first);
  // In this partition only, because revoking a token writes to all partitions.
  const revocations = new TokenRevocations({
    scripts,
    partitions: Array.from({ length: 3 }, () => partitionKeys(partition)),
    maxTokenLifeMs: 1,
  });
  await revocations.revokeSession(userId, "s1");
  await revocations.revokeToken("j1");
  await revocations.revokeUser(userId);
  await revocations.isRevoked({ userId, jti: "j1", generation: 0 });
  const signingKeys = new SigningKeysStore(scripts);
  await signingKeys.replace((await signingKeys.read()).revision, []);
}

/** A device that moves between users, is sent to, is quarantined, and is removed, in each possible way. */
export async function callDevices(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const devices = new DevicesStore(scripts, [partitionKeys(0), partitionKeys(1), partitionKeys(2)], {
    maxPerUser: 1,
  });
  const names = Array.from({ length: 50 }, (_, i) => `d${i}`);
  const [a = "", b = ""] = names.filter((name) => partitionOfUser(name, 3) === partition);
  const phone = { platform: "ios", token: "ab".repeat(32), topic: "t", environment: "sandbox" } as const;
  await devices.register(a, phone, 1);
  await devices.register(b, phone, 1);
  const [{ id: deviceId } = { id: "" }] = await devices.list(b);
  await devices.touch(b, deviceId, 2 * 86_400_000);
  const verdict = { userId: b, deviceId, tokenEnd: "ababab", topic: "t", beforeMs: 2 } as const;
  await invalidateDevices(scripts, keys, [{ ...verdict, what: "quarantine", reason: "unregistered" }], 9);
  await devices.register(b, { platform: "wechat", openid: "o", appid: "w" }, 1);
  await devices.forgetUser(b);
}

/** A user is erased; no call touches keys of two partitions. */
export async function callEraser(scripts: ScriptRunner, partition: number): Promise<void> {
  const partitions = [partitionKeys(0), partitionKeys(1), partitionKeys(2)];
  const names = Array.from({ length: 50 }, (_, i) => `e${i}`);
  const userId = names.find((name) => partitionOfUser(name, 3) === partition) ?? "";
  const devices = new DevicesStore(scripts, partitions);
  await scripts.redis.set(partitionKeys(partition).record("m_erased"), `1\te.1\t1\t2\t${userId}\t-\tfirst`);
  await takeCollapseTurn(
    scripts,
    partitionKeys(partition),
    { userId, collapseKey: "k", epoch: "e.1", seq: 1 },
    turnOptions,
  );
  await new UserEraser({ scripts, partitions, devices }).erase(userId);
}

/** Keys that are made, sealed again, revoked and rotated. */
export async function callProducerKeys(scripts: ScriptRunner): Promise<void> {
  const producerKeys = new ProducerKeysStore(scripts);
  const secretSha256 = "b".repeat(64);
  await producerKeys.create({ id: "k", owner: "o", name: "n", scopes: [], secretSha256 }, new Date());
  await producerKeys.create(
    { id: "s", owner: "o", name: "n", scopes: [], secretSha256, sealedSecret: "x" },
    new Date(),
  );
  await producerKeys.reseal("s", () => "y");
  await producerKeys.revoke("k", new Date());
  await rotateProducerKey(scripts, "k", {
    secretSha256: "a".repeat(64),
    sealedSecret: "",
    overlapMs: 0,
    rotatedAt: new Date(),
  });
}

// Tests the signing keyring on a real Redis, with several auth processes at once.
// Guarantees: what one signs, all can check.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { systemClock } from "@petrel/shared/kernel/clock";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { type SigningKeyRecord, SigningKeysStore } from "@petrel/shared/redis/auth/signing-keys-store";
import { createAtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { createSignToken } from "@petrel/shared/security/tokens/sign-token";
import { createVerifyToken } from "@petrel/shared/security/tokens/verify-token";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { SigningKeyring, type SigningKeyringOptions } from "./signing-keyring.js";

const logger = createLogger({ service: "test", level: "silent" });
const encryptionKey = randomBytes(32);
const names = { issuer: "petrel", audience: "petrel" };
const sign = createSignToken({ ...names, clock: systemClock });
const NAME = "petrel:{auth}:signing-keys";
/** In hours: a test makes keys due by changing their times in Redis, see `age`. */
const times = {
  leadMs: 3_600_000,
  rotateAfterMs: 0,
  keepRetiredMs: 86_400_000,
  keepWithdrawnMs: 86_400_000,
} as const;

let server: TestRedis;
let connections: Redis[];
let runners: ScriptRunner[];

beforeAll(async () => {
  server = await startRedis();
  connections = await Promise.all(
    Array.from({ length: 4 }, (_, i) => connectRedis({ url: server.url, role: `test-${i}`, logger })),
  );
  runners = connections.map((redis) => new ScriptRunner(redis));
});
beforeEach(async () => {
  await connections[0]?.flushall();
});
afterAll(async () => {
  for (const redis of connections) redis.disconnect();
  await server.stop();
});

function connection(index: number): Redis {
  const redis = connections[index];
  if (redis === undefined) throw new Error("no such connection");
  return redis;
}

function storeOf(index: number): SigningKeysStore {
  const runner = runners[index];
  if (runner === undefined) throw new Error("no such connection");
  return new SigningKeysStore(runner);
}

function open(index: number, more: Partial<SigningKeyringOptions> = {}): Promise<SigningKeyring> {
  return SigningKeyring.open({
    store: storeOf(index),
    cipher: createAtRestCipher(encryptionKey),
    logger,
    algorithm: "ES256",
    times,
    ...more,
  });
}

async function stored(): Promise<SigningKeyRecord[]> {
  const text = (await connection(0).get(NAME)) ?? "";
  return JSON.parse(text.slice(text.indexOf("\n") + 1)) as SigningKeyRecord[];
}

/** Makes all keys older than they are, as if time had passed. */
async function age(ms: number): Promise<void> {
  const older = (await stored()).map((key) => ({
    ...key,
    createdAtMs: key.createdAtMs - ms,
    ...(key.activatedAtMs === undefined ? {} : { activatedAtMs: key.activatedAtMs - ms }),
    ...(key.retiredAtMs === undefined ? {} : { retiredAtMs: key.retiredAtMs - ms }),
  }));
  const revision = Number.parseInt((await connection(0).get(NAME)) ?? "0", 10) + 1;
  await connection(0).set(NAME, `${revision}\n${JSON.stringify(older)}`);
}

function verifyBy(ring: SigningKeyring) {
  return createVerifyToken({ issuers: [{ ...names, findKey: ring.findKey }] });
}

async function passes(signer: SigningKeyring, verifier: SigningKeyring): Promise<boolean> {
  const { token } = sign(signer.active, { userId: "alice", generation: 0, ttlSeconds: 60 });
  return verifyBy(verifier)(token).then(
    () => true,
    () => false,
  );
}

test("processes that start at the same time agree on the first key", async () => {
  const rings = await Promise.all([open(0), open(1), open(2), open(3)]);
  expect(new Set(rings.map((ring) => ring.active.kid)).size).toBe(1);
  for (const ring of rings) expect(await passes(rings[0], ring)).toBe(true);
});

test("a later start finds the same key; the private part is not readable in Redis", async () => {
  const first = await open(0);
  expect((await open(1)).active.kid).toBe(first.active.kid);
  const text = await connection(0).get(NAME);
  expect(text).toContain(first.active.kid);
  expect(text).not.toMatch(/PRIVATE KEY|"d"/);
});

test("with the wrong encryption key the start fails and says why", async () => {
  await open(0);
  await expect(open(1, { cipher: createAtRestCipher(randomBytes(32)) })).rejects.toThrow(
    /KEY_ENCRYPTION_FILE.*another key/,
  );
});

test("the steps in docs/operate/operations.md let auth start with another encryption key", async () => {
  const { active } = await open(0);
  const page = readFileSync(new URL("../../../../docs/operate/operations.md", import.meta.url), "utf8");
  const [, name = ""] = /`redis_cli DEL '([^']+)'`/.exec(page) ?? [];
  expect(await connection(0).del(name)).toBe(1);
  const ring = await open(1, { cipher: createAtRestCipher(randomBytes(32)) });
  expect(ring.active.kid).not.toBe(active.kid);
});

test("refuses a sealed key stored under another id", async () => {
  const first = await open(0);
  const [record] = await stored();
  await connection(0).set(NAME, `9\n${JSON.stringify([{ ...record, kid: "other" }])}`);
  await expect(open(1)).rejects.toThrow("belongs to something else");
  expect(first.active.kid).not.toBe("other");
});

test("restores the key to a Redis that lost it", async () => {
  const ring = await open(0);
  await connection(0).flushall();
  await ring.refresh();
  expect((await open(1)).active.kid).toBe(ring.active.kid);
});

test("takes over a key that another process made meanwhile, and the former one still verifies", async () => {
  const early = await open(0);
  const formerKid = early.active.kid;
  await connection(0).flushall();
  const late = await open(1);
  expect(late.active.kid).not.toBe(formerKid);
  const { token } = sign(early.active, { userId: "alice", generation: 0, ttlSeconds: 60 });
  await early.refresh();
  expect(early.active.kid).toBe(late.active.kid);
  expect(await passes(early, late)).toBe(true);
  await verifyBy(early)(token);
  // Brought together, so that the others can check it too.
  await late.refresh();
  await verifyBy(late)(token);
  expect(early.publicJwks.map(({ kid }) => kid).sort()).toEqual([formerKid, late.active.kid].sort());
});

test("keeps the key if a refresh finds no Redis", async () => {
  const lost = await connectRedis({ url: server.url, role: "lost", logger });
  const ring = await open(0, { store: new SigningKeysStore(new ScriptRunner(lost)) });
  lost.disconnect();
  await ring.refresh();
  expect(await passes(ring, ring)).toBe(true);
});

const kids = (ring: SigningKeyring): string[] => ring.publicJwks.map(({ kid }) => kid).sort();
const signedBy = (ring: SigningKeyring): string =>
  sign(ring.active, { userId: "alice", generation: 0, ttlSeconds: 60 }).token;

test("a planned rotation publishes everywhere first, then signs everywhere, and loses no token", async () => {
  const rings = await Promise.all([open(0), open(1), open(2)]);
  const [first, second] = rings;
  const former = first.active.kid;
  const [next, same] = await Promise.all([
    first.rotate({ immediately: false }),
    second.rotate({ immediately: false }),
  ]);
  expect(same.kid).toBe(next.kid);
  for (const ring of rings) {
    await ring.refresh();
    expect(ring.active.kid).toBe(former);
    expect(kids(ring)).toEqual([former, next.kid].sort());
  }
  const early = signedBy(first);
  await age(times.leadMs);
  await Promise.all(rings.map((ring) => ring.refresh()));
  expect(new Set(rings.map((ring) => ring.active.kid))).toEqual(new Set([next.kid]));
  for (const ring of rings) {
    await verifyBy(ring)(early);
    await verifyBy(ring)(signedBy(first));
  }
  await age(times.keepRetiredMs);
  // One that has not seen them when they were younger.
  const late = await open(3);
  expect(kids(late)).toEqual([next.kid]);
  await expect(verifyBy(late)(early)).rejects.toEqual(
    expect.objectContaining({ code: "PETREL_TOKEN_INVALID" }),
  );
});

test("looks an unknown key up in Redis at once", async () => {
  const [early, late] = await Promise.all([open(0), open(1)]);
  await early.rotate({ immediately: false });
  await age(times.leadMs);
  await early.refresh();
  expect(late.active.kid).not.toBe(early.active.kid);
  await verifyBy(late)(signedBy(early));
});

test("a compromised key: nothing it has signed stays valid, and no old copy brings it back", async () => {
  const [first, second] = await Promise.all([open(0), open(1)]);
  const stolen = signedBy(first);
  const older = (await connection(0).get(NAME)) ?? "";
  const next = await first.rotate({ immediately: true });
  expect(first.active.kid).toBe(next.kid);
  await second.refresh();
  for (const ring of [first, second]) {
    expect(kids(ring)).toEqual([next.kid]);
    await expect(verifyBy(ring)(stolen)).rejects.toEqual(
      expect.objectContaining({ code: "PETREL_TOKEN_INVALID" }),
    );
  }
  expect((await stored())[0]).toMatchObject({ state: "withdrawn", sealedPrivateKey: "" });
  // A replica that had not heard of it yet becomes the master.
  await connection(0).set(NAME, older);
  await second.refresh();
  expect(kids(await open(2))).toEqual([next.kid]);
});

test("a process that dies midway leaves no partial change: the next one completes it", async () => {
  const ring = await open(0);
  const former = ring.active.kid;
  const dying = storeOf(1);
  dying.replace = () => Promise.reject(new Error("died"));
  await expect(open(1, { store: dying, times: { ...times, rotateAfterMs: 1 } })).rejects.toThrow("died");
  await ring.refresh();
  expect(kids(ring)).toEqual([former]);
  // It was due, and is brought by who comes next.
  const next = await open(2, { times: { ...times, rotateAfterMs: 1 } });
  expect(kids(next)).toHaveLength(2);
  expect(next.active.kid).toBe(former);
});

test("each scheduled transition is reported once, by one process", async () => {
  const told: string[] = [];
  const more = {
    times: { ...times, rotateAfterMs: 7_200_000 },
    onTransition: ({ state }: SigningKeyRecord) => void told.push(state),
  };
  const rings = await Promise.all([open(0, more), open(1, more), open(2, more)]);
  const look = () => Promise.all(rings.map((ring) => ring.refresh()));
  expect(told).toEqual(["active"]);
  await age(times.leadMs);
  await look();
  expect(told).toEqual(["active", "upcoming"]);
  await age(times.leadMs);
  await look();
  expect(told.sort()).toEqual(["active", "active", "retired", "upcoming"]);
  expect(new Set(rings.map((ring) => ring.active.kid)).size).toBe(1);
});

test("another algorithm starts with the next key, and both are published", async () => {
  await open(0);
  const ring = await open(1, { algorithm: "RS256" });
  expect(ring.active.alg).toBe("ES256");
  await ring.rotate({ immediately: false });
  expect(ring.publicJwks.map(({ alg }) => alg).sort()).toEqual(["ES256", "RS256"]);
  await age(times.leadMs);
  await ring.refresh();
  expect(ring.active.alg).toBe("RS256");
  await verifyBy(await open(2))(signedBy(ring));
});

test("an unknown key is neither valid nor invalid while Redis does not answer", async () => {
  const lost = await connectRedis({ url: server.url, role: "lost", logger });
  const ring = await open(0, { store: new SigningKeysStore(new ScriptRunner(lost)) });
  expect(await ring.findKey("nobody")).toBeUndefined();
  lost.disconnect();
  await ring.refresh();
  await expect(ring.findKey("nobody")).rejects.toEqual(
    expect.objectContaining({ code: "PETREL_UNAVAILABLE" }),
  );
});

test("never publishes more keys than readers of the set accept", async () => {
  const ring = await open(0);
  for (let i = 1; i < 16; i++) {
    await ring.rotate({ immediately: false });
    await age(times.leadMs);
    await ring.refresh();
  }
  await expect(ring.rotate({ immediately: false })).rejects.toEqual(
    expect.objectContaining({ code: "PETREL_CONFLICT" }),
  );
  await ring.rotate({ immediately: true });
  expect(kids(ring)).toHaveLength(1);
});

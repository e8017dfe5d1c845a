// Tests what operators see of devices that are no longer sent to, on a real Redis.
// Guarantees: each answer's status and shape are the contract's; nobody without the scope gets one.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { deviceIdOf } from "@petrel/shared/redis/devices/device-id";
import { DeviceInvalidations } from "@petrel/shared/redis/devices/device-invalidations";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { readServerTimeMs } from "@petrel/shared/redis/connection/server-time";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Caller, headersOf, openApp } from "../testing/open-app.js";

const T0 = Date.UTC(2026, 0, 1);
const logger = createLogger({ service: "test", level: "silent" });
const phone = (n: number) =>
  ({ platform: "ios", token: String(n).padStart(64, "a"), topic: "t", environment: "production" }) as const;

interface Page {
  readonly items: readonly { readonly id: string; readonly user: string; readonly reason: string }[];
  readonly nextCursor: string | null;
}

let store: OpenStore;
let app: HttpApp;
beforeAll(async () => {
  store = await openStore();
  const { redis, scripts, partitions } = store;
  app = await openApp(store);
  const devices = new DevicesStore(scripts, partitions);
  const invalidations = new DeviceInvalidations({ scripts, partitions, logger });
  for (const n of [1, 2, 3, 4, 5]) {
    await devices.register(`u${n}`, phone(n), T0);
    const about = {
      userId: `u${n}`,
      deviceId: deviceIdOf(phone(n)),
      tokenEnd: `aaaaa${n}`,
      topic: "t",
      environment: "production",
      registeredAtMs: T0,
    } as const;
    if (n === 5) invalidations.quarantine({ ...about, reason: "bad-device-token" }, T0 + 1);
    else invalidations.forget({ ...about, reason: "unregistered", providerTimestampMs: T0 + 1_000 });
    await invalidations.drained();
    // Those of one millisecond have no order among partitions.
    const writtenAtMs = await readServerTimeMs(redis);
    while ((await readServerTimeMs(redis)) === writtenAtMs);
  }
});
afterAll(async () => {
  await app.close();
  await store.close();
});

async function ask(query = "", as: Caller = "operator") {
  const answer = await app.inject({ url: `/v1/invalidations${query}`, headers: headersOf(as) });
  return { status: answer.statusCode, headers: answer.headers, body: answer.json<Page>() };
}

test("lists newest first, with user, device, reason and time", async () => {
  const { status, body } = await ask();
  expect(status).toBe(200);
  expect(body.nextCursor).toBeNull();
  expect(body.items.map(({ user }) => user)).toEqual(["u5", "u4", "u3", "u2", "u1"]);
  const [quarantined, forgotten] = body.items;
  expect(quarantined).toMatchObject({
    outcome: "quarantined",
    reason: "bad-device-token",
    providerTimestamp: null,
  });
  expect(forgotten).toEqual({
    id: expect.any(String),
    at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    outcome: "forgotten",
    reason: "unregistered",
    user: "u4",
    device: deviceIdOf(phone(4)),
    tokenEnd: "aaaaa4",
    topic: "t",
    environment: "production",
    providerTimestamp: "2026-01-01T00:00:01.000Z",
    registeredAt: "2026-01-01T00:00:00.000Z",
  });
});

test("lists page by page, filtered by reason", async () => {
  const first = await ask("?limit=2&reason=unregistered");
  expect(first.body.items.map(({ user }) => user)).toEqual(["u4", "u3"]);
  const second = await ask(`?limit=2&reason=unregistered&cursor=${first.body.nextCursor}`);
  expect(second.body.items.map(({ user }) => user)).toEqual(["u2", "u1"]);
  expect(second.body.nextCursor).toBeNull();
  expect((await ask("?reason=not-seen")).body).toEqual({ items: [], nextCursor: null });
});

test("requires the scope admin, and valid parameters", async () => {
  const stranger = await ask("", "");
  expect(stranger.status).toBe(401);
  expect(stranger.headers["www-authenticate"]).toContain("Bearer");
  expect((await ask("", "sender")).status).toBe(403);
  for (const query of [
    "limit=0",
    "limit=1001",
    "reason=x",
    "reason=",
    "cursor=x",
    "x=1",
    "limit=1&limit=2",
  ]) {
    expect((await ask(`?${query}`)).status, query).toBe(400);
  }
});

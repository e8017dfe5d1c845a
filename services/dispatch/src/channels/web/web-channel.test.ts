// Tests the Web Push channel, on a real Redis, with a push service that decrypts as browsers do.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@petrel/shared/kernel/clock";
import { ConfigError } from "@petrel/shared/kernel/config";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { InvalidationsStore } from "@petrel/shared/redis/devices/invalidations-store";
import { makeVapidKey } from "@petrel/shared/security/web-push/vapid-key";
import { message, openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readDispatchConfig } from "../../config.js";
import { describeChannel, job } from "../../testing/channel-conformance.js";
import { startPushService, type TestPushService } from "../../testing/push-service.js";
import type { FallbackJob } from "../fallback-channel.js";
import { topicOf } from "./build-push.js";
import { openWeb } from "./open-web.js";
import type { WebChannel } from "./web-channel.js";

const never = new AbortController().signal;
const directory = mkdtempSync(join(tmpdir(), "petrel-web-push-"));
const keyFile = join(directory, "vapid.pem");
writeFileSync(keyFile, makeVapidKey());
const vapid = { VAPID_KEY_FILE: keyFile, VAPID_SUBJECT: "mailto:ops@shop.example" };

let store: OpenStore;
let devices: DevicesStore;
beforeAll(async () => {
  store = await openStore();
  devices = new DevicesStore(store.scripts, store.partitions);
});
afterAll(async () => {
  rmSync(directory, { recursive: true });
  await store.close();
});
beforeEach(() => store.clear());

function open(environment: Readonly<Record<string, string>>): WebChannel | undefined {
  return openWeb(readDispatchConfig(environment), {
    scripts: store.scripts,
    partitions: store.partitions,
    registry: createRegistry("test"),
    clock: systemClock,
    logger: createLogger({ service: "test", level: "silent" }),
    tracing: NO_TRACING,
  });
}

function openFor(service: TestPushService, more: Readonly<Record<string, string>> = {}): WebChannel {
  const channel = open({ ...vapid, WEB_PUSH_HOSTS: service.origin, ...more });
  if (channel === undefined) throw new Error("not configured");
  return channel;
}

describeChannel("Web Push", async () => {
  const service = await startPushService();
  await devices.register("ada", service.subscribe("ada"), Date.now());
  const statuses: Readonly<Record<string, number>> = { take: 201, refuse: 400, "fail for now": 503 };
  return {
    channel: openFor(service),
    behave: (as) =>
      service.answerWith((_push, response) => {
        const status = statuses[as];
        if (status !== undefined) response.writeHead(status).end();
      }),
    received: () =>
      service.pushes.map(({ payload }) => ({
        id: (payload["petrel"] as { readonly id: string }).id,
        notification: payload["notification"],
      })),
    close: () => service.close(),
  };
});

test("a probe reaches the push service, and no browser", async () => {
  const service = await startPushService();
  await devices.register("ada", service.subscribe("ada"), Date.now());
  const channel = openFor(service);
  const host = new URL(service.origin).host;
  const about = { credential: "the VAPID key", environment: host, isHalted: false };
  expect(await channel.probe(never)).toEqual([{ ...about, verdict: "good", answer: "HTTP 404" }]);
  expect([service.connections(), service.pushes]).toEqual([1, []]);
  await service.close();
  expect(await channel.probe(never)).toMatchObject([{ ...about, verdict: "unreachable" }]);
  await channel.close();
});

describe("a user's browsers", () => {
  let service: TestPushService;
  let channel: WebChannel;
  beforeEach(async () => {
    service = await startPushService();
    channel = openFor(service);
  });
  afterEach(async () => {
    await channel.close();
    await service.close();
  });

  const subscribe = (name: string) => devices.register("ada", service.subscribe(name), Date.now());
  const send = (more: Partial<FallbackJob> = {}) => channel.send({ ...job, ...fresh(), ...more }, never);
  const answer = (statusOf: (path: string) => number, headers: Readonly<Record<string, string>> = {}) =>
    service.answerWith(({ path }, response) => void response.writeHead(statusOf(path), headers).end());
  const listed = async () => (await devices.list("ada")).length;

  test("each get it, as RFC 8030 requires, over persistent connections", async () => {
    await subscribe("one");
    await subscribe("two");
    expect(await send({ priority: "high", collapseKey: "score" })).toEqual({
      outcome: "taken",
      notes: [1, 2].map(() => ({
        outcome: "taken",
        details: {
          device: expect.any(String),
          host: new URL(service.origin).host,
          endpoint: expect.stringMatching(/^….{6}$/),
        },
      })),
    });
    expect(service.pushes.map(({ path }) => path).toSorted()).toEqual(["/push/one", "/push/two"]);
    const [push] = service.pushes;
    expect(push).toMatchObject({
      method: "POST",
      headers: {
        "content-encoding": "aes128gcm",
        "content-type": "application/octet-stream",
        urgency: "high",
        topic: topicOf("score"),
        authorization: expect.stringMatching(/^vapid t=/),
      },
    });
    expect(Number(push?.headers["ttl"])).toBeGreaterThan(500);
    expect(Number(push?.headers["ttl"])).toBeLessThanOrEqual(600);
    for (let n = 0; n < 20; n++) await send();
    expect(service.pushes).toHaveLength(42);
    expect(service.pushes.at(-1)?.headers).not.toHaveProperty("topic");
    expect(service.connections()).toBeLessThan(8);
  });

  test.each([
    [200, { outcome: "taken" }],
    [204, { outcome: "taken" }],
    [400, { outcome: "failed", cause: "rejected" }],
    [401, { outcome: "failed", cause: "misconfigured" }],
    [403, { outcome: "failed", cause: "misconfigured" }],
    [404, { outcome: "no-device" }],
    [410, { outcome: "no-device" }],
    [413, { outcome: "failed", cause: "rejected" }],
    [429, { outcome: "retry", afterMs: 7_000 }],
    [500, { outcome: "retry", afterMs: 7_000 }],
    [503, { outcome: "retry", afterMs: 7_000 }],
    [301, { outcome: "failed", cause: "rejected" }],
  ])("%i means %o", async (status, meaning) => {
    await subscribe("one");
    answer(() => status, { "retry-after": "7", location: `${service.origin}/elsewhere` });
    expect(await send()).toMatchObject(meaning);
    expect(service.pushes).toHaveLength(1);
  });

  test("one that is gone is removed, with a note; the other has the message", async () => {
    await subscribe("gone-404");
    await subscribe("gone-410");
    await subscribe("good");
    answer((path) => (path.endsWith("good") ? 201 : Number(path.slice(-3))));
    expect((await send()).outcome).toBe("taken");
    await waitFor(async () => (await listed()) === 1, { what: "two to be forgotten" });
    const { items } = await new InvalidationsStore(store.scripts.redis, store.partitions).list(
      undefined,
      undefined,
      10,
    );
    expect(items).toHaveLength(2);
    expect(items[0]).toMatchObject({
      outcome: "forgotten",
      reason: "subscription-gone",
      userId: "ada",
      topic: new URL(service.origin).host,
      environment: undefined,
    });
    await send();
    expect(service.pushes.at(-1)?.path).toBe("/push/good");
    expect(service.pushes).toHaveLength(4);
  });

  test("an expired one is removed without a push", async () => {
    await devices.register("ada", { ...service.subscribe("old"), expiresAtMs: 1_000 }, Date.now());
    expect((await send()).outcome).toBe("no-device");
    await waitFor(async () => (await listed()) === 0, { what: "it to be forgotten" });
    expect(service.pushes).toEqual([]);
  });

  test("a retry for one is not sent to the other again", async () => {
    const { id, epoch } = await acceptFor("ada");
    await subscribe("busy");
    await subscribe("good");
    answer((path) => (path.endsWith("busy") ? 503 : 201));
    expect((await send({ id, epoch, seq: 1 })).outcome).toBe("retry");
    answer(() => 201);
    expect((await send({ id, epoch, seq: 1, attempt: 2 })).outcome).toBe("taken");
    expect(service.pushes.map(({ path }) => path).toSorted()).toEqual([
      "/push/busy",
      "/push/busy",
      "/push/good",
    ]);
  });

  test("an older message with the same collapse key does not follow a newer one", async () => {
    await subscribe("one");
    expect((await send({ seq: 8, collapseKey: "k" })).outcome).toBe("taken");
    expect((await send({ seq: 7, collapseKey: "k" })).outcome).toBe("superseded");
    expect(service.pushes).toHaveLength(1);
  });

  test("a message too large for a push is refused, and nothing is sent", async () => {
    await subscribe("one");
    const notification = JSON.stringify({ title: "x".repeat(5_000), body: "" });
    expect(await send({ notification })).toMatchObject({ outcome: "failed", cause: "rejected" });
    expect(service.pushes).toEqual([]);
  });

  test("an endpoint that is no longer accepted, or has invalid keys, cannot reach the user", async () => {
    const other = await startPushService();
    await devices.register("ada", other.subscribe("one"), Date.now());
    expect(await send()).toMatchObject({
      outcome: "no-device",
      notes: [{ reason: "its endpoint must begin with https:" }],
    });
    await devices.register("ada", { ...service.subscribe("two"), p256dh: "B".repeat(87) }, Date.now());
    expect(await send()).toMatchObject({ outcome: "no-device" });
    expect([...other.pushes, ...service.pushes]).toEqual([]);
    await other.close();
  });

  test("a service that fails repeatedly is left alone for a while", async () => {
    await subscribe("one");
    answer(() => 500);
    for (let n = 0; n < 20; n++) await send();
    const paused = await send();
    expect(paused).toMatchObject({ outcome: "retry", reason: expect.stringContaining("paused") });
    expect(service.pushes).toHaveLength(20);
  });

  async function acceptFor(userId: string): Promise<{ readonly id: string; readonly epoch: string }> {
    const result = await store.accepter().accept({ ...message({ id: "m1", userId, notification: "{}" }) });
    if (result.outcome !== "stored") throw new Error(result.outcome);
    return { id: "m1", epoch: result.epoch };
  }
});

/** Not over, whatever the clock says. */
function fresh(): Pick<FallbackJob, "expiresAtMs"> {
  return { expiresAtMs: Date.now() + 600_000 };
}

describe("its settings", () => {
  test("without settings there is no channel", () => {
    expect(open({})).toBeUndefined();
  });

  test.each([
    [{ VAPID_KEY_FILE: keyFile }, "needs both"],
    [{ VAPID_SUBJECT: "mailto:a@b" }, "needs both"],
    [{ ...vapid, VAPID_SUBJECT: "ops@shop.example" }, "VAPID_SUBJECT must be"],
    [{ ...vapid, VAPID_KEY_FILE: "/nowhere/at/all" }, "cannot be read"],
    [{ ...vapid, VAPID_KEY_FILE: "/etc/hostname" }, "must hold an EC key"],
    [{ WEB_PUSH_HOSTS: "https://push.example/path" }, "is not a host"],
  ])("refuses %o", (environment, problem) => {
    expect(() => open(environment)).toThrow(ConfigError);
    expect(() => open(environment)).toThrow(problem);
  });
});

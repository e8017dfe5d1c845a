// Tests the way from a message to its user's iPhones, on real Redis, against the simulator's process.
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@petrel/shared/kernel/clock";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { createRegistry, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import type { NewDevice } from "@petrel/shared/protocol/fallback/device";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { freePort } from "@petrel/shared/testing/free-port";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readDispatchConfig } from "../../config.js";
import { describeChannel, job as conformanceJob } from "../../testing/channel-conformance.js";
import type { FallbackJob } from "../fallback-channel.js";
import type { ApnsChannel } from "./apns-channel.js";
import { openApns } from "./open-apns.js";

const logged: string[] = [];
const logger = pino({ level: "warn" }, { write: (line) => void logged.push(line) });
const never = new AbortController().signal;
const TOPIC = "com.example.app";

let store: OpenStore;
let simulator: TestApnsSimulator;
let devices: DevicesStore;
let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "petrel-apns-"));
  store = await openStore();
  simulator = await startApnsSimulator();
  // Each test begins without a provider token in Redis.
  await simulator.setBehaviour({ minTokenUpdateSeconds: 0 });
  devices = new DevicesStore(store.scripts, store.partitions);
});
afterAll(async () => {
  await simulator.stop();
  await store.close();
  rmSync(directory, { recursive: true });
});

/** A phone's token, by its number. */
const token = (n: number) => n.toString(16).padStart(64, "0");

function open(
  environment: Readonly<Record<string, string>> = {},
  registry = createRegistry("test"),
): ApnsChannel {
  const settings = {
    ...simulator.environment,
    APNS_TIMEOUT_MS: "10000",
    APNS_SUSPICION_MS: "300",
    ...environment,
  };
  const { scripts, partitions } = store;
  const deps = { scripts, partitions, registry, clock: systemClock, logger, tracing: NO_TRACING };
  const channel = openApns(readDispatchConfig(settings), deps);
  if (channel === undefined) throw new Error("APNs is not configured");
  return channel;
}

async function reset(): Promise<void> {
  await store.clear();
  await simulator.clear();
  await simulator.setBehaviour({ latencyMs: 0, answer: null, environment: null });
}

async function register(userId: string, n: number, parts: Partial<NewDevice> = {}): Promise<void> {
  const device = {
    platform: "ios",
    token: token(n),
    topic: TOPIC,
    environment: "production",
    ...parts,
  } as NewDevice;
  await devices.register(userId, device, Date.now());
  await simulator.setAnswer(token(n), null);
}

describeChannel("APNs", async () => {
  await reset();
  await register("ada", 1);
  const answers = {
    take: null,
    refuse: { status: 400, reason: "BadMessageId" },
    "fail for now": { status: 503, reason: "ServiceUnavailable" },
  };
  return {
    channel: open({ APNS_TIMEOUT_MS: "120000" }),
    behave: (as) =>
      simulator.setBehaviour(as === "hang" ? { latencyMs: 60_000 } : { latencyMs: 0, answer: answers[as] }),
    received: async () =>
      (await simulator.notifications(token(1))).map(({ payload }) => {
        const { aps, petrel } = payload as { aps: { alert: unknown }; petrel: { id: string } };
        return { id: petrel.id, notification: aps.alert };
      }),
    close: () => Promise.resolve(),
  };
});

describe("APNs", () => {
  let registry: Registry;
  let channel: ApnsChannel;
  beforeEach(async () => {
    await reset();
    registry = createRegistry("test");
    channel = open({}, registry);
  });
  afterEach(() => channel.close());

  async function reopen(environment: Readonly<Record<string, string>>): Promise<void> {
    await channel.close();
    registry = createRegistry("test");
    channel = open(environment, registry);
  }

  let sent = 0;
  const jobFor = (userId: string, parts: Partial<FallbackJob> = {}): FallbackJob => ({
    ...conformanceJob,
    id: `p0_${String(++sent).padStart(22, "0")}`,
    userId,
    acceptedAtMs: Date.now(),
    expiresAtMs: Date.now() + 3_600_000,
    ...parts,
  });
  /** As a worker does, who has found the message's record. */
  const send = async (job: FallbackJob, signal = never) => {
    const record = `${job.seq}\t${job.epoch}\t1\t${job.expiresAtMs}\t${job.userId}\t-\tfirst`;
    const keys = store.partitions[partitionOfUser(job.userId, store.partitions.length)];
    await store.redis.set(keys?.record(job.id) ?? "", record);
    return channel.send(job, signal);
  };
  const arrived = async (n: number) => (await simulator.notifications(token(n))).length;
  const tokensOf = async (userId: string) =>
    (await devices.list(userId)).map((device) => (device.platform === "ios" ? device.token : ""));
  async function metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const values = (await registry.getSingleMetric(name)?.get())?.values ?? [];
    return values
      .filter((value) => Object.entries(labels).every(([label, word]) => value.labels[label] === word))
      .reduce((sum, { value }) => sum + value, 0);
  }

  test("no iPhone, or only another kind of device: no device", async () => {
    expect(await send(jobFor("nobody"))).toEqual({ outcome: "no-device" });
    await devices.register("eve", { platform: "wechat", openid: "o", appid: "a" }, Date.now());
    expect(await send(jobFor("eve"))).toEqual({ outcome: "no-device" });
  });

  test("every device gets it; the notes say which, and no token", async () => {
    await register("ada", 1);
    await register("ada", 2, { environment: "sandbox" });
    const answer = await send(jobFor("ada"));
    expect(answer.outcome).toBe("taken");
    expect([await arrived(1), await arrived(2)]).toEqual([1, 1]);
    const [first, second] = [
      await simulator.notifications(token(1)),
      await simulator.notifications(token(2)),
    ].flat();
    expect(answer.notes?.map(({ outcome }) => outcome)).toEqual(["taken", "taken"]);
    const noted = answer.notes?.map(({ details }) => details?.["apnsId"]);
    expect(new Set(noted)).toEqual(new Set([first?.apnsId, second?.apnsId]));
    expect(JSON.stringify(answer)).toContain("…000001");
    expect(JSON.stringify(answer)).not.toContain(token(1));
    expect(await metric("petrel_apns_sends_total", { result: "taken" })).toBe(2);
    expect(await metric("petrel_apns_connections")).toBeGreaterThan(0);
  });

  test("many devices at once, without a complaint of Node's", async () => {
    const warnings: string[] = [];
    const onWarning = ({ message }: Error): void => void warnings.push(message);
    process.on("warning", onWarning);
    for (let n = 1; n <= 20; n++) await register("ada", n);
    expect(await send(jobFor("ada"))).toMatchObject({ outcome: "taken" });
    for (let n = 1; n <= 20; n++) expect(await arrived(n)).toBe(1);
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });

  test("one that has it is not sent it again by a retry for another", async () => {
    await register("ada", 1);
    await register("ada", 2);
    await simulator.setAnswer(token(2), {
      status: 503,
      reason: "ServiceUnavailable",
      retryAfter: 7,
      times: 1,
    });
    const job = jobFor("ada");
    expect(await send(job)).toMatchObject({ outcome: "retry", afterMs: 7_000 });
    const again = await send({ ...job, attempt: 2 });
    expect(again).toMatchObject({ outcome: "taken", notes: [{ outcome: "taken" }] });
    expect([await arrived(1), await arrived(2)]).toEqual([1, 1]);
    // In another process, too; and it is forgotten when the message's time is over.
    const other = open();
    expect(await other.send({ ...job, attempt: 3 }, never)).toMatchObject({ outcome: "taken" });
    expect([await arrived(1), await arrived(2)]).toEqual([1, 2]);
    await other.close();
    const [key = ""] = await store.redis.keys("*device-sends*");
    expect(await store.redis.pexpiretime(key)).toBe(job.expiresAtMs);
  });

  test("whether there is time for another attempt is told by Redis' clock", async () => {
    await register("ada", 1);
    await register("ada", 2);
    const unwell = { status: 503, reason: "ServiceUnavailable", times: 1 };
    await simulator.setAnswer(token(2), unwell);
    const over = jobFor("ada");
    expect(await send({ ...over, serverNowMs: () => over.expiresAtMs - 1 })).toMatchObject({
      outcome: "taken",
    });
    await simulator.setAnswer(token(2), unwell);
    const open = jobFor("ada", { expiresAtMs: 3_600_000 });
    expect(await send({ ...open, serverNowMs: () => 0 })).toMatchObject({ outcome: "retry" });
  });

  test("each push goes to the devices that are registered for such ones, and to no other", async () => {
    // What the simulator is told of a token stays: tokens of this test alone.
    await register("ada", 901);
    await register("ada", 902, { topic: `${TOPIC}.voip` });
    for (const [n, topic] of [
      [901, TOPIC],
      [902, `${TOPIC}.voip`],
    ] as const) {
      await simulator.setDevice(token(n), { topic });
    }
    const pushOf = (pushType: string) => JSON.stringify({ title: "t", body: "b", apns: { pushType } });
    const voip = await send(jobFor("ada", { notification: pushOf("voip") }));
    expect(voip).toMatchObject({ outcome: "taken", notes: [{ outcome: "taken" }] });
    expect([await arrived(901), await arrived(902)]).toEqual([0, 1]);
    expect(await send(jobFor("ada", { notification: pushOf("background") }))).toMatchObject({
      outcome: "taken",
    });
    expect(await send(jobFor("ada"))).toMatchObject({ outcome: "taken", notes: [{ outcome: "taken" }] });
    expect([await arrived(901), await arrived(902)]).toEqual([2, 1]);
    const other = await send(jobFor("ada", { notification: pushOf("liveactivity") }));
    expect(other).toMatchObject({
      outcome: "no-device",
      notes: [
        { reason: expect.stringContaining("registered for other pushes") },
        { reason: expect.stringContaining("registered for other pushes") },
      ],
    });
    expect(await tokensOf("ada")).toHaveLength(2);
  });

  test("what a phone has was delivered, though all devices are gone since, or a newer one has come", async () => {
    const unwell = { status: 503, reason: "ServiceUnavailable", times: 1 };
    const removeAll = async (userId: string) => {
      for (const { id } of await devices.list(userId)) await devices.remove(userId, id);
    };
    const reach = async (userId: string, n: number, parts: Partial<FallbackJob> = {}) => {
      await register(userId, n);
      await register(userId, n + 1);
      await simulator.setAnswer(token(n + 1), unwell);
      const job = jobFor(userId, parts);
      expect(await send(job)).toMatchObject({ outcome: "retry" });
      return job;
    };
    const gone = await reach("ada", 1);
    await removeAll("ada");
    expect(await send({ ...gone, attempt: 2 })).toMatchObject({ outcome: "taken" });
    // As a dead letter that is replayed.
    expect(await send(gone)).toMatchObject({ outcome: "taken" });
    const unfit = await reach("bob", 3);
    await removeAll("bob");
    await register("bob", 5, { topic: `${TOPIC}.voip` });
    expect(await send({ ...unfit, attempt: 2 })).toMatchObject({
      outcome: "taken",
      notes: [{ outcome: "no-device" }],
    });
    const older = await reach("eve", 6, { seq: 1, collapseKey: "score" });
    expect(await send(jobFor("eve", { seq: 2, collapseKey: "score" }))).toMatchObject({ outcome: "taken" });
    expect(await send({ ...older, attempt: 2 })).toMatchObject({ outcome: "taken" });
    expect(await arrived(7)).toBe(1);
  });

  test("a key that is refused for one topic goes on for the others", async () => {
    await register("ada", 1);
    await register("bob", 2, { topic: "com.example.foreign" });
    await simulator.setAnswer(token(2), { status: 403, reason: "InvalidProviderToken" });
    expect(await send(jobFor("ada"))).toMatchObject({ outcome: "taken" });
    const before = (await simulator.stats()).streams.opened;
    for (let i = 0; i < 2; i++) {
      expect(await send(jobFor("bob"))).toMatchObject({ outcome: "failed", cause: "misconfigured" });
    }
    expect((await simulator.stats()).streams.opened - before).toBe(1);
    expect(await send(jobFor("ada"))).toMatchObject({ outcome: "taken" });
    expect(await metric("petrel_apns_credential_halted")).toBe(0);
  });

  test("one that is stopped while it waits for another device leaves behind who has it", async () => {
    await reopen({ APNS_SANDBOX_ENDPOINT: `https://127.0.0.1:${await freePort()}` });
    await register("ada", 1);
    await register("ada", 2, { environment: "sandbox" });
    const controller = new AbortController();
    const sending = send(jobFor("ada"), controller.signal);
    await waitFor(() => metric("petrel_apns_sends_total", { result: "taken" }).then((n) => n === 1), {
      what: "the first device",
    });
    controller.abort();
    await expect(sending).rejects.toThrow();
    await waitFor(async () => (await store.redis.keys("*device-sends*")).length === 1, {
      what: "what is left behind",
    });
  });

  test("410: gone where it was registered before, kept where it was registered after; nobody waits for it", async () => {
    await register("ada", 1);
    await register("bob", 2);
    await simulator.setAnswer(token(1), {
      status: 410,
      reason: "Unregistered",
      timestamp: Date.now() + 60_000,
    });
    await simulator.setAnswer(token(2), {
      status: 410,
      reason: "ExpiredToken",
      timestamp: Date.now() - 60_000,
    });
    expect(await send(jobFor("ada"))).toMatchObject({
      outcome: "no-device",
      notes: [{ reason: "unregistered" }],
    });
    expect(await send(jobFor("bob"))).toMatchObject({
      outcome: "no-device",
      notes: [{ reason: "expired-token" }],
    });
    await waitFor(async () => (await tokensOf("ada")).length === 0, { what: "the device to be forgotten" });
    await waitFor(async () => (await metric("petrel_apns_invalidations_total", { outcome: "kept" })) === 1, {
      what: "the other to be kept",
    });
    expect(await tokensOf("bob")).toEqual([token(2)]);
  });

  test("a bad token: its message is tried again, then the device is set aside, not forgotten", async () => {
    await register("ada", 1);
    await simulator.setAnswer(token(1), { status: 400, reason: "BadDeviceToken" });
    const job = jobFor("ada");
    const first = await send(job);
    expect(first).toMatchObject({ outcome: "retry", reason: "bad-device-token" });
    expect(await send(jobFor("ada"))).toMatchObject({
      outcome: "retry",
      reason: expect.stringContaining("just"),
    });
    await waitFor(
      async () => (await metric("petrel_apns_invalidations_total", { outcome: "quarantined" })) === 1,
      {
        what: "the device to be set aside",
      },
    );
    expect(await send({ ...job, attempt: 2 })).toMatchObject({
      outcome: "no-device",
      notes: [{ reason: expect.stringContaining("set aside until") }],
    });
    expect(await tokensOf("ada")).toEqual([token(1)]);
    expect((await simulator.stats()).answers["400 BadDeviceToken"]).toBeGreaterThan(0);
    // The app registers again: it is sent to at once.
    await register("ada", 1);
    expect(await send({ ...job, attempt: 3 })).toMatchObject({ outcome: "taken" });
  });

  test("a wrong environment for all: nothing is lost, and sends go on when it is mended", async () => {
    // Longer than the sends below take on a busy machine: no trial is among them.
    await reopen({ APNS_BREAKER_OPEN_MS: "4000", APNS_SUSPICION_MS: "60000" });
    const users = Array.from({ length: 40 }, (_, i) => `user${i}`);
    await Promise.all(users.map((user, i) => register(user, 100 + i)));
    for (const user of users) await send(jobFor(user));
    await waitFor(
      async () =>
        (await Promise.all(users.map((user) => devices.list(user)))).flat().every((one) => "isTaken" in one),
      { what: "all to be noted as taken" },
    );
    await simulator.setBehaviour({ environment: "sandbox" });
    const before = (await simulator.stats()).streams.opened;
    for (const user of users) expect(await send(jobFor(user))).toMatchObject({ outcome: "retry" });
    const open_ = () => metric("petrel_apns_breaker_open", { topic: TOPIC, environment: "production" });
    expect(await open_()).toBe(1);
    expect((await simulator.stats()).streams.opened - before).toBe(20);
    for (const user of users) expect(await tokensOf(user)).toHaveLength(1);
    await simulator.setBehaviour({ environment: null });
    await waitFor(async () => (await send(jobFor("user1"))).outcome === "taken", {
      what: "the breaker to close",
      deadlineMs: 20_000,
    });
    expect(await open_()).toBe(0);
    for (const user of users) expect(await send(jobFor(user))).toMatchObject({ outcome: "taken" });
    expect(await metric("petrel_apns_invalidations_total")).toBe(0);
  });

  test("a key that rests is logged once and has a gauge", async () => {
    await register("ada", 1);
    await register("bob", 2);
    logged.length = 0;
    await simulator.setBehaviour({ answer: { status: 429, reason: "TooManyProviderTokenUpdates" } });
    expect(await send(jobFor("ada"))).toMatchObject({ outcome: "retry" });
    await simulator.setBehaviour({ answer: null });
    expect(await send(jobFor("bob"))).toMatchObject({
      outcome: "retry",
      reason: expect.stringContaining("Apple"),
    });
    expect(await metric("petrel_apns_credential_resting", { environment: "production" })).toBe(1);
    expect(await metric("petrel_apns_credential_resting", { environment: "sandbox" })).toBe(0);
    const rests = logged.filter((line) => line.includes("too many provider tokens"));
    expect(rests).toHaveLength(1);
    expect(rests[0]).toContain('"pausedMs":300000');
  });

  test("tokens that somebody has made up stop nobody's pushes", async () => {
    // All of them within it, however slow the machine is.
    await reopen({ APNS_SUSPICION_MS: "60000" });
    await register("ada", 1);
    const users = Array.from({ length: 40 }, (_, i) => `invented${i}`);
    await Promise.all(users.map((user, i) => register(user, 100 + i)));
    for (const i of users.keys()) {
      await simulator.setAnswer(token(100 + i), { status: 400, reason: "BadDeviceToken" });
    }
    for (const user of users) expect(await send(jobFor(user))).toMatchObject({ outcome: "retry" });
    expect(await send(jobFor("ada"))).toMatchObject({ outcome: "taken" });
    expect(await metric("petrel_apns_breaker_open")).toBe(0);
  });

  test("a key that Apple does not know: misconfigured, and nothing more is sent with it", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const file = join(directory, "unknown.p8");
    writeFileSync(file, privateKey.export({ type: "pkcs8", format: "pem" }));
    await reopen({ APNS_KEY_FILE: file, APNS_KEY_ID: "UNKNOWN123" });
    await register("ada", 1);
    const before = (await simulator.stats()).streams.opened;
    for (let i = 0; i < 3; i++) {
      expect(await send(jobFor("ada"))).toMatchObject({
        outcome: "failed",
        cause: "misconfigured",
        reason: expect.stringContaining("InvalidProviderToken"),
      });
    }
    expect((await simulator.stats()).streams.opened - before).toBe(1);
    expect(await metric("petrel_apns_credential_halted", { environment: "production" })).toBe(1);
    expect(await metric("petrel_apns_credential_halted", { environment: "sandbox" })).toBe(0);
  });

  test("an app that is not configured is no way to its user", async () => {
    const { keyFile, keyId, teamId } = simulator;
    const file = join(directory, "apps.json");
    const key = { file: keyFile, keyId, teamId };
    writeFileSync(file, JSON.stringify([{ topics: [TOPIC], environments: ["production"], key }]));
    const alone = { APNS_KEY_FILE: "", APNS_KEY_ID: "", APNS_TEAM_ID: "", APNS_APPS_FILE: file };
    await reopen(alone);
    await register("ada", 1, { topic: "com.example.other" });
    expect(await send(jobFor("ada"))).toMatchObject({
      outcome: "no-device",
      notes: [{ reason: "nothing is configured for com.example.other in production" }],
    });
    expect(await metric("petrel_apns_no_app_total", { environment: "production" })).toBe(1);
    await register("ada", 2);
    expect(await send(jobFor("ada"))).toMatchObject({ outcome: "taken" });
  });

  test("too large fails alone, with the size, and is not sent", async () => {
    await register("ada", 1);
    const notification = JSON.stringify({ title: "t", body: "x".repeat(5_000) });
    const [large, small] = await Promise.all([send(jobFor("ada", { notification })), send(jobFor("ada"))]);
    expect(large).toMatchObject({
      outcome: "failed",
      cause: "rejected",
      reason: expect.stringMatching(/\d{4} bytes.*4096/),
    });
    expect(small).toMatchObject({ outcome: "taken" });
    expect(await arrived(1)).toBe(1);
  });

  test("Redis away is a fault that passes", async () => {
    const redis = await connectRedis({ url: store.server.url, role: "test", logger });
    redis.disconnect();
    const deps = {
      scripts: new ScriptRunner(redis),
      partitions: store.partitions,
      clock: systemClock,
      logger,
      tracing: NO_TRACING,
    };
    const cut = openApns(readDispatchConfig(simulator.environment), {
      ...deps,
      registry: createRegistry("test"),
    });
    expect(await cut?.send(jobFor("ada"), never)).toMatchObject({ outcome: "retry" });
    await cut?.close();
  });

  describe("with a collapse key", () => {
    const goal = (seq: number, parts: Partial<FallbackJob> = {}) =>
      jobFor("ada", {
        seq,
        collapseKey: "score",
        notification: JSON.stringify({ title: "score", body: `${seq}:0` }),
        ...parts,
      });
    const shown = async () => {
      const { notifications } = await simulator.screen(token(1));
      return notifications.map(({ payload }) => (payload["aps"] as { alert: { body: string } }).alert.body);
    };

    test("the phone shows the newest alone; an older one that comes late is not sent", async () => {
      await register("ada", 1);
      expect(await send(goal(1))).toMatchObject({ outcome: "taken" });
      expect(await send(goal(3))).toMatchObject({ outcome: "taken" });
      expect(await send(goal(2))).toEqual({ outcome: "superseded" });
      expect(await shown()).toEqual(["3:0"]);
      expect(await arrived(1)).toBe(2);
    });

    test("sent beside each other by several processes, none comes after a newer one", async () => {
      await register("ada", 1);
      await simulator.setBehaviour({ latencyMs: 30 });
      const others = [channel, open(), open()];
      const at = (i: number) => others[i % 3] ?? channel;
      const seqs = Array.from({ length: 12 }, (_, i) => ((i * 5) % 12) + 1);
      const answers = await Promise.all(seqs.map((seq, i) => at(i).send(goal(seq), never)));
      expect(answers.map(({ outcome }) => outcome).filter((outcome) => outcome === "failed")).toEqual([]);
      expect(answers[seqs.indexOf(12)]).toMatchObject({ outcome: "taken" });
      expect(await shown()).toEqual(["12:0"]);
      const bodies = (await simulator.notifications(token(1))).map(({ payload }) =>
        Number.parseInt((payload["aps"] as { alert: { body: string } }).alert.body, 10),
      );
      expect(bodies).toEqual([...bodies].sort((a, b) => a - b));
      await Promise.all(others.slice(1).map((other) => other.close()));
    });

    test("messages without one, and other users', have nothing to do with it", async () => {
      await register("ada", 1);
      await register("bob", 2);
      await send(goal(5));
      expect(await send(jobFor("ada", { seq: 1 }))).toMatchObject({ outcome: "taken" });
      expect(await send(goal(1, { userId: "bob" }))).toMatchObject({ outcome: "taken" });
      expect(await send(goal(1, { collapseKey: "weather" }))).toMatchObject({ outcome: "taken" });
    });
  });
});

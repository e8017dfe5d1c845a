// Tests the way from a message to its user's iPhones, on real Redis, against the simulator's process.
import { systemClock } from "@petrel/shared/kernel/clock";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { freePort } from "@petrel/shared/testing/free-port";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readDispatchConfig } from "../../config.js";
import { ApnsUnderTest, phone, TOPIC } from "../../testing/apns-under-test.js";
import { describeChannel } from "../../testing/channel-conformance.js";
import type { FallbackJob } from "../fallback-channel.js";
import { openApns } from "./open-apns.js";

const never = new AbortController().signal;

let apns: ApnsUnderTest;
beforeAll(async () => {
  apns = await ApnsUnderTest.start();
});
afterAll(() => apns.stop());

describeChannel("APNs", async () => {
  await apns.clear();
  await apns.register("ada", 1);
  const answers = {
    take: null,
    refuse: { status: 400, reason: "BadMessageId" },
    "fail for now": { status: 503, reason: "ServiceUnavailable" },
  };
  return {
    channel: apns.open({ APNS_TIMEOUT_MS: "120000" }),
    behave: (as) =>
      apns.simulator.setBehaviour(
        as === "hang" ? { latencyMs: 60_000 } : { latencyMs: 0, answer: answers[as] },
      ),
    received: async () =>
      (await apns.simulator.notifications(phone(1))).map(({ payload }) => {
        const { aps, petrel } = payload as { aps: { alert: unknown }; petrel: { id: string } };
        return { id: petrel.id, notification: aps.alert };
      }),
    close: () => Promise.resolve(),
  };
});

describe("APNs", () => {
  beforeEach(async () => {
    await apns.clear();
    await apns.reopen();
  });
  afterEach(() => apns.channel.close());

  test("no iPhone, or only another kind of device: no device", async () => {
    expect(await apns.send(apns.jobFor("nobody"))).toEqual({ outcome: "no-device" });
    await apns.devices.register("eve", { platform: "wechat", openid: "o", appid: "a" }, Date.now());
    expect(await apns.send(apns.jobFor("eve"))).toEqual({ outcome: "no-device" });
  });

  test("every device gets it; the notes name the device, not its token", async () => {
    await apns.register("ada", 1);
    await apns.register("ada", 2, { environment: "sandbox" });
    const answer = await apns.send(apns.jobFor("ada"));
    expect(answer.outcome).toBe("taken");
    expect([await apns.arrived(1), await apns.arrived(2)]).toEqual([1, 1]);
    const [first, second] = [
      await apns.simulator.notifications(phone(1)),
      await apns.simulator.notifications(phone(2)),
    ].flat();
    expect(answer.notes?.map(({ outcome }) => outcome)).toEqual(["taken", "taken"]);
    const noted = answer.notes?.map(({ details }) => details?.["apnsId"]);
    expect(new Set(noted)).toEqual(new Set([first?.apnsId, second?.apnsId]));
    expect(JSON.stringify(answer)).toContain("…000001");
    expect(JSON.stringify(answer)).not.toContain(phone(1));
    expect(await apns.metric("petrel_apns_sends_total", { result: "taken" })).toBe(2);
    expect(await apns.metric("petrel_apns_connections")).toBeGreaterThan(0);
  });

  test("sends to many devices at once without a Node warning", async () => {
    const warnings: string[] = [];
    const onWarning = ({ message }: Error): void => void warnings.push(message);
    process.on("warning", onWarning);
    for (let n = 1; n <= 20; n++) await apns.register("ada", n);
    expect(await apns.send(apns.jobFor("ada"))).toMatchObject({ outcome: "taken" });
    for (let n = 1; n <= 20; n++) expect(await apns.arrived(n)).toBe(1);
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });

  test("a device that has the message does not get it again when another is retried", async () => {
    await apns.register("ada", 1);
    await apns.register("ada", 2);
    await apns.simulator.setAnswer(phone(2), {
      status: 503,
      reason: "ServiceUnavailable",
      retryAfter: 7,
      times: 1,
    });
    const job = apns.jobFor("ada");
    expect(await apns.send(job)).toMatchObject({ outcome: "retry", afterMs: 7_000 });
    const again = await apns.send({ ...job, attempt: 2 });
    expect(again).toMatchObject({ outcome: "taken", notes: [{ outcome: "taken" }] });
    expect([await apns.arrived(1), await apns.arrived(2)]).toEqual([1, 1]);
    // In another process, too; and it is forgotten when the message's time is over.
    const other = apns.open();
    expect(await other.send({ ...job, attempt: 3 }, never)).toMatchObject({ outcome: "taken" });
    expect([await apns.arrived(1), await apns.arrived(2)]).toEqual([1, 2]);
    await other.close();
    const [key = ""] = await apns.store.redis.keys("*device-sends*");
    expect(await apns.store.redis.pexpiretime(key)).toBe(job.expiresAtMs);
  });

  test("Redis's clock decides whether there is time for another attempt", async () => {
    await apns.register("ada", 1);
    await apns.register("ada", 2);
    const unwell = { status: 503, reason: "ServiceUnavailable", times: 1 };
    await apns.simulator.setAnswer(phone(2), unwell);
    const over = apns.jobFor("ada");
    expect(await apns.send({ ...over, serverNowMs: () => over.expiresAtMs - 1 })).toMatchObject({
      outcome: "taken",
    });
    await apns.simulator.setAnswer(phone(2), unwell);
    const open = apns.jobFor("ada", { expiresAtMs: 3_600_000 });
    expect(await apns.send({ ...open, serverNowMs: () => 0 })).toMatchObject({ outcome: "retry" });
  });

  test("each push type goes only to devices registered for it", async () => {
    // What the simulator is told of a token stays: tokens of this test alone.
    await apns.register("ada", 901);
    await apns.register("ada", 902, { topic: `${TOPIC}.voip` });
    for (const [n, topic] of [
      [901, TOPIC],
      [902, `${TOPIC}.voip`],
    ] as const) {
      await apns.simulator.setDevice(phone(n), { topic });
    }
    const pushOf = (pushType: string) => JSON.stringify({ title: "t", body: "b", apns: { pushType } });
    const voip = await apns.send(apns.jobFor("ada", { notification: pushOf("voip") }));
    expect(voip).toMatchObject({ outcome: "taken", notes: [{ outcome: "taken" }] });
    expect([await apns.arrived(901), await apns.arrived(902)]).toEqual([0, 1]);
    expect(await apns.send(apns.jobFor("ada", { notification: pushOf("background") }))).toMatchObject({
      outcome: "taken",
    });
    expect(await apns.send(apns.jobFor("ada"))).toMatchObject({
      outcome: "taken",
      notes: [{ outcome: "taken" }],
    });
    expect([await apns.arrived(901), await apns.arrived(902)]).toEqual([2, 1]);
    const other = await apns.send(apns.jobFor("ada", { notification: pushOf("liveactivity") }));
    expect(other).toMatchObject({
      outcome: "no-device",
      notes: [
        { reason: expect.stringContaining("registered for other pushes") },
        { reason: expect.stringContaining("registered for other pushes") },
      ],
    });
    expect(await apns.tokensOf("ada")).toHaveLength(2);
  });

  test("a push that one phone has counts as delivered, even if all devices are gone since, or a newer one has come", async () => {
    const unwell = { status: 503, reason: "ServiceUnavailable", times: 1 };
    const removeAll = async (userId: string) => {
      for (const { id } of await apns.devices.list(userId)) await apns.devices.remove(userId, id);
    };
    const reach = async (userId: string, n: number, parts: Partial<FallbackJob> = {}) => {
      await apns.register(userId, n);
      await apns.register(userId, n + 1);
      await apns.simulator.setAnswer(phone(n + 1), unwell);
      const job = apns.jobFor(userId, parts);
      expect(await apns.send(job)).toMatchObject({ outcome: "retry" });
      return job;
    };
    const gone = await reach("ada", 1);
    await removeAll("ada");
    expect(await apns.send({ ...gone, attempt: 2 })).toMatchObject({ outcome: "taken" });
    // As a dead letter that is replayed.
    expect(await apns.send(gone)).toMatchObject({ outcome: "taken" });
    const unfit = await reach("bob", 3);
    await removeAll("bob");
    await apns.register("bob", 5, { topic: `${TOPIC}.voip` });
    expect(await apns.send({ ...unfit, attempt: 2 })).toMatchObject({
      outcome: "taken",
      notes: [{ outcome: "no-device" }],
    });
    const older = await reach("eve", 6, { seq: 1, collapseKey: "score" });
    expect(await apns.send(apns.jobFor("eve", { seq: 2, collapseKey: "score" }))).toMatchObject({
      outcome: "taken",
    });
    expect(await apns.send({ ...older, attempt: 2 })).toMatchObject({ outcome: "taken" });
    expect(await apns.arrived(7)).toBe(1);
  });

  test("one that is stopped while it waits for another device records who has it", async () => {
    await apns.reopen({ APNS_SANDBOX_ENDPOINT: `https://127.0.0.1:${await freePort()}` });
    await apns.register("ada", 1);
    await apns.register("ada", 2, { environment: "sandbox" });
    const controller = new AbortController();
    const sending = apns.send(apns.jobFor("ada"), controller.signal);
    await waitFor(() => apns.metric("petrel_apns_sends_total", { result: "taken" }).then((n) => n === 1), {
      what: "the first device",
    });
    controller.abort();
    await expect(sending).rejects.toThrow();
    await waitFor(async () => (await apns.store.redis.keys("*device-sends*")).length === 1, {
      what: "what is left behind",
    });
  });

  test("a payload that is too large fails alone, with its size, and is not sent", async () => {
    await apns.register("ada", 1);
    const notification = JSON.stringify({ title: "t", body: "x".repeat(5_000) });
    const [large, small] = await Promise.all([
      apns.send(apns.jobFor("ada", { notification })),
      apns.send(apns.jobFor("ada")),
    ]);
    expect(large).toMatchObject({
      outcome: "failed",
      cause: "rejected",
      reason: expect.stringMatching(/\d{4} bytes.*4096/),
    });
    expect(small).toMatchObject({ outcome: "taken" });
    expect(await apns.arrived(1)).toBe(1);
  });

  test("treats an unreachable Redis as a temporary fault", async () => {
    const redis = await connectRedis({ url: apns.store.server.url, role: "test", logger: apns.logger });
    redis.disconnect();
    const deps = {
      scripts: new ScriptRunner(redis),
      partitions: apns.store.partitions,
      clock: systemClock,
      logger: apns.logger,
      tracing: NO_TRACING,
    };
    const cut = openApns(readDispatchConfig(apns.simulator.environment), {
      ...deps,
      registry: createRegistry("test"),
    });
    expect(await cut?.send(apns.jobFor("ada"), never)).toMatchObject({ outcome: "retry" });
    await cut?.close();
  });

  describe("with a collapse key", () => {
    const goal = (seq: number, parts: Partial<FallbackJob> = {}) =>
      apns.jobFor("ada", {
        seq,
        collapseKey: "score",
        notification: JSON.stringify({ title: "score", body: `${seq}:0` }),
        ...parts,
      });
    const shown = async () => {
      const { notifications } = await apns.simulator.screen(phone(1));
      return notifications.map(({ payload }) => (payload["aps"] as { alert: { body: string } }).alert.body);
    };

    test("shows only the newest on the phone; a late older one is not sent", async () => {
      await apns.register("ada", 1);
      expect(await apns.send(goal(1))).toMatchObject({ outcome: "taken" });
      expect(await apns.send(goal(3))).toMatchObject({ outcome: "taken" });
      expect(await apns.send(goal(2))).toEqual({ outcome: "superseded" });
      expect(await shown()).toEqual(["3:0"]);
      expect(await apns.arrived(1)).toBe(2);
    });

    test("when sent concurrently by several processes, none follows a newer one", async () => {
      await apns.register("ada", 1);
      await apns.simulator.setBehaviour({ latencyMs: 30 });
      const others = [apns.channel, apns.open(), apns.open()];
      const at = (i: number) => others[i % 3] ?? apns.channel;
      const seqs = Array.from({ length: 12 }, (_, i) => ((i * 5) % 12) + 1);
      const answers = await Promise.all(seqs.map((seq, i) => at(i).send(goal(seq), never)));
      expect(answers.map(({ outcome }) => outcome).filter((outcome) => outcome === "failed")).toEqual([]);
      expect(answers[seqs.indexOf(12)]).toMatchObject({ outcome: "taken" });
      expect(await shown()).toEqual(["12:0"]);
      const bodies = (await apns.simulator.notifications(phone(1))).map(({ payload }) =>
        Number.parseInt((payload["aps"] as { alert: { body: string } }).alert.body, 10),
      );
      expect(bodies).toEqual([...bodies].sort((a, b) => a - b));
      await Promise.all(others.slice(1).map((other) => other.close()));
    });

    test("does not affect messages without one, or other users'", async () => {
      await apns.register("ada", 1);
      await apns.register("bob", 2);
      await apns.send(goal(5));
      expect(await apns.send(apns.jobFor("ada", { seq: 1 }))).toMatchObject({ outcome: "taken" });
      expect(await apns.send(goal(1, { userId: "bob" }))).toMatchObject({ outcome: "taken" });
      expect(await apns.send(goal(1, { collapseKey: "weather" }))).toMatchObject({ outcome: "taken" });
    });
  });
});

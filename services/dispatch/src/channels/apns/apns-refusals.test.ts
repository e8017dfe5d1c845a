// Tests what becomes of devices, keys and apps that Apple refuses, on real Redis, against the simulator's process.
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { ApnsUnderTest, phone, TOPIC } from "../../testing/apns-under-test.js";

let apns: ApnsUnderTest;
let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "petrel-apns-"));
  apns = await ApnsUnderTest.start();
});
beforeEach(async () => {
  await apns.clear();
  await apns.reopen();
});
afterEach(() => apns.channel.close());
afterAll(async () => {
  await apns.stop();
  rmSync(directory, { recursive: true });
});

test("a key refused for one topic keeps working for the others", async () => {
  await apns.register("ada", 1);
  await apns.register("bob", 2, { topic: "com.example.foreign" });
  await apns.simulator.setAnswer(phone(2), { status: 403, reason: "InvalidProviderToken" });
  expect(await apns.send(apns.jobFor("ada"))).toMatchObject({ outcome: "taken" });
  const before = (await apns.simulator.stats()).streams.opened;
  for (let i = 0; i < 2; i++) {
    expect(await apns.send(apns.jobFor("bob"))).toMatchObject({ outcome: "failed", cause: "misconfigured" });
  }
  expect((await apns.simulator.stats()).streams.opened - before).toBe(1);
  expect(await apns.send(apns.jobFor("ada"))).toMatchObject({ outcome: "taken" });
  expect(await apns.metric("petrel_apns_credential_halted")).toBe(0);
});

test("410: the device is removed if registered before, kept if registered after; nobody waits for it", async () => {
  await apns.register("ada", 1);
  await apns.register("bob", 2);
  await apns.simulator.setAnswer(phone(1), {
    status: 410,
    reason: "Unregistered",
    timestamp: Date.now() + 60_000,
  });
  await apns.simulator.setAnswer(phone(2), {
    status: 410,
    reason: "ExpiredToken",
    timestamp: Date.now() - 60_000,
  });
  expect(await apns.send(apns.jobFor("ada"))).toMatchObject({
    outcome: "no-device",
    notes: [{ reason: "unregistered" }],
  });
  expect(await apns.send(apns.jobFor("bob"))).toMatchObject({
    outcome: "no-device",
    notes: [{ reason: "expired-token" }],
  });
  await waitFor(async () => (await apns.tokensOf("ada")).length === 0, {
    what: "the device to be forgotten",
  });
  await waitFor(
    async () => (await apns.metric("petrel_apns_invalidations_total", { outcome: "kept" })) === 1,
    {
      what: "the other to be kept",
    },
  );
  expect(await apns.tokensOf("bob")).toEqual([phone(2)]);
});

test("a bad token: its message is retried, then the device is quarantined, not removed", async () => {
  await apns.register("ada", 1);
  await apns.simulator.setAnswer(phone(1), { status: 400, reason: "BadDeviceToken" });
  const job = apns.jobFor("ada");
  const first = await apns.send(job);
  expect(first).toMatchObject({ outcome: "retry", reason: "bad-device-token" });
  expect(await apns.send(apns.jobFor("ada"))).toMatchObject({
    outcome: "retry",
    reason: expect.stringContaining("just"),
  });
  await waitFor(
    async () => (await apns.metric("petrel_apns_invalidations_total", { outcome: "quarantined" })) === 1,
    {
      what: "the device to be set aside",
    },
  );
  expect(await apns.send({ ...job, attempt: 2 })).toMatchObject({
    outcome: "no-device",
    notes: [{ reason: expect.stringContaining("set aside until") }],
  });
  expect(await apns.tokensOf("ada")).toEqual([phone(1)]);
  expect((await apns.simulator.stats()).answers["400 BadDeviceToken"]).toBeGreaterThan(0);
  // The app registers again: it is sent to at once.
  await apns.register("ada", 1);
  expect(await apns.send({ ...job, attempt: 3 })).toMatchObject({ outcome: "taken" });
});

test("a wrong environment for all: nothing is lost, and sends resume when it is fixed", async () => {
  // Longer than the sends below take on a busy machine: no trial is among them.
  await apns.reopen({ APNS_BREAKER_OPEN_MS: "4000", APNS_SUSPICION_MS: "60000" });
  const users = Array.from({ length: 40 }, (_, i) => `user${i}`);
  await Promise.all(users.map((user, i) => apns.register(user, 100 + i)));
  for (const user of users) await apns.send(apns.jobFor(user));
  await waitFor(
    async () =>
      (await Promise.all(users.map((user) => apns.devices.list(user))))
        .flat()
        .every((one) => "isTaken" in one),
    { what: "all to be noted as taken" },
  );
  await apns.simulator.setBehaviour({ environment: "sandbox" });
  const before = (await apns.simulator.stats()).streams.opened;
  for (const user of users) expect(await apns.send(apns.jobFor(user))).toMatchObject({ outcome: "retry" });
  const open_ = () => apns.metric("petrel_apns_breaker_open", { topic: TOPIC, environment: "production" });
  expect(await open_()).toBe(1);
  expect((await apns.simulator.stats()).streams.opened - before).toBe(20);
  for (const user of users) expect(await apns.tokensOf(user)).toHaveLength(1);
  await apns.simulator.setBehaviour({ environment: null });
  await waitFor(async () => (await apns.send(apns.jobFor("user1"))).outcome === "taken", {
    what: "the breaker to close",
    deadlineMs: 20_000,
  });
  expect(await open_()).toBe(0);
  for (const user of users) expect(await apns.send(apns.jobFor(user))).toMatchObject({ outcome: "taken" });
  expect(await apns.metric("petrel_apns_invalidations_total")).toBe(0);
});

test("a paused key is logged once and has a gauge", async () => {
  await apns.register("ada", 1);
  await apns.register("bob", 2);
  apns.logged.length = 0;
  await apns.simulator.setBehaviour({ answer: { status: 429, reason: "TooManyProviderTokenUpdates" } });
  expect(await apns.send(apns.jobFor("ada"))).toMatchObject({ outcome: "retry" });
  await apns.simulator.setBehaviour({ answer: null });
  expect(await apns.send(apns.jobFor("bob"))).toMatchObject({
    outcome: "retry",
    reason: expect.stringContaining("Apple"),
  });
  expect(await apns.metric("petrel_apns_credential_resting", { environment: "production" })).toBe(1);
  expect(await apns.metric("petrel_apns_credential_resting", { environment: "sandbox" })).toBe(0);
  const rests = apns.logged.filter((line) => line.includes("too many provider tokens"));
  expect(rests).toHaveLength(1);
  expect(rests[0]).toContain('"pausedMs":300000');
});

test("made-up tokens stop nobody's pushes", async () => {
  // All of them within it, however slow the machine is.
  await apns.reopen({ APNS_SUSPICION_MS: "60000" });
  await apns.register("ada", 1);
  const users = Array.from({ length: 40 }, (_, i) => `invented${i}`);
  await Promise.all(users.map((user, i) => apns.register(user, 100 + i)));
  for (const i of users.keys()) {
    await apns.simulator.setAnswer(phone(100 + i), { status: 400, reason: "BadDeviceToken" });
  }
  for (const user of users) expect(await apns.send(apns.jobFor(user))).toMatchObject({ outcome: "retry" });
  expect(await apns.send(apns.jobFor("ada"))).toMatchObject({ outcome: "taken" });
  expect(await apns.metric("petrel_apns_breaker_open")).toBe(0);
});

test("a key that Apple does not know: misconfigured, and nothing more is sent with it", async () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const file = join(directory, "unknown.p8");
  writeFileSync(file, privateKey.export({ type: "pkcs8", format: "pem" }));
  await apns.reopen({ APNS_KEY_FILE: file, APNS_KEY_ID: "UNKNOWN123" });
  await apns.register("ada", 1);
  const before = (await apns.simulator.stats()).streams.opened;
  for (let i = 0; i < 3; i++) {
    expect(await apns.send(apns.jobFor("ada"))).toMatchObject({
      outcome: "failed",
      cause: "misconfigured",
      reason: expect.stringContaining("InvalidProviderToken"),
    });
  }
  expect((await apns.simulator.stats()).streams.opened - before).toBe(1);
  expect(await apns.metric("petrel_apns_credential_halted", { environment: "production" })).toBe(1);
  expect(await apns.metric("petrel_apns_credential_halted", { environment: "sandbox" })).toBe(0);
});

test("an app that is not configured cannot reach its user", async () => {
  const { keyFile, keyId, teamId } = apns.simulator;
  const file = join(directory, "apps.json");
  const key = { file: keyFile, keyId, teamId };
  writeFileSync(file, JSON.stringify([{ topics: [TOPIC], environments: ["production"], key }]));
  const alone = { APNS_KEY_FILE: "", APNS_KEY_ID: "", APNS_TEAM_ID: "", APNS_APPS_FILE: file };
  await apns.reopen(alone);
  await apns.register("ada", 1, { topic: "com.example.other" });
  expect(await apns.send(apns.jobFor("ada"))).toMatchObject({
    outcome: "no-device",
    notes: [{ reason: "nothing is configured for com.example.other in production" }],
  });
  expect(await apns.metric("petrel_apns_no_app_total", { environment: "production" })).toBe(1);
  await apns.register("ada", 2);
  expect(await apns.send(apns.jobFor("ada"))).toMatchObject({ outcome: "taken" });
});

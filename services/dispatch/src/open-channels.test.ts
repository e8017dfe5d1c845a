// Tests which channels a configuration opens, and which it refuses.
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@petrel/shared/kernel/clock";
import { ConfigError } from "@petrel/shared/kernel/config";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readDispatchConfig } from "./config.js";
import { openChannels } from "./open-channels.js";

let directory: string;
let store: OpenStore;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "petrel-channels-"));
  store = await openStore();
});
afterAll(async () => {
  rmSync(directory, { recursive: true });
  await store.close();
});

const open = (environment: Record<string, string>) =>
  openChannels(readDispatchConfig(environment), {
    scripts: store.scripts,
    partitions: store.partitions,
    registry: createRegistry("test"),
    clock: systemClock,
    logger: createLogger({ service: "test", level: "silent" }),
    tracing: NO_TRACING,
  });
const FALLBACK_WEBHOOK_URL = "https://shop.example.test/hook";

function secretFile(content: string): string {
  const file = join(directory, "secret");
  writeFileSync(file, content);
  return file;
}

test("opens none if none is configured", () => {
  expect(open({})).toEqual([]);
});

test("opens the webhook, signed or not", () => {
  const file = secretFile(`whsec_${Buffer.alloc(32, 1).toString("base64")}\n`);
  expect(open({ FALLBACK_WEBHOOK_URL }).map(({ name }) => name)).toEqual(["webhook"]);
  expect(open({ FALLBACK_WEBHOOK_URL, FALLBACK_WEBHOOK_SECRET_FILE: file })).toHaveLength(1);
});

test("keeps the configured order, without those left out", async () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const file = secretFile(privateKey.export({ type: "pkcs8", format: "pem" }) as string);
  const apns = { APNS_KEY_FILE: file, APNS_KEY_ID: "ABCDE12345", APNS_TEAM_ID: "TEAM123456" };
  const names = async (order: string) => {
    const channels = open({ ...apns, FALLBACK_WEBHOOK_URL, FALLBACK_CHANNELS: order });
    await Promise.all(channels.map((channel) => channel.close()));
    return channels.map(({ name }) => name);
  };
  expect(await names("webhook, apns")).toEqual(["webhook", "apns"]);
  expect(await names("web,webhook,wechat")).toEqual(["webhook"]);
  expect(await names("apns")).toEqual(["apns"]);
});

test("asks APNs before the webhook, which is asked only if there is no phone", async () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const file = secretFile(privateKey.export({ type: "pkcs8", format: "pem" }) as string);
  const apns = { APNS_KEY_FILE: file, APNS_KEY_ID: "ABCDE12345", APNS_TEAM_ID: "TEAM123456" };
  const channels = open({ ...apns, FALLBACK_WEBHOOK_URL });
  expect(channels.map(({ name }) => name)).toEqual(["apns", "webhook"]);
  // With the defaults each fits into the time after which others would take its entries over.
  const longestMs = Math.max(...channels.map(({ longestSendMs }) => longestSendMs));
  expect(2 * longestMs).toBeLessThanOrEqual(readDispatchConfig({}).fallbackClaimMs);
  await Promise.all(channels.map((channel) => channel.close()));
});

test.each([
  [{ FALLBACK_CHANNELS: "apns,sms" }, "FALLBACK_CHANNELS must be some of apns, web, wechat, webhook"],
  [{ FALLBACK_CHANNELS: "apns,apns" }, "FALLBACK_CHANNELS must be some of"],
  [{ APNS_KEY_ID: "ABCDE12345" }, "APNs needs"],
  [{ APNS_CA_FILE: "/nowhere" }, "APNS_CA_FILE cannot be read"],
  [{ APNS_ENDPOINT: "http://api.push.apple.com" }, "APNS_ENDPOINT must be a URL"],
  [{ APNS_PROXY_URL: "socks://x" }, "APNS_PROXY_URL must be a URL"],
  [{ FALLBACK_WEBHOOK_URL: "ftp://x/" }, "FALLBACK_WEBHOOK_URL must be a URL"],
  [{ FALLBACK_WEBHOOK_URL: "https://a:b@x/" }, "must not contain a user and password"],
  [{ FALLBACK_WEBHOOK_SECRET_FILE: "/x" }, "needs FALLBACK_WEBHOOK_URL"],
  [{ FALLBACK_WEBHOOK_URL, FALLBACK_WEBHOOK_SECRET_FILE: "/nowhere/at/all" }, "cannot be read"],
])("refuses %o", (environment, problem) => {
  expect(() => open(environment)).toThrow(ConfigError);
  expect(() => open(environment)).toThrow(problem);
});

test("refuses an invalid secret without repeating it", () => {
  const file = secretFile("whsec_hunter2");
  const attempt = (): unknown => open({ FALLBACK_WEBHOOK_URL, FALLBACK_WEBHOOK_SECRET_FILE: file });
  expect(attempt).toThrow("FALLBACK_WEBHOOK_SECRET_FILE must hold whsec_");
  expect(attempt).not.toThrow("hunter2");
});

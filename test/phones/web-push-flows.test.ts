// Tests Web Push from a producer's request to what a browser shows, in a whole cluster, beside APNs, WeChat and the webhook.
// Guarantees: the right browsers get the right messages, once; dead ones are forgotten; a black-holed APNs delays nobody.
import { readFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { encodeVapidKey, makeVapidKey, readVapidPublicKey } from "@petrel/shared/security/web-push/vapid-key";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import {
  simulatedWechat,
  startWechatSimulator,
  type TestWechatSimulator,
} from "@petrel/shared/testing/cluster/start-wechat-simulator";
import { freePort } from "@petrel/shared/testing/free-port";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildPushApp } from "../../deploy/local/src/web-push-simulator/push-app.js";
import { type Subscription, Subscriptions } from "../../deploy/local/src/web-push-simulator/subscriptions.js";
import {
  startWebhookReceiver,
  type WebhookReceiver,
} from "../../services/dispatch/src/testing/webhook-receiver.js";
import {
  callCluster,
  metricOf,
  phonesOf,
  readState,
  registerPhone,
} from "../support/phones/cluster-with-phones.js";
import { sized } from "../support/sizes.js";

let directory: string;
let apns: TestApnsSimulator;
let wechat: TestWechatSimulator;
let subscriptions: Subscriptions;
let receiver: WebhookReceiver;
let cluster: TestCluster;
const closers: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "petrel-web-push-"));
  const keyFile = join(directory, "vapid.pem");
  writeFileSync(keyFile, makeVapidKey());
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  subscriptions = new Subscriptions({
    origin,
    applicationServerKey: encodeVapidKey(readVapidPublicKey(keyFile)),
  });
  const logger = createLogger({ service: "test", level: "silent" });
  const app = await buildPushApp({ version: "0", logger, origin, subscriptions, nowMs: () => Date.now() });
  await app.listen({ port, host: "127.0.0.1" });
  closers.push(() => app.close());
  apns = await startApnsSimulator();
  closers.push(apns.stop);
  wechat = await startWechatSimulator();
  closers.push(wechat.stop);
  receiver = await startWebhookReceiver();
  closers.push(() => receiver.close());
  cluster = await startCluster({
    nodes: 1,
    // Its CPU is measured.
    together: (name) => !name.startsWith("dispatch"),
    environment: {
      ...apns.environment,
      ...wechat.environment,
      VAPID_KEY_FILE: keyFile,
      VAPID_SUBJECT: "mailto:ops@shop.example",
      WEB_PUSH_HOSTS: origin,
      FALLBACK_WEBHOOK_URL: receiver.url,
      FALLBACK_RETRY_CAP_MS: "1000",
      ACK_TIMEOUT_MS: "1000",
    },
  });
  closers.push(cluster.stop);
}, 120_000);
afterAll(async () => {
  for (const close of closers.toReversed()) await close();
  rmSync(directory, { recursive: true });
});

async function subscribe(user: string): Promise<Subscription> {
  const made = subscriptions.create();
  const { id: _id, ...subscription } = made.json;
  const url = `${cluster.auth.url}/v1/users/${user}/devices`;
  const { status, body } = await callCluster(cluster, "PUT", url, { platform: "web", subscription });
  if (status !== 204) throw new Error(`PUT devices: ${status} ${JSON.stringify(body)}`);
  return made;
}

const send = async (user: string, more: object = {}): Promise<string> => {
  const message = { to: { user }, data: 1, notification: { title: "t", body: user }, ...more };
  return ((await cluster.post("/v1/messages", message)) as { readonly id: string }).id;
};
const untilPushed = (id: string) =>
  waitFor(async () => (await readState(cluster, id)).state === "pushed", {
    what: "the push",
    deadlineMs: 30_000,
  });
const timelineOf = async (id: string) =>
  (await readState(cluster, id)).timeline
    .filter(({ event }) => event === "attempt")
    .map(({ channel, outcome }) => [channel, outcome]);

test("a browser with a closed page shows what was sent, and a service worker learns the message's id", async () => {
  const browser = await subscribe("ada");
  const web = { navigate: "https://shop.example/orders/1", requireInteraction: true };
  const notification = { title: "Order", body: "On its way", web };
  const id = await send("ada", { notification, priority: "high", collapseKey: "order", ttlSeconds: 600 });
  await untilPushed(id);
  expect(browser.notifications).toMatchObject([
    {
      urgency: "high",
      topic: expect.stringMatching(/^[\w-]{32}$/),
      payload: {
        web_push: 8030,
        notification: { title: "Order", body: "On its way", tag: "order", ...web },
        petrel: { id, seq: 1 },
      },
    },
  ]);
  expect(browser.notifications[0]?.ttl).toBeGreaterThan(550);
  expect(await timelineOf(id)).toEqual([
    ["apns", "no-device"],
    ["web", "taken"],
  ]);
  expect(await phonesOf(cluster, "ada")).toMatchObject([
    {
      platform: "web",
      host: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      endpointEnd: browser.json.endpoint.slice(-6),
    },
  ]);
});

test("the next one with its collapse key replaces it", async () => {
  const browser = await subscribe("eve");
  for (const body of ["1:0", "2:0"]) {
    await untilPushed(await send("eve", { notification: { title: "Score", body }, collapseKey: "score" }));
  }
  expect(browser.notifications).toMatchObject([{ payload: { notification: { body: "2:0" } } }]);
});

test("a dead iPhone and a gone browser: the chain ends at the webhook, and the next message asks it at once", async () => {
  const token = "ab".repeat(32);
  await registerPhone(cluster, "bob", token);
  await apns.setAnswer(token, { status: 410, reason: "Unregistered", timestamp: Date.now() + 60_000 });
  const browser = await subscribe("bob");
  browser.answer = { status: 410 };
  const first = await send("bob");
  await untilPushed(first);
  expect(await timelineOf(first)).toEqual([
    ["apns", "no-device"],
    ["web", "no-device"],
    ["wechat", "no-device"],
    ["webhook", "taken"],
  ]);
  await waitFor(async () => (await phonesOf(cluster, "bob")).length === 0, { what: "both to be forgotten" });
  const invalidations = await callCluster(
    cluster,
    "GET",
    `${cluster.dispatchers[0]?.url}/v1/invalidations?reason=subscription-gone`,
  );
  expect(invalidations.body).toMatchObject({
    items: [{ user: "bob", outcome: "forgotten", topic: expect.stringMatching(/^127/), environment: null }],
  });
  const second = await send("bob");
  await untilPushed(second);
  expect(receiver.requests.map(({ headers }) => headers["webhook-id"])).toEqual([first, second]);
  expect((await readState(cluster, second)).timeline).not.toContainEqual(
    expect.objectContaining({ details: expect.anything() }),
  );
});

test("a dead iPhone, a gone browser and a bound openid: it ends at WeChat, and the next message asks WeChat at once", async () => {
  const [token, openid] = ["cd".repeat(32), "oCHAIN_ENDS_HERE"];
  await registerPhone(cluster, "ian", token);
  await apns.setAnswer(token, { status: 410, reason: "Unregistered", timestamp: Date.now() + 60_000 });
  const browser = await subscribe("ian");
  browser.answer = { status: 404 };
  const device = { platform: "wechat", openid, appid: simulatedWechat.serviceAccount.appid };
  const put = await callCluster(cluster, "PUT", `${cluster.auth.url}/v1/users/ian/devices`, device);
  expect(put.status).toBe(204);
  const first = await send("ian");
  await untilPushed(first);
  const { state, timeline } = await readState(cluster, first);
  expect(state).toBe("pushed");
  expect(timeline.at(-1)).toMatchObject({ event: "pushed", channel: "wechat" });
  expect(await timelineOf(first)).toEqual([
    ["apns", "no-device"],
    ["web", "no-device"],
    ["wechat", "taken"],
  ]);
  await waitFor(async () => (await phonesOf(cluster, "ian")).length === 1, { what: "two to be forgotten" });
  const second = await send("ian");
  await untilPushed(second);
  // Neither Apple nor the push service was asked: what they say of a device stands in `details`.
  const asked = (await readState(cluster, second)).timeline.filter(({ details }) => details !== undefined);
  expect(asked.map(({ channel }) => channel)).toEqual(["wechat"]);
  expect(await wechat.messages(openid)).toHaveLength(2);
  console.log(
    `must show 3: ${JSON.stringify(await timelineOf(first))}; the next asks only ${asked[0]?.channel}`,
  );
});

test("a message asks only the channels that it names", async () => {
  const browser = await subscribe("dan");
  const id = await send("dan", { channels: ["webhook", "apns"] });
  await untilPushed(id);
  expect(await timelineOf(id)).toEqual([
    ["apns", "no-device"],
    ["webhook", "taken"],
  ]);
  expect(browser.notifications).toEqual([]);
});

test("many, with dead and busy ones among them: each gets its own, once; dead ones are removed", async () => {
  const users = Array.from({ length: sized(5_000, 60) }, (_, n) => `many-${n}`);
  const browsers = new Map<string, Subscription>();
  for (let start = 0; start < users.length; start += 50) {
    await Promise.all(
      users.slice(start, start + 50).map(async (user) => void browsers.set(user, await subscribe(user))),
    );
  }
  const isDead = (n: number): boolean => n % 10 === 3;
  const isBusy = (n: number): boolean => n % 10 === 7;
  for (const [n, user] of users.entries()) {
    const browser = browsers.get(user);
    if (browser === undefined) continue;
    if (isDead(n)) browser.answer = { status: n % 20 === 3 ? 410 : 404 };
    if (isBusy(n)) browser.answer = { status: 429, retryAfter: 1, times: 1 };
  }
  const dispatcher = cluster.dispatchers[0];
  if (dispatcher === undefined) throw new Error("no dispatcher");
  const [cpuBefore, startedMs] = [cpuMs(dispatcher.pid), performance.now()];
  for (let start = 0; start < users.length; start += 500) {
    const messages = users.slice(start, start + 500).map((user) => ({
      to: { user },
      data: 1,
      notification: { title: "t", body: user },
      channels: ["web"],
    }));
    await cluster.post("/v1/messages/batch", { messages });
  }
  const living = users.filter((_user, n) => !isDead(n));
  const got = (user: string) => browsers.get(user)?.notifications ?? [];
  await waitFor(() => living.every((user) => got(user).length > 0), {
    what: "all pushes",
    deadlineMs: 120_000,
  });
  const tookMs = performance.now() - startedMs;
  const cpu = cpuMs(dispatcher.pid) - cpuBefore;
  const dead = users.length - living.length;
  await waitFor(
    async () => {
      const counted = await metricOf([dispatcher.url], "petrel_web_push_invalidations_total", {
        outcome: "forgotten",
      });
      return counted >= dead + 1;
    },
    { what: "the dead to be forgotten", deadlineMs: 60_000 },
  );
  for (const [n, user] of users.entries()) {
    const shown = got(user).map(
      ({ payload }) => (payload as { readonly notification: { readonly body: string } }).notification.body,
    );
    expect(shown, user).toEqual(isDead(n) ? [] : [user]);
  }
  for (const n of [3, 13, 7, 0]) expect(await phonesOf(cluster, `many-${n}`)).toHaveLength(isDead(n) ? 0 : 1);
  console.log(
    `must show 4: ${users.length} Web Push sends (${dead} dead, as many busy at first) in ${Math.round(tookMs)} ms; ` +
      `dispatch used ${((cpu * 1_000) / users.length).toFixed(0)} µs of CPU for each`,
  );
}, 240_000);

test("APNs black-holed: Web Push and WeChat are as fast as before", async () => {
  const browser = await subscribe("fay");
  const device = { platform: "wechat", openid: "oQUICK", appid: simulatedWechat.serviceAccount.appid };
  await callCluster(cluster, "PUT", `${cluster.auth.url}/v1/users/gus/devices`, device);
  const viaWechat = async (): Promise<number> => {
    const startedMs = performance.now();
    await untilPushed(await send("gus"));
    return performance.now() - startedMs;
  };
  await viaWechat();
  const count = sized(200, 10);
  const latencies = async (): Promise<number[]> => {
    const took: number[] = [];
    for (let n = 0; n < count; n++) {
      const [before, startedMs] = [browser.notifications.length, performance.now()];
      await send("fay");
      await waitFor(() => browser.notifications.length > before, {
        what: "the push",
        everyMs: 2,
        deadlineMs: 30_000,
      });
      took.push(performance.now() - startedMs);
    }
    return took.toSorted((a, b) => a - b);
  };
  await latencies();
  const quiet = await latencies();
  const wechatQuiet = await viaWechat();
  const tokens = Array.from({ length: 20 }, (_, n) => n.toString(16).padStart(64, "c"));
  for (const [n, token] of tokens.entries()) await registerPhone(cluster, `gil-${n}`, token);
  await apns.setBehaviour({ blackhole: true });
  // More than APNs has places for: they wait in its own queue.
  for (let round = 0; round < 15; round++) {
    const messages = tokens.map((_token, n) => ({
      to: { user: `gil-${n}` },
      data: 1,
      priority: "high",
      notification: { title: "t", body: "b" },
    }));
    await cluster.post("/v1/messages/batch", { messages });
  }
  const url = cluster.dispatchers[0]?.url ?? "";
  await waitFor(async () => (await metricOf([url], "petrel_fallback_sending", { channel: "apns" })) === 256, {
    what: "all places of APNs to be taken",
    deadlineMs: 30_000,
  });
  const meanwhile = await latencies();
  const wechatMeanwhile = await viaWechat();
  expect(await metricOf([url], "petrel_fallback_sending", { channel: "apns" })).toBeGreaterThan(100);
  const [p50, p90] = [0.5, 0.9].map((part) => (list: number[]) => list[Math.floor(part * list.length)] ?? 0);
  console.log(
    `must show 5: Web Push p50/p90 ${p50?.(quiet).toFixed(1)}/${p90?.(quiet).toFixed(1)} ms before, ` +
      `${p50?.(meanwhile).toFixed(1)}/${p90?.(meanwhile).toFixed(1)} ms while APNs swallows everything; ` +
      `WeChat ${wechatQuiet.toFixed(0)} and ${wechatMeanwhile.toFixed(0)} ms`,
  );
  await apns.setBehaviour({ blackhole: false });
}, 180_000);

/** User and system, of a process; clock ticks are 10 ms. */
function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

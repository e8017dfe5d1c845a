// Flow: users who are away, and WeChat, across real dispatchers with the simulator in WeChat's place.
// Guarantees: a message ends in WeChat where nothing before it reaches its user; the dispatchers share one access token,
// and one that dies while it fetches it holds the others up for as long as its lock, no longer.
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { platform } from "node:os";
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
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { callCluster, phonesOf, readState, registerPhone } from "../support/phones/cluster-with-phones.js";
import { sized } from "../support/sizes.js";

const { appid } = simulatedWechat.serviceAccount;
const notification = { title: "You have mail", body: "from Bob" };
const dispatchers = sized(10, 2);
const timeoutMs = sized(16_000, 6_000);

let apns: TestApnsSimulator;
let wechat: TestWechatSimulator;
let cluster: TestCluster;
beforeAll(async () => {
  [apns, wechat] = await Promise.all([startApnsSimulator(), startWechatSimulator()]);
  cluster = await startCluster({
    dispatchers,
    together: (name) => !name.startsWith("dispatch"),
    environment: {
      ...apns.environment,
      ...wechat.environment,
      ACK_TIMEOUT_MS: "1000",
      LEASE_MS: "1000",
      OFFLINE_SETTLE_MS: "100",
      APNS_TIMEOUT_MS: "2000",
      // Half of it a fetch may take, so long there is to find out whose it is.
      WECHAT_TIMEOUT_MS: String(timeoutMs),
      FALLBACK_CLAIM_MS: String(2 * timeoutMs + 1_000),
      FALLBACK_RETRY_BASE_MS: "50",
      FALLBACK_RETRY_CAP_MS: "500",
    },
  });
});
afterAll(async () => {
  await cluster?.stop();
  await Promise.all([apns?.stop(), wechat?.stop()]);
});

async function bind(user: string): Promise<string> {
  const openid = `o${randomBytes(12).toString("hex")}`;
  const url = `${cluster.auth.url}/v1/users/${user}/devices`;
  const { status } = await callCluster(cluster, "PUT", url, { platform: "wechat", openid, appid });
  expect(status).toBe(204);
  return openid;
}

async function send(user: string): Promise<string> {
  const answer = await cluster.post("/v1/messages", { to: { user }, data: {}, notification });
  return (answer as { id: string }).id;
}

const untilPushed = (id: string) =>
  waitFor(async () => (await readState(cluster, id)).state === "pushed", {
    what: "the message to be pushed",
    deadlineMs: 120_000,
  });

test("an iPhone with an expired token, and an openid: the message ends in WeChat; the next one begins there", async () => {
  const token = randomBytes(32).toString("hex");
  await registerPhone(cluster, "ada", token);
  const openid = await bind("ada");
  await apns.setAnswer(token, { status: 410, reason: "Unregistered", timestamp: Date.now() + 60_000 });
  const id = await send("ada");
  await untilPushed(id);
  expect(await wechat.messages(openid)).toMatchObject([
    {
      appid,
      templateId: "T-notice",
      clientMsgId: id,
      data: { thing1: { value: notification.title }, thing2: { value: notification.body } },
      times: 1,
    },
  ]);
  const { timeline } = await readState(cluster, id);
  const attempts = timeline.flatMap(({ channel, outcome }) =>
    outcome === undefined ? [] : [`${channel} ${outcome}`],
  );
  // On a busy machine Apple may have to be asked again.
  expect(attempts.find((one) => one !== "apns retry")).toBe("apns no-device");
  expect(attempts.at(-1)).toBe("wechat taken");
  expect(JSON.stringify(timeline)).not.toContain(openid);
  await waitFor(async () => (await phonesOf(cluster, "ada")).length === 1, {
    what: "the iPhone to be forgotten",
  });
  const next = await send("ada");
  await untilPushed(next);
  // Apple is not asked again.
  const again = (await readState(cluster, next)).timeline.filter(({ channel }) => channel === "apns");
  expect(again.map(({ outcome, details }) => [outcome, details])).toEqual([["no-device", undefined]]);
});

test.runIf(platform() === "linux")(
  "the dispatcher that fetches the token is killed: another fetches it, once; every message arrives once",
  async () => {
    const users = Array.from({ length: sized(200, 20) }, (_, i) => `wechat${i}`);
    const openids = await Promise.all(users.map(bind));
    await wechat.revokeTokens();
    // One that the dispatchers still hold: what they learn of it is that it is refused.
    await wechat.setBehaviour({ tokenLatencyMs: 600_000 });
    const before = await wechat.stats();
    const ids = await Promise.all(users.map(send));
    await waitFor(async () => (await wechat.stats()).tokenFetches > before.tokenFetches, {
      what: "a dispatcher to ask for a token",
      deadlineMs: 60_000,
    });
    const port = Number(new URL(wechat.url).port);
    const fetching = cluster.dispatchers.find(({ pid }) => isWaitingFor(pid, port));
    expect(fetching).toBeDefined();
    fetching?.signal("SIGKILL");
    await fetching?.exited;
    await wechat.setBehaviour({ tokenLatencyMs: 0 });
    const killedAtMs = performance.now();
    await waitFor(async () => (await wechat.stats()).tokenFetches > before.tokenFetches + 1, {
      what: "another one to ask",
      deadlineMs: 60_000,
    });
    const waitedMs = Math.round(performance.now() - killedAtMs);
    // Each look is a request: one after the other.
    for (const id of ids) await untilPushed(id);
    const received = await Promise.all(openids.map(wechat.messages));
    expect(received.map((list) => list.map(({ times }) => times))).toEqual(openids.map(() => [1]));
    const after = await wechat.stats();
    // The same token, twice: WeChat gives out the one that it made for the dead one.
    expect([after.tokens - before.tokens, after.tokenFetches - before.tokenFetches]).toEqual([1, 2]);
    process.stdout.write(
      `${dispatchers} dispatchers, ${users.length} sends: the next fetch came ${waitedMs} ms after the kill\n`,
    );
  },
);

/** Whether this process has a connection to that port on which it is owed an answer: none other is open then. */
function isWaitingFor(pid: number, port: number): boolean {
  const inodes = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
      } catch {
        return [];
      }
    }),
  );
  const remote = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .some(
      (fields) => fields[2]?.endsWith(remote) === true && fields[3] === "01" && inodes.has(fields[9] ?? ""),
    );
}

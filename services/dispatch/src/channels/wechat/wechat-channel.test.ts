// Tests the WeChat channel on real Redis, against the WeChat simulator of the local run.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { InvalidationsStore } from "@petrel/shared/redis/devices/invalidations-store";
import {
  simulatedWechat,
  type TestWechatSimulator,
} from "@petrel/shared/testing/cluster/start-wechat-simulator";
import { message, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { sized } from "../../../../../test/support/sizes.js";
import { describeChannel, job } from "../../testing/channel-conformance.js";
import { WechatUnderTest } from "../../testing/wechat-under-test.js";

const { serviceAccount, miniProgram } = simulatedWechat;
const never = new AbortController().signal;

let given: WechatUnderTest;
let simulator: TestWechatSimulator;
let store: OpenStore;

beforeAll(async () => {
  given = await WechatUnderTest.start();
  ({ simulator, store } = given);
});
beforeEach(() => given.clear());
afterEach(() => given.closeChannels());
afterAll(() => given?.stop());

describeChannel("WeChat", async () => {
  await simulator.clear();
  const { channel } = given.open();
  const openid = await given.register(job.userId);
  return {
    channel,
    behave: async (as) => {
      if (as === "refuse") await simulator.setUser(openid, { answer: { errcode: 47003 } });
      if (as === "fail for now") await simulator.setUser(openid, { answer: { errcode: -1 } });
      if (as === "hang") await simulator.setBehaviour({ blackhole: true });
    },
    received: async () =>
      (await simulator.messages(openid)).flatMap(({ clientMsgId = "", data, times }) =>
        Array.from({ length: times }, () => ({
          id: clientMsgId,
          notification: { title: data["thing1"]?.value, body: data["thing2"]?.value },
        })),
      ),
    close: () => simulator.setBehaviour({ blackhole: false }),
  };
});

describe("a user's openids", () => {
  test("each get the message, through their app's own interface", async () => {
    const [account, program] = [
      await given.register("both"),
      await given.register("both", miniProgram.appid),
    ];
    const answer = await given.open().channel.send(given.newJob("both"), never);
    expect(answer).toMatchObject({ outcome: "taken" });
    expect(answer.notes).toHaveLength(2);
    expect(await simulator.messages(account)).toMatchObject([
      { kind: "service-account", templateId: "T-notice" },
    ]);
    expect(await simulator.messages(program)).toMatchObject([
      { kind: "mini-program", templateId: "T-subscribe" },
    ]);
  });

  test("that already have it do not get it again by the retry for another", async () => {
    const [account, program] = [
      await given.register("half"),
      await given.register("half", miniProgram.appid),
    ];
    await simulator.setUser(program, { answer: { errcode: -1, times: 1 } });
    const { channel } = given.open();
    // Its record, by which the store knows the message.
    const stored = await store.accepter().accept(message({ userId: "half", id: "p0_half", ttlMs: 600_000 }));
    if (stored.outcome !== "stored") throw new Error(stored.outcome);
    const sending = given.newJob("half", { id: "p0_half", seq: stored.seq, epoch: stored.epoch });
    expect(await channel.send(sending, never)).toMatchObject({ outcome: "retry" });
    expect(await channel.send({ ...sending, attempt: 2 }, never)).toMatchObject({ outcome: "taken" });
    expect(await simulator.messages(account)).toMatchObject([{ times: 1 }]);
    expect(await simulator.messages(program)).toHaveLength(1);
  });

  test("are none if the user has no device, or only one of an app that is not configured", async () => {
    const { channel } = given.open();
    expect(await channel.send(given.newJob("nobody"), never)).toEqual({ outcome: "no-device" });
    await given.register("elsewhere", "wx-unknown");
    expect(await channel.send(given.newJob("elsewhere"), never)).toMatchObject({
      outcome: "no-device",
      notes: [{ reason: "nothing is configured for wx-unknown" }],
    });
  });

  test("are never logged in full", async () => {
    const openid = await given.register("private");
    await simulator.setUser(openid, { answer: { errcode: 43117 } });
    expect(JSON.stringify(await given.open().channel.send(given.newJob("private"), never))).not.toContain(
      openid,
    );
  });
});

describe("what WeChat answers", () => {
  const sendTo = async (errcode: number, errmsg?: string) => {
    const user = `u${errcode}`;
    const openid = await given.register(user);
    await simulator.setUser(openid, {
      answer: { errcode, times: 1, ...(errmsg === undefined ? {} : { errmsg }) },
    });
    const opened = given.open();
    return { user, openid, opened, answer: await opened.channel.send(given.newJob(user), never) };
  };

  test("-1: retried with the usual pauses", async () => {
    const { answer } = await sendTo(-1);
    expect(answer).toMatchObject({ outcome: "retry", reason: "-1: WeChat is busy (system error)" });
  });

  test("45011: retried in the next minute, and nothing is sent meanwhile", async () => {
    const { answer, opened } = await sendTo(45011);
    expect(answer).toMatchObject({ outcome: "retry", reason: expect.stringMatching(/^45011: .*minute/) });
    const other = await given.register("patient");
    const held = await opened.channel.send(given.newJob("patient"), never);
    expect(held).toMatchObject({ outcome: "retry", reason: expect.stringMatching(/^45011/) });
    for (const one of [answer, held]) {
      const afterMs = one.outcome === "retry" ? (one.afterMs ?? 0) : 0;
      expect(afterMs).toBeGreaterThan(0);
      expect(afterMs).toBeLessThan(60_000 * 1.25 + 200);
    }
    expect(await simulator.messages(other)).toEqual([]);
    expect(await opened.metric("petrel_wechat_app_closed", { appid: serviceAccount.appid })).toBe(1);
  });

  test("45009: parked until midnight in Beijing", async () => {
    const { answer } = await sendTo(45009);
    const afterMs = answer.outcome === "retry" ? (answer.afterMs ?? 0) : 0;
    const midnightMs = 86_400_000 - ((given.wallMs + 8 * 3_600_000) % 86_400_000);
    expect(afterMs).toBeGreaterThan(midnightMs - 60_000);
    expect(afterMs).toBeLessThan(midnightMs + 120_000);
  });

  test("43101: this template is not sent to this openid again until it registers again", async () => {
    const { user, openid, answer, opened } = await sendTo(43101);
    expect(answer).toMatchObject({
      outcome: "no-device",
      notes: [{ reason: expect.stringMatching(/^43101/) }],
    });
    expect(await opened.channel.send(given.newJob(user), never)).toMatchObject({
      outcome: "no-device",
      notes: [{ reason: "the user has refused messages of this template" }],
    });
    expect(await simulator.messages(openid)).toEqual([]);
    const wechat = { template_id: "T-amount", data: { amount1: "¥5", time2: "15:01" } };
    const other = JSON.stringify({ title: "a", body: "b", wechat });
    expect(await opened.channel.send(given.newJob(user, { notification: other }), never)).toMatchObject({
      outcome: "taken",
    });
    await given.devices.register(
      user,
      { platform: "wechat", openid, appid: serviceAccount.appid },
      Date.now() + 1,
    );
    expect(await opened.channel.send(given.newJob(user), never)).toMatchObject({ outcome: "taken" });
  });

  test.each([
    [43116, "misconfigured", "the template is banned"],
    [45109, "misconfigured", "WeChat no longer supports this kind of message for the app"],
    [40037, "misconfigured", "this app has no such template"],
    [48001, "misconfigured", "the app has no right to this interface"],
    [40164, "misconfigured", "this server's address is not on the app's list of allowed addresses"],
    [43117, "rejected", "too many messages to this user"],
  ])("%i: a dead letter, %s, with its meaning", async (errcode, cause, meaning) => {
    const { answer } = await sendTo(errcode);
    expect(answer).toMatchObject({
      outcome: "failed",
      cause,
      reason: expect.stringContaining(`${errcode}: ${meaning}`),
    });
    expect(answer.notes).toMatchObject([
      { details: { appid: serviceAccount.appid, rid: expect.stringMatching(/./) } },
    ]);
  });

  test("47003: a dead letter that names the field", async () => {
    const { answer } = await sendTo(47003, "argument invalid! data.thing2.value invalid rid: 1-2-3");
    expect(answer).toMatchObject({
      outcome: "failed",
      cause: "rejected",
      reason: expect.stringContaining("data.thing2"),
    });
  });

  test.each([
    [40003, "openid-invalid"],
    [43004, "not-following"],
  ])("%i: the device is removed, and that is recorded", async (errcode, reason) => {
    const { user, openid, answer, opened } = await sendTo(errcode);
    expect(answer).toMatchObject({
      outcome: "no-device",
      notes: [{ reason: expect.stringContaining(String(errcode)) }],
    });
    await waitFor(async () => (await given.devices.list(user)).length === 0, {
      what: "the device to be forgotten",
    });
    const { items } = await new InvalidationsStore(store.redis, store.partitions).list(
      undefined,
      undefined,
      10,
    );
    expect(items).toMatchObject([
      { outcome: "forgotten", reason, userId: user, tokenEnd: openid.slice(-6), topic: serviceAccount.appid },
    ]);
    expect(await opened.channel.send(given.newJob(user), never)).toEqual({ outcome: "no-device" });
    expect(await opened.metric("petrel_wechat_invalidations_total", { outcome: "forgotten", reason })).toBe(
      1,
    );
  });

  test.each([40001, 40014, 42001])("%i: sent once more with another token", async (errcode) => {
    const { openid, answer } = await sendTo(errcode);
    expect(answer).toMatchObject({ outcome: "retry" });
    // (The simulator's stable token is still good, so it gives out the same: it is left alone for a moment.)
    expect(answer).toMatchObject({ reason: expect.stringContaining("a token that it refuses") });
    expect(await simulator.messages(openid)).toEqual([]);
  });

  test("a revoked token: the message arrives with the next", async () => {
    const openid = await given.register("revoked");
    const { channel, metric } = given.open();
    expect(await channel.send(given.newJob("revoked"), never)).toMatchObject({ outcome: "taken" });
    await simulator.revokeTokens();
    expect(await channel.send(given.newJob("revoked"), never)).toMatchObject({ outcome: "taken" });
    expect(await simulator.messages(openid)).toHaveLength(2);
    expect(await metric("petrel_wechat_token_refreshes_total", { outcome: "fetched" })).toBe(2);
  });

  test("no token available: misconfigured, or retried later", async () => {
    await given.register("tokenless");
    await simulator.setBehaviour({ tokenAnswer: { errcode: 40164 } });
    const { channel, metric } = given.open();
    expect(await channel.send(given.newJob("tokenless"), never)).toMatchObject({
      outcome: "failed",
      cause: "misconfigured",
      reason: expect.stringContaining("no access token: 40164"),
    });
    const failed = { appid: serviceAccount.appid, outcome: "failed", code: "40164" };
    expect(await metric("petrel_wechat_token_refreshes_total", failed)).toBe(1);
    await store.clear();
    await given.register("tokenless");
    await simulator.setBehaviour({ tokenAnswer: { errcode: 45009 } });
    expect(await channel.send(given.newJob("tokenless"), never)).toMatchObject({
      outcome: "retry",
      reason: expect.stringContaining("no access token: 45009"),
    });
  });
});

test("a probe fetches a token as a send does, verifies it, and reaches nobody", async () => {
  const before = await simulator.stats();
  const { channel } = given.open();
  const verdicts = async (from = channel) =>
    (await from.probe(never)).map(({ credential, verdict }) => [credential, verdict]);
  const apps = [serviceAccount.appid, miniProgram.appid];
  expect(await verdicts()).toEqual(apps.map((appid) => [appid, "good"]));
  await simulator.revokeTokens();
  expect(await verdicts()).toEqual(apps.map((appid) => [appid, "good"]));
  const { messages, tokenFetches } = await simulator.stats();
  expect([messages - before.messages, tokenFetches - before.tokenFetches]).toEqual([0, 4]);
  const away = given.open({ WECHAT_ENDPOINT: "http://127.0.0.1:1" });
  expect(await verdicts(away.channel)).toEqual(apps.map((appid) => [appid, "unreachable"]));
  await store.clear();
  await simulator.setBehaviour({ tokenAnswer: { errcode: 40164, times: 2 } });
  expect(await verdicts(given.open().channel)).toEqual(apps.map((appid) => [appid, "refused"]));
});

describe("a send without an answer", () => {
  test("is repeated with the same id while WeChat recognises it, and shown once", async () => {
    const openid = await given.register("slow");
    await simulator.setBehaviour({ latencyMs: 60_000 });
    const { channel } = given.open({ WECHAT_TIMEOUT_MS: "1000" });
    const sending = given.newJob("slow");
    expect(await channel.send(sending, never)).toMatchObject({ outcome: "retry" });
    await simulator.setBehaviour({ latencyMs: 0 });
    expect(await channel.send({ ...sending, attempt: 2 }, never)).toMatchObject({ outcome: "taken" });
    expect(await simulator.messages(openid)).toMatchObject([{ clientMsgId: sending.id, times: 2 }]);
  });

  test("is not repeated later: it could be shown twice", async () => {
    const openid = await given.register("too-slow");
    await simulator.setBehaviour({ latencyMs: 60_000 });
    const { channel } = given.open({ WECHAT_TIMEOUT_MS: "1000" });
    const sending = given.newJob("too-slow");
    await channel.send(sending, never);
    await simulator.setBehaviour({ latencyMs: 0 });
    const later = { ...sending, attempt: 9, serverNowMs: () => given.wallMs + 9.6 * 60_000 };
    expect(await channel.send(later, never)).toMatchObject({
      outcome: "failed",
      cause: "rejected",
      reason: expect.stringContaining("would not know its repetition"),
    });
    expect(await simulator.messages(openid)).toMatchObject([{ times: 1 }]);
    // Another message is another matter.
    const other = { ...given.newJob("too-slow"), serverNowMs: later.serverNowMs };
    expect(await channel.send(other, never)).toMatchObject({ outcome: "taken" });
  });
});

describe("many dispatchers", () => {
  test("ten with an expired token send 200 messages at once with one new token", async () => {
    await simulator.revokeTokens();
    const before = await simulator.tokens();
    const dispatchers = await Promise.all(Array.from({ length: 10 }, () => given.openApart()));
    const openids = await Promise.all(Array.from({ length: 200 }, (_, i) => given.register(`many${i}`)));
    const answers = await Promise.all(
      openids.map(async (_openid, i) => dispatchers[i % 10]?.channel.send(given.newJob(`many${i}`), never)),
    );
    expect(new Set(answers.map((answer) => answer?.outcome))).toEqual(new Set(["taken"]));
    const issued = (await simulator.tokens()).slice(before.length);
    expect(issued).toMatchObject([{ appid: serviceAccount.appid, fetches: 1 }]);
  });

  test("a token revoked in a burst: all messages arrive, each once", async () => {
    const count = sized(2_000, 120);
    await simulator.clear();
    const dispatchers = await Promise.all(Array.from({ length: 4 }, () => given.openApart()));
    const openids = await Promise.all(Array.from({ length: count }, (_, i) => given.register(`burst${i}`)));
    const before = (await simulator.tokens()).length;
    let done = 0;
    const sends = openids.map(async (_openid, i) => {
      const answer = await dispatchers[i % 4]?.channel.send(given.newJob(`burst${i}`), never);
      done++;
      return answer?.outcome;
    });
    await waitFor(() => done > count / 4, { what: "a quarter of the burst" });
    expect(await simulator.revokeTokens()).toBeGreaterThan(0);
    expect(new Set(await Promise.all(sends))).toEqual(new Set(["taken"]));
    const received = await Promise.all(openids.map((openid) => simulator.messages(openid)));
    expect(received.filter((list) => list.length === 1 && list[0]?.times === 1)).toHaveLength(count);
    // One to begin with, where none was good, and one after the revocation.
    expect((await simulator.tokens()).length - before).toBeLessThanOrEqual(2);
    expect((await simulator.stats()).answers["40001"]).toBeGreaterThan(0);
  });
});

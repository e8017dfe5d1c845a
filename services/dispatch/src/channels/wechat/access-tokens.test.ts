// Tests the single access token of an app on real Redis: managers of several dispatchers, one WeChat that counts.
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "@petrel/shared/kernel/clock";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { AccessTokenStore } from "@petrel/shared/redis/wechat/access-token-store";
import { createAtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { AccessTokens, type AccessTokensOptions, type TokenAnswer } from "./access-tokens.js";
import type { WechatApp } from "./wechat-apps.js";

const app: WechatApp = {
  appid: "wx1",
  kind: "service-account",
  secret: "s3cr3t",
  template: undefined,
  opens: {},
};
type Fetched = Awaited<ReturnType<AccessTokensOptions["client"]["fetchToken"]>>;

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

/** WeChat, as far as tokens go. */
class FarSide {
  fetches = 0;
  /** What it answers from now on, instead of a new token each time. */
  answer: (() => Promise<Fetched> | Fetched) | undefined;

  readonly fetchToken = async (): Promise<Fetched> => {
    this.fetches++;
    if (this.answer !== undefined) return this.answer();
    return granted(`token-${this.fetches}`);
  };
}

const granted = (token: string, expiresInMs = 7_200_000): Fetched => ({
  kind: "granted",
  token,
  expiresInMs,
});

function dispatcher(client: FarSide, more: Partial<AccessTokensOptions> = {}): AccessTokens {
  return new AccessTokens({
    store: new AccessTokenStore(store.scripts, store.partitions),
    client,
    cipher: undefined,
    lockMs: 5_000,
    clock: systemClock,
    logger: createLogger({ service: "test", level: "silent" }),
    onFetch: () => undefined,
    ...more,
  });
}

const textOf = (answer: TokenAnswer): string => (answer.kind === "token" ? answer.token.text : answer.reason);
const all = (managers: readonly AccessTokens[]): Promise<string[]> =>
  Promise.all(managers.map(async (one) => textOf(await one.current(app))));
const many = (client: FarSide, more: Partial<AccessTokensOptions> = {}): AccessTokens[] =>
  Array.from({ length: 10 }, () => dispatcher(client, more));

describe("one token for all", () => {
  test("ten dispatchers that ask twenty times each at once fetch one", async () => {
    const client = new FarSide();
    const managers = many(client);
    const texts = await all(Array.from({ length: 20 }, () => managers).flat());
    expect(new Set(texts)).toEqual(new Set(["token-1"]));
    expect(client.fetches).toBe(1);
  });

  test("a later one uses the existing token and does not ask Redis again", async () => {
    const client = new FarSide();
    await dispatcher(client).current(app);
    const late = dispatcher(client);
    expect(textOf(await late.current(app))).toBe("token-1");
    await store.clear();
    expect(textOf(await late.current(app))).toBe("token-1");
    expect(client.fetches).toBe(1);
  });

  test("apps do not share a token", async () => {
    const client = new FarSide();
    const manager = dispatcher(client);
    expect(textOf(await manager.current(app))).toBe("token-1");
    expect(textOf(await manager.current({ ...app, appid: "wx2" }))).toBe("token-2");
  });
});

describe("a holder that dies while it fetches", () => {
  test("delays the others for as long as its right lasts; one of them fetches, once", async () => {
    const client = new FarSide();
    client.answer = () => new Promise<never>(() => undefined);
    void dispatcher(client, { lockMs: 300 }).current(app);
    await waitFor(() => client.fetches === 1, { what: "the fetch that never ends" });
    client.answer = undefined;
    const texts = await all(many(client, { lockMs: 20_000 }));
    expect(new Set(texts)).toEqual(new Set(["token-2"]));
    expect(client.fetches).toBe(2);
  });

  test("and comes back late overwrites nothing: its fence is outdated", async () => {
    const client = new FarSide();
    let answerLate = (_fetched: Fetched): void => undefined;
    client.answer = () => new Promise((resolve) => (answerLate = resolve));
    // However long the others take on a busy machine, it has not waited for too long.
    const still = { ...systemClock, monotonicMs: () => 0 };
    const slow = dispatcher(client, { lockMs: 100, clock: still });
    const asked = slow.current(app);
    await waitFor(() => client.fetches === 1, { what: "the slow fetch" });
    client.answer = undefined;
    expect(textOf(await dispatcher(client, { lockMs: 20_000 }).current(app))).toBe("token-2");
    answerLate(granted("too-late"));
    // It takes what has come meanwhile.
    expect(textOf(await asked)).toBe("token-2");
    expect(textOf(await dispatcher(client).current(app))).toBe("token-2");
  });

  test("waiting is bounded in time", async () => {
    const client = new FarSide();
    client.answer = () => new Promise<never>(() => undefined);
    void dispatcher(client, { lockMs: 600_000 }).current(app);
    await waitFor(() => client.fetches === 1, { what: "the fetch that never ends" });
    const answer = await dispatcher(client, { lockMs: 100 }).current(app);
    expect(answer).toMatchObject({ kind: "none", why: "resting", reason: "no access token in time" });
  });
});

describe("a token that WeChat refuses", () => {
  test("is dropped once and replaced once, whoever reports it", async () => {
    const client = new FarSide();
    const managers = many(client);
    const answers = await Promise.all(managers.map((one) => one.current(app)));
    await Promise.all(
      answers.map(async (answer, i) => {
        if (answer.kind === "token") await managers[i]?.refuse(app, answer.token);
      }),
    );
    expect(new Set(await all(managers))).toEqual(new Set(["token-2"]));
    // One that comes late with the old one takes nothing away.
    const [first] = answers;
    if (first?.kind === "token") await managers[0]?.refuse(app, first.token);
    expect(new Set(await all(many(client)))).toEqual(new Set(["token-2"]));
    expect(client.fetches).toBe(2);
  });

  test("and issues again is not used: WeChat is left alone for a while", async () => {
    const client = new FarSide();
    client.answer = () => granted("the same");
    const outcomes: string[] = [];
    const manager = dispatcher(client, { onFetch: (_appid, outcome) => void outcomes.push(outcome) });
    const first = await manager.current(app);
    if (first.kind === "token") await manager.refuse(app, first.token);
    expect(await manager.current(app)).toMatchObject({
      kind: "none",
      why: "resting",
      reason: "WeChat gives out a token that it refuses",
    });
    await all(many(client));
    expect(client.fetches).toBe(2);
    expect(outcomes).toEqual(["fetched", "doubted"]);
  });
});

describe("a token in its last minutes", () => {
  test("stays in use while one dispatcher fetches the next", async () => {
    const client = new FarSide();
    client.answer = () => granted("old", 200_000);
    await dispatcher(client).current(app);
    // Redis keeps a fresh one for ten seconds, however soon it ends.
    await store.redis.hset(await keyOf(), "refreshAt", "1");
    let answerNext = (_fetched: Fetched): void => undefined;
    client.answer = () => new Promise((resolve) => (answerNext = resolve));
    const managers = many(client);
    expect(new Set(await all(managers))).toEqual(new Set(["old"]));
    expect(client.fetches).toBe(2);
    answerNext(granted("new"));
    await waitFor(async () => textOf(await dispatcher(client).current(app)) === "new", {
      what: "the refreshed token",
    });
    expect(client.fetches).toBe(2);
  });

  test("stays in use while no new one is available", async () => {
    const client = new FarSide();
    client.answer = () => granted("old", 200_000);
    await dispatcher(client).current(app);
    await store.redis.hset(await keyOf(), "refreshAt", "1");
    client.answer = () => ({ kind: "answered", errcode: -1, errmsg: "system error" });
    const managers = many(client);
    expect(new Set(await all([...managers, ...managers]))).toEqual(new Set(["old"]));
  });

  test("is not used once it has expired", async () => {
    const client = new FarSide();
    client.answer = () => granted("old", 200_000);
    await dispatcher(client).current(app);
    await store.redis.hset(await keyOf(), "expiresAt", String((await store.nowMs()) - 1));
    client.answer = undefined;
    expect(textOf(await dispatcher(client).current(app))).toBe("token-2");
  });
});

const keyOf = async (): Promise<string> => (await store.redis.keys("*wechat-token:wx1"))[0] ?? "";

describe("no token available", () => {
  test.each<[number, string, object]>([
    [40125, "invalid appsecret", { why: "halted", reason: "40125: the secret is wrong (invalid appsecret)" }],
    [
      40001,
      "invalid credential rid: 1-2",
      { why: "halted", reason: "40001: the secret is wrong (invalid credential)" },
    ],
    [40013, "invalid appid", { why: "halted" }],
    [
      40164,
      "invalid ip 10.0.0.1, not in whitelist",
      { why: "halted", reason: expect.stringContaining("10.0.0.1") },
    ],
    [-1, "system error", { why: "resting" }],
    [45011, "minute", { why: "resting" }],
    [45009, "day", { why: "resting" }],
  ])("%i: nobody asks again for a while", async (errcode, errmsg, meaning) => {
    const client = new FarSide();
    client.answer = () => ({ kind: "answered", errcode, errmsg });
    const answers = await Promise.all(many(client).map((one) => one.current(app)));
    for (const answer of answers) expect(answer).toMatchObject({ kind: "none", ...meaning });
    expect(client.fetches).toBe(1);
  });

  test("if WeChat does not answer, it is asked again after a moment", async () => {
    const client = new FarSide();
    client.answer = () => ({ kind: "unanswered", why: "ECONNREFUSED", mayHaveArrived: false });
    const manager = dispatcher(client);
    expect(await manager.current(app)).toMatchObject({
      kind: "none",
      why: "resting",
      reason: "ECONNREFUSED",
    });
    client.answer = undefined;
    await waitFor(async () => textOf(await manager.current(app)) === "token-2", { what: "the next try" });
  });
});

describe("a token at rest", () => {
  const cipher = (byte: number) => createAtRestCipher(Buffer.alloc(32, byte));
  const kept = async (): Promise<string> => JSON.stringify(await store.snapshot());

  test("is encrypted if there is a key, and every dispatcher with that key reads it", async () => {
    const client = new FarSide();
    const secret = `t${randomBytes(20).toString("hex")}`;
    client.answer = () => granted(secret);
    const texts = await all([
      dispatcher(client, { cipher: cipher(1) }),
      dispatcher(client, { cipher: cipher(1) }),
    ]);
    expect(texts).toEqual([secret, secret]);
    expect(client.fetches).toBe(1);
    expect(await kept()).not.toContain(secret);
  });

  test("of one app is useless under another's name", async () => {
    const client = new FarSide();
    const manager = dispatcher(client, { cipher: cipher(1) });
    await manager.current(app);
    const other = { ...app, appid: "wx-other" };
    await manager.current(other);
    const keys = (await store.redis.keys("*wechat-token*")).sort();
    const texts = await Promise.all(keys.map((key) => store.redis.hget(key, "token")));
    await Promise.all(keys.map((key, i) => store.redis.hset(key, "token", texts[1 - i] ?? "")));
    expect(textOf(await dispatcher(client, { cipher: cipher(1) }).current(other))).toBe("token-3");
  });

  test("that was sealed with a removed key is fetched again", async () => {
    const client = new FarSide();
    await dispatcher(client, { cipher: cipher(1) }).current(app);
    expect(textOf(await dispatcher(client, { cipher: cipher(2) }).current(app))).toBe("token-2");
  });
});

test("never logs a token or the secret", async () => {
  const file = join(await mkdtemp(join(tmpdir(), "petrel-wechat-log-")), "log");
  const logger = createLogger({ service: "test", level: "trace", file });
  const client = new FarSide();
  const manager = dispatcher(client, { logger });
  const first = await manager.current(app);
  if (first.kind === "token") await manager.refuse(app, first.token);
  await manager.current(app);
  client.answer = () => ({ kind: "answered", errcode: 40125, errmsg: "invalid appsecret" });
  await manager.current({ ...app, appid: "wx3" });
  const lines = await readFile(file, "utf8");
  await rm(dirname(file), { recursive: true });
  expect(lines.split("\n").length).toBeGreaterThan(3);
  expect(lines).not.toMatch(/token-1|token-2|s3cr3t/);
});

// Tests the WeChat simulator's interfaces, as WeChat's pages describe them, and its control API.
import { beforeEach, describe, expect, test } from "vitest";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { buildSimulatorApp } from "../control/simulator-app.js";
import { parseSimulatedApps } from "../state/simulated-apps.js";
import { Simulation } from "../state/simulation.js";
import { findWrongField } from "./check-fields.js";

const apps = [
  { appid: "wx1", secret: "s1", kind: "service-account", templates: { T1: ["thing1", "amount2"] } },
  { appid: "wx2", secret: "s2", kind: "mini-program", templates: { T2: ["thing1"] } },
];
const logger = createLogger({ service: "test", level: "silent" });

let app: HttpApp;
let simulation: Simulation;
beforeEach(async () => {
  simulation = new Simulation(parseSimulatedApps(JSON.stringify(apps)));
  app = await buildSimulatorApp({ version: "1", logger, simulation });
});

interface Answer {
  readonly errcode?: number;
  readonly errmsg?: string;
  readonly access_token?: string;
  readonly expires_in?: number;
  readonly msgid?: number;
}

async function call(method: "GET" | "POST" | "PUT", url: string, body?: unknown) {
  const response = await app.inject({
    method,
    url,
    headers: { host: "127.0.0.1", ...(body === undefined ? {} : { "content-type": "application/json" }) },
    ...(body === undefined ? {} : { payload: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  return {
    status: response.statusCode,
    body: response.body === "" ? undefined : (response.json() as unknown),
  };
}
const ask = async (method: "GET" | "POST", url: string, body?: unknown): Promise<Answer> => {
  const { status, body: answer } = await call(method, url, body);
  expect(status).toBe(200);
  return answer as Answer;
};
const stable = (more: object = {}): Promise<Answer> =>
  ask("POST", "/cgi-bin/stable_token", {
    grant_type: "client_credential",
    appid: "wx1",
    secret: "s1",
    ...more,
  });
const legacy = (): Promise<Answer> =>
  ask("GET", "/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=s1");
const message = {
  touser: "o1",
  template_id: "T1",
  data: { thing1: { value: "hi" }, amount2: { value: "¥5" } },
};
const sendWith = (token: string | undefined, body: unknown = message): Promise<Answer> =>
  ask("POST", `/cgi-bin/message/template/send?access_token=${token ?? ""}`, body);
const pass = (seconds: number): void => void (simulation.aheadMs += seconds * 1_000);
const codeOf = async (answer: Promise<Answer>): Promise<number> => (await answer).errcode ?? 0;

describe("stable_token", () => {
  test("returns the same token until its last five minutes; then both are good", async () => {
    const first = await stable();
    expect(first.expires_in).toBe(7_200);
    expect(first.access_token?.length).toBeGreaterThan(100);
    pass(6_890);
    expect((await stable()).access_token).toBe(first.access_token);
    pass(15);
    const second = await stable();
    expect(second.access_token).not.toBe(first.access_token);
    expect(await codeOf(sendWith(first.access_token))).toBe(0);
    expect(await codeOf(sendWith(second.access_token))).toBe(0);
    pass(300);
    expect(await codeOf(sendWith(first.access_token))).toBe(42_001);
    expect(await codeOf(sendWith(second.access_token))).toBe(0);
  });

  test("forced: a new one, and the old one ends; 30 seconds apart, 20 a day", async () => {
    const first = await stable();
    const second = await stable({ force_refresh: true });
    expect(second.access_token).not.toBe(first.access_token);
    expect(await codeOf(sendWith(first.access_token))).toBe(40_001);
    expect((await stable({ force_refresh: true })).access_token).toBe(second.access_token);
    for (let i = 0; i < 18; i++) {
      pass(31);
      expect(await codeOf(stable({ force_refresh: true }))).toBe(0);
    }
    pass(31);
    expect(await codeOf(stable({ force_refresh: true }))).toBe(45_009);
    expect(await codeOf(stable())).toBe(0);
  });

  test("allows 10,000 a minute, and a number per day", async () => {
    simulation.limits.stableToken = { perMinute: 2, perDay: 3 };
    expect([await codeOf(stable()), await codeOf(stable()), await codeOf(stable())]).toEqual([0, 0, 45_011]);
    pass(60);
    expect([await codeOf(stable()), await codeOf(stable())]).toEqual([0, 45_009]);
    expect(new Simulation(new Map()).limits.stableToken).toEqual({ perMinute: 10_000, perDay: 500_000 });
  });

  test.each<[object, number]>([
    [{ grant_type: "x" }, 40_002],
    [{ appid: "" }, 41_002],
    [{ secret: "" }, 41_004],
    [{ appid: "wx9" }, 40_013],
    [{ secret: "s2" }, 40_125],
  ])("refuses %j", async (more, errcode) => expect(await codeOf(stable(more))).toBe(errcode));

  test("accepts only POST with JSON", async () => {
    expect(await codeOf(ask("GET", "/cgi-bin/stable_token"))).toBe(43_002);
    expect(await codeOf(ask("POST", "/cgi-bin/stable_token", "{"))).toBe(47_001);
    expect(await codeOf(ask("POST", "/cgi-bin/stable_token"))).toBe(44_002);
  });
});

test("the older interface makes a new one each time; the former works for five more minutes", async () => {
  const [first, second] = [await legacy(), await legacy()];
  expect(second.access_token).not.toBe(first.access_token);
  expect([await codeOf(sendWith(first.access_token)), await codeOf(sendWith(second.access_token))]).toEqual([
    0, 0,
  ]);
  pass(301);
  expect([await codeOf(sendWith(first.access_token)), await codeOf(sendWith(second.access_token))]).toEqual([
    42_001, 0,
  ]);
  // It knows nothing of the other one's.
  expect(await codeOf(sendWith((await stable()).access_token))).toBe(0);
  expect(await codeOf(sendWith(second.access_token))).toBe(0);
  await legacy();
  await legacy();
  expect(await codeOf(sendWith(second.access_token))).toBe(40_001);
});

test("returns its own addresses for a good token, without a limit", async () => {
  const addresses = (token = "") => ask("GET", `/cgi-bin/get_api_domain_ip?access_token=${token}`);
  const { access_token: token } = await stable();
  expect(await addresses(token)).toEqual({ ip_list: ["127.0.0.1"] });
  expect(await codeOf(addresses())).toBe(41_001);
  expect(await codeOf(addresses("unknown"))).toBe(40_001);
  expect(await codeOf(ask("POST", "/cgi-bin/get_api_domain_ip"))).toBe(43_001);
  pass(7_300);
  expect(await codeOf(addresses(token))).toBe(42_001);
});

describe("template/send", () => {
  test("shows a message, and one for an openid and a client_msg_id within ten minutes", async () => {
    const { access_token: token } = await stable();
    const first = await sendWith(token, { ...message, client_msg_id: "m1", url: "https://a.test" });
    expect(first).toMatchObject({ errcode: 0, errmsg: "ok", msgid: expect.any(Number) });
    expect((await sendWith(token, { ...message, client_msg_id: "m1" })).msgid).toBe(first.msgid);
    expect((await call("GET", "/users/o1/messages")).body).toEqual([
      {
        at: expect.any(String),
        msgid: first.msgid,
        appid: "wx1",
        kind: "service-account",
        templateId: "T1",
        data: message.data,
        url: "https://a.test",
        clientMsgId: "m1",
        times: 2,
      },
    ]);
    pass(601);
    expect((await sendWith(token, { ...message, client_msg_id: "m1" })).msgid).not.toBe(first.msgid);
  });

  test.each<[object, number]>([
    [{ touser: "" }, 40_003],
    [{ template_id: "T9" }, 40_037],
    [{ data: undefined }, 47_003],
    [{ data: { thing1: { value: "hi" } } }, 47_003],
    [{ data: { ...message.data, thing9: { value: "x" } } }, 47_003],
    [{ data: { ...message.data, thing1: { value: "x".repeat(21) } } }, 47_003],
    [{ url: "nonsense" }, 47_003],
    [{ miniprogram: {} }, 47_003],
    [{ client_msg_id: "x".repeat(65) }, 47_003],
    [{ templateId: "T1" }, 47_001],
  ])("refuses %j", async (more, errcode) => {
    const { access_token: token } = await stable();
    const answer = await sendWith(token, { ...message, ...more });
    expect(answer.errcode).toBe(errcode);
    expect(answer.errmsg).toMatch(/ rid: \w+-\w+-\w+$/);
    expect((await call("GET", "/users/o1/messages")).body).toEqual([]);
  });

  test("names the field", async () => {
    const { access_token: token } = await stable();
    const answer = await sendWith(token, {
      ...message,
      data: { ...message.data, amount2: { value: "five" } },
    });
    expect(answer.errmsg).toContain("data.amount2.value invalid");
  });

  test("refuses no token, an unknown one, or one of the other kind of app", async () => {
    expect(await codeOf(sendWith(""))).toBe(41_001);
    expect(await codeOf(sendWith("nonsense"))).toBe(40_001);
    const { access_token: token } = await stable({ appid: "wx2", secret: "s2" });
    expect(await codeOf(sendWith(token))).toBe(48_001);
    const subscribe = { touser: "o1", template_id: "T2", data: { thing1: { value: "x" } }, page: "pages/a" };
    expect(
      await codeOf(ask("POST", `/cgi-bin/message/subscribe/send?access_token=${token}`, subscribe)),
    ).toBe(0);
  });

  test("has limits per minute and per day", async () => {
    const { access_token: token } = await stable();
    simulation.limits.send = { perMinute: 1, perDay: 2 };
    expect([await codeOf(sendWith(token)), await codeOf(sendWith(token))]).toEqual([0, 45_011]);
    pass(60);
    expect([await codeOf(sendWith(token)), await codeOf(sendWith(token))]).toEqual([0, 45_009]);
  });
});

describe("the control API", () => {
  test("revokes the tokens of one app, or of all, without a body too", async () => {
    const [one, two] = [await stable(), await stable({ appid: "wx2", secret: "s2" })];
    expect((await call("POST", "/tokens/revoke", { appid: "wx1" })).body).toEqual({ revoked: 1 });
    expect(await codeOf(sendWith(one.access_token))).toBe(40_001);
    expect(await call("POST", "/tokens/revoke")).toEqual({ status: 200, body: { revoked: 1 } });
    expect((await call("GET", "/tokens")).body).toMatchObject([
      { appid: "wx1", token: one.access_token, good: false, fetches: 1 },
      { appid: "wx2", token: two.access_token, good: false, fetches: 1 },
    ]);
    expect((await stable()).access_token).not.toBe(one.access_token);
  });

  test("scripts an answer for an openid, refusals, and who does not follow", async () => {
    const { access_token: token } = await stable();
    expect((await call("PUT", "/users/o1", { answer: { errcode: 43_116, times: 1 } })).status).toBe(204);
    expect([await codeOf(sendWith(token)), await codeOf(sendWith(token))]).toEqual([43_116, 0]);
    await call("PUT", "/users/o1", { refuses: ["T1"] });
    expect(await codeOf(sendWith(token))).toBe(43_101);
    await call("PUT", "/users/o1", { refuses: [], follows: false });
    expect(await codeOf(sendWith(token))).toBe(43_004);
    await call("PUT", "/users/o1", { follows: true, answer: { errcode: -1 } });
    await call("PUT", "/users/o1", { answer: null });
    expect(await codeOf(sendWith(token))).toBe(0);
  });

  test("accepts another template and refuses what it does not know", async () => {
    const { access_token: token } = await stable();
    expect((await call("PUT", "/apps/wx1/templates/T7", { fields: ["thing1"] })).status).toBe(204);
    const own = { touser: "o1", template_id: "T7", data: { thing1: { value: "x" } } };
    expect(await codeOf(sendWith(token, own))).toBe(0);
    expect((await call("PUT", "/apps/wx9/templates/T7", { fields: ["thing1"] })).status).toBe(404);
    expect((await call("PUT", "/behaviour", { latency: 1 })).status).toBe(400);
    expect((await call("GET", "/users/o%201/messages")).status).toBe(400);
  });

  test("refuses web pages and foreign host names", async () => {
    const foreign = await app.inject({ url: "/tokens", headers: { host: "evil.example" } });
    const page = await app.inject({
      url: "/tokens",
      headers: { host: "127.0.0.1", origin: "http://a.test" },
    });
    expect([foreign.statusCode, page.statusCode]).toEqual([403, 403]);
  });
});

test.each([
  ["thing1", "x".repeat(20), "x".repeat(21)],
  ["number1", "3.14", "3,14"],
  ["letter1", "abc", "ab1"],
  ["symbol1", "!?", "!a"],
  ["character_string1", "A-1", "订单"],
  ["time1", "2019年10月1日 15:01~16:00", "25:00"],
  ["date1", "2018/01/01", "soon"],
  ["amount1", "¥100.5元", "a lot"],
  ["phone_number1", "+86-0766-66888866", "call me"],
  ["car_number1", "粤A8Z888挂", "粤粤粤"],
  ["name1", "欧阳", "R2D2"],
  ["phrase1", "配送中", "ok"],
])("%s takes %s, not %s", (field, good, bad) => {
  expect(findWrongField([field], { [field]: { value: good } })).toBeUndefined();
  expect(findWrongField([field], { [field]: { value: bad } })).toContain(`data.${field}.value invalid`);
});

// Tests the APNs simulator's control API over HTTP, and what a phone shows.
// Guarantees: the contract's paths and shapes; strict requests; a screen as a person sees it.
import { randomBytes, randomUUID } from "node:crypto";
import { request } from "node:http";
import {
  connectProvider,
  signProviderToken,
  type RawProvider,
} from "@petrel/shared/testing/peers/raw-apns-provider";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { afterAll, beforeAll, expect, test } from "vitest";

let simulator: TestApnsSimulator;
let provider: RawProvider;
let authorization: string;

beforeAll(async () => {
  simulator = await startApnsSimulator();
  provider = await connectProvider(simulator.endpoint, simulator.caFile);
  authorization = `bearer ${signProviderToken(simulator)}`;
});
afterAll(async () => {
  provider?.close();
  await simulator?.stop();
});

const newToken = (): string => randomBytes(32).toString("hex");

interface Push {
  readonly id?: string;
  readonly collapseId?: string;
  readonly type?: string;
  readonly aps: Readonly<Record<string, unknown>>;
}

async function push(token: string, { id = randomUUID(), collapseId, type = "alert", aps }: Push) {
  const answer = await provider.send(
    {
      ":method": "POST",
      ":path": `/3/device/${token}`,
      authorization,
      "apns-id": id,
      "apns-topic": "com.example.petrel",
      "apns-push-type": type,
      "apns-priority": "5",
      ...(collapseId === undefined ? {} : { "apns-collapse-id": collapseId }),
    },
    JSON.stringify({ aps }),
  );
  expect(answer.status).toBe(200);
}

async function call(method: string, path: string, body?: unknown) {
  const response = await fetch(simulator.controlUrl + path, {
    method,
    ...(body === undefined
      ? {}
      : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: (text === "" ? undefined : JSON.parse(text)) as unknown };
}

test("lists every notification; the screen shows one for a collapse id and one for an apns-id", async () => {
  const token = newToken();
  const id = randomUUID();
  await push(token, { collapseId: "score", aps: { alert: "1:0", badge: 1 } });
  await push(token, { id, aps: { alert: "once" } });
  await push(token, { collapseId: "score", aps: { alert: "2:0", badge: 2 } });
  await push(token, { id, collapseId: "other", aps: { alert: "once" } });
  await push(token, { type: "background", aps: { "content-available": 1 } });
  await push(token, { aps: { badge: 5 } });

  const listed = await simulator.notifications(token);
  expect(listed.map(({ payload }) => (payload["aps"] as { alert?: string }).alert)).toEqual([
    "1:0",
    "once",
    "2:0",
    "once",
    undefined,
    undefined,
  ]);
  const screen = await simulator.screen(token.toUpperCase());
  expect(screen.badge).toBe(5);
  expect(screen.notifications.map(({ payload }) => payload)).toEqual([
    { aps: { alert: "once" } },
    { aps: { alert: "2:0", badge: 2 } },
  ]);
  expect((await simulator.apnsIds()).find(({ apnsId }) => apnsId === id)).toEqual({
    apnsId: id,
    token,
    times: 2,
  });
  expect((await simulator.stats()).repeatedApnsIds).toBe(1);
});

test("clears one phone, then all", async () => {
  const [first, second] = [newToken(), newToken()];
  for (const token of [first, second]) await push(token, { aps: { alert: "hello" } });
  expect(await call("DELETE", `/devices/${first}/notifications`)).toEqual({ status: 204, body: undefined });
  expect(await simulator.notifications(first)).toEqual([]);
  expect(await simulator.notifications(second)).toHaveLength(1);
  await simulator.clear();
  expect(await simulator.notifications(second)).toEqual([]);
  expect(await simulator.apnsIds()).toEqual([]);
});

test("the behaviour changes as requested, and absent fields stay", async () => {
  await simulator.setBehaviour({ latencyMs: 5, answer: { status: 500, reason: "InternalServerError" } });
  await simulator.setBehaviour({ maxConcurrentStreams: 9 });
  expect((await call("GET", "/behaviour")).body).toEqual({
    latencyMs: 5,
    maxConcurrentStreams: 9,
    blackhole: false,
    environment: null,
    answer: { status: 500, reason: "InternalServerError" },
    minTokenUpdateSeconds: 1200,
  });
  await simulator.setBehaviour({ latencyMs: 0, maxConcurrentStreams: 1000, answer: null });
});

test("counts answers by status and reason", async () => {
  const token = newToken();
  await simulator.setAnswer(token, { status: 410, reason: "Unregistered", timestamp: 1 });
  const before = (await simulator.stats()).answers["410 Unregistered"] ?? 0;
  await provider.send(
    { ":method": "POST", ":path": `/3/device/${token}`, authorization, "apns-topic": "com.example.petrel" },
    "{}",
  );
  const stats = await simulator.stats();
  expect(stats.answers["410 Unregistered"]).toBe(before + 1);
  expect(stats).toMatchObject({ connections: { open: 1, opened: 1 }, providerTokens: 1, swallowed: 0 });
});

test.each<[string, Record<string, string>, number]>([
  ["127.0.0.1", {}, 200],
  ["localhost", {}, 200],
  ["apns-simulator", {}, 200],
  ["evil.example", {}, 403],
  ["127.0.0.1.evil.example", {}, 403],
  ["127.0.0.1", { origin: "https://evil.example" }, 403],
  ["127.0.0.1", { origin: "null" }, 403],
  ["127.0.0.1", { "sec-fetch-site": "cross-site" }, 403],
])(
  "a request to %j with %j gets %i; a web page's name that resolves here does not open it",
  async (host, headers, status) => {
    const url = new URL(`${simulator.controlUrl}/stats`);
    const answered = await new Promise<number | undefined>((resolve, reject) => {
      const asked = request(url, { headers: { ...headers, host }, setHost: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      });
      asked.on("error", reject).end();
    });
    expect(answered).toBe(status);
  },
);

const token = "ab".repeat(32);
test.each([
  ["PUT", "/behaviour", { latency: 5 }],
  ["PUT", "/behaviour", { latencyMs: -1 }],
  ["PUT", "/behaviour", { latencyMs: "5" }],
  ["PUT", "/behaviour", { maxConcurrentStreams: 0 }],
  ["PUT", "/behaviour", { goaway: { lastStream: "first" } }],
  ["PUT", "/behaviour", { blackhole: { connections: 0 } }],
  ["PUT", "/behaviour", { latencyMs: 77, answer: { status: 503 } }],
  ["PUT", "/behaviour", { answer: { status: 200, reason: "Unregistered" } }],
  ["PUT", "/behaviour", { environment: "test" }],
  ["PUT", "/behaviour?x=1", {}],
  ["PUT", `/devices/${token}`, {}],
  ["PUT", `/devices/${token}`, { answer: { status: 410, reason: "Un registered" } }],
  ["PUT", `/devices/${token}`, { answer: { status: 99, reason: "X" } }],
  ["PUT", `/devices/${token}`, { answer: null, colour: "red" }],
  ["PUT", "/devices/abc", { answer: null }],
  ["GET", "/devices/abc/notifications", undefined],
  ["GET", `/devices/${token}/notifications?limit=1`, undefined],
] as const)("refuses %s %s %o and changes nothing", async (method, path, body) => {
  const before = await call("GET", "/behaviour");
  expect(await call(method, path, body)).toEqual({
    status: 400,
    body: {
      error: {
        code: "PETREL_INVALID_REQUEST",
        message: expect.stringMatching(/\S/) as unknown,
        retryable: false,
        details: { field: expect.stringMatching(/\S/) as unknown },
      },
    },
  });
  expect(await call("GET", "/behaviour")).toEqual(before);
});

test("answers health and version, and an error for unknown paths", async () => {
  expect(await call("GET", "/health/live")).toMatchObject({ status: 200 });
  expect(await call("GET", "/health/ready")).toMatchObject({ status: 200 });
  expect((await call("GET", "/version")).body).toMatchObject({ service: "apns-simulator" });
  expect(await call("GET", "/nothing")).toMatchObject({
    status: 404,
    body: { error: { code: "PETREL_NOT_FOUND" } },
  });
});

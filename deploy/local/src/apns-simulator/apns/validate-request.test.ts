// Tests the rules of the APNs simulator, one by one, by a bare HTTP/2 client over TLS.
// Guarantees: each rule answers with Apple's status and reason, and of two that are broken the earlier one does.
import { generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import type { OutgoingHttpHeaders } from "node:http2";
import {
  connectProvider,
  signProviderToken,
  type ProviderTokenClaims,
  type RawProvider,
} from "@petrel/shared/testing/peers/raw-apns-provider";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

const topic = "com.example.petrel";
const payload = JSON.stringify({ aps: { alert: { title: "Hello", body: "you" } } });
const makeKey = () =>
  generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
const otherTeam = { keyId: "OTHERTEAM1", teamId: "TEAM000002", ...makeKey() };
const sandboxOnly = { keyId: "SANDBOX001", teamId: "TEAM000003", ...makeKey() };
const stranger = makeKey();

let simulator: TestApnsSimulator;
let provider: RawProvider;
let bearer: string;

beforeAll(async () => {
  simulator = await startApnsSimulator({
    moreKeys: [otherTeam, { ...sandboxOnly, environment: "sandbox" }],
  });
  // The one token of this key: a second one within twenty minutes would be too many.
  bearer = `bearer ${signProviderToken(simulator)}`;
});
afterAll(() => simulator?.stop());
beforeEach(async () => {
  provider = await connectProvider(simulator.endpoint, simulator.caFile);
});
afterEach(async () => {
  provider.close();
  await simulator.setBehaviour({ answer: null, environment: null, latencyMs: 0 });
});

const newToken = (): string => randomBytes(32).toString("hex");

/** A request that is right, but for what is given; undefined takes a header away. */
function headers(changes: OutgoingHttpHeaders & { token?: string } = {}): OutgoingHttpHeaders {
  const { token = newToken(), ...rest } = changes;
  const all: OutgoingHttpHeaders = {
    ":method": "POST",
    ":path": `/3/device/${token}`,
    authorization: bearer,
    "apns-id": randomUUID(),
    "apns-topic": topic,
    "apns-push-type": "alert",
    "apns-priority": "10",
    "apns-expiration": "0",
    ...rest,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

const other = (claims: Partial<ProviderTokenClaims>): string =>
  `bearer ${signProviderToken({ ...simulator, ...claims })}`;
const hourAgo = (): number => Math.floor(Date.now() / 1000) - 3601;

test("a valid request is recorded as sent and answered with its own apns-id", async () => {
  const token = newToken();
  const apnsId = randomUUID();
  const sent = headers({
    token,
    "apns-id": apnsId,
    "apns-collapse-id": "c1",
    "apns-expiration": "1900000000",
  });
  expect(await provider.send(sent, payload)).toEqual({
    status: 200,
    apnsId,
    reason: undefined,
    timestamp: undefined,
    retryAfter: undefined,
  });
  expect(await simulator.notifications(token)).toEqual([
    {
      at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      apnsId,
      topic,
      pushType: "alert",
      priority: 10,
      collapseId: "c1",
      expiration: 1900000000,
      payload: JSON.parse(payload),
    },
  ]);
});

test("without apns-id, priority, push type and expiration: an id is made, the priority is 10", async () => {
  const token = newToken();
  const answer = await provider.send(
    headers({
      token: token.toUpperCase(),
      "apns-id": undefined,
      "apns-priority": undefined,
      "apns-push-type": undefined,
      "apns-expiration": undefined,
    }),
    payload,
  );
  expect(answer.status).toBe(200);
  expect(answer.apnsId).toMatch(/^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$/);
  expect(await simulator.notifications(token)).toMatchObject([
    { apnsId: answer.apnsId, priority: 10, pushType: null, collapseId: null, expiration: null },
  ]);
});

/** In the order of validation: what is wrong, what is sent instead, its body, the answer. */
type Case = readonly [
  string,
  () => OutgoingHttpHeaders & { token?: string },
  string | undefined,
  number,
  string,
];
const cases: readonly Case[] = [
  ["a header twice", () => ({ "apns-topic": [topic, topic] }), undefined, 400, "DuplicateHeaders"],
  ["an id that is not a UUID", () => ({ "apns-id": "1234" }), undefined, 400, "BadMessageId"],
  ["another method", () => ({ ":method": "PUT" }), undefined, 405, "MethodNotAllowed"],
  ["no topic", () => ({ "apns-topic": undefined }), undefined, 400, "MissingTopic"],
  ["no topic one could have", () => ({ "apns-topic": "com example" }), undefined, 400, "BadTopic"],
  ["a long collapse id", () => ({ "apns-collapse-id": "c".repeat(65) }), undefined, 400, "BadCollapseId"],
  ["a priority of 7", () => ({ "apns-priority": "7" }), undefined, 400, "BadPriority"],
  ["background at 10", () => ({ "apns-push-type": "background" }), undefined, 400, "BadPriority"],
  [
    "background at 10 by default",
    () => ({ "apns-push-type": "background", "apns-priority": undefined }),
    undefined,
    400,
    "BadPriority",
  ],
  ["an unknown push type", () => ({ "apns-push-type": "loud" }), undefined, 400, "InvalidPushType"],
  ["alert to a VoIP topic", () => ({ "apns-topic": `${topic}.voip` }), undefined, 400, "InvalidPushType"],
  [
    "no push type to a VoIP topic",
    () => ({ "apns-topic": `${topic}.voip`, "apns-push-type": undefined }),
    undefined,
    400,
    "InvalidPushType",
  ],
  ["VoIP to a plain topic", () => ({ "apns-push-type": "voip" }), undefined, 400, "BadTopic"],
  [
    "an expiration that is not a time",
    () => ({ "apns-expiration": "soon" }),
    undefined,
    400,
    "BadExpirationDate",
  ],
  ["another path", () => ({ ":path": "/2/device/00" }), undefined, 404, "BadPath"],
  ["no token", () => ({ ":path": "/3/device/" }), undefined, 400, "MissingDeviceToken"],
  ["an invalid token", () => ({ token: "xyz" }), undefined, 400, "BadDeviceToken"],
  ["a token cut short", () => ({ token: newToken().slice(2) }), undefined, 400, "BadDeviceToken"],
  ["no authorization", () => ({ authorization: undefined }), undefined, 403, "MissingProviderToken"],
  ["another scheme", () => ({ authorization: "Basic x" }), undefined, 403, "MissingProviderToken"],
  ["not a JWT", () => ({ authorization: "bearer x" }), undefined, 403, "InvalidProviderToken"],
  [
    "another algorithm",
    () => ({ authorization: other({ algorithm: "HS256" }) }),
    undefined,
    403,
    "InvalidProviderToken",
  ],
  [
    "an unknown key",
    () => ({ authorization: other({ keyId: "UNKNOWN000" }) }),
    undefined,
    403,
    "InvalidProviderToken",
  ],
  [
    "another team's name",
    () => ({ authorization: other({ teamId: "TEAM000009" }) }),
    undefined,
    403,
    "InvalidProviderToken",
  ],
  [
    "a stranger's signature",
    () => ({ authorization: other(stranger) }),
    undefined,
    403,
    "InvalidProviderToken",
  ],
  [
    "a token from the future",
    () => ({ authorization: other({ issuedAt: Math.floor(Date.now() / 1000) + 400 }) }),
    undefined,
    403,
    "InvalidProviderToken",
  ],
  [
    "an old token",
    () => ({ authorization: other({ issuedAt: hourAgo() }) }),
    undefined,
    403,
    "ExpiredProviderToken",
  ],
  [
    "a key of the sandbox",
    () => ({ authorization: other(sandboxOnly) }),
    undefined,
    403,
    "BadEnvironmentKeyIdInToken",
  ],
  ["no payload", () => ({}), "", 400, "PayloadEmpty"],
  ["a payload of 4,097 bytes", () => ({}), bytes(4097), 413, "PayloadTooLarge"],
  ["a payload that is not JSON", () => ({}), "{", 400, "PayloadEmpty"],
  ["a payload that is a list", () => ({}), "[1]", 400, "PayloadEmpty"],
];

test.each(cases)("%s", async (_what, changes, body, status, reason) => {
  const token = newToken();
  const answer = await provider.send(headers({ token, ...changes() }), body ?? payload);
  expect([answer.status, answer.reason]).toEqual([status, reason]);
  expect(answer.apnsId).toMatch(/^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/);
  expect(await simulator.notifications(token)).toEqual([]);
});

test("if two rules are broken, the earlier one answers", async () => {
  // All at once, then one mended after the other.
  const token = newToken();
  await simulator.setAnswer(token, { status: 410, reason: "Unregistered", timestamp: 1 });
  const broken: OutgoingHttpHeaders = {
    "apns-id": "1",
    ":method": "GET",
    "apns-topic": undefined,
    "apns-collapse-id": "c".repeat(65),
    "apns-priority": "0",
    "apns-push-type": "loud",
    ":path": "/nowhere",
    authorization: undefined,
  };
  const mended: (readonly [string, string, string | undefined])[] = [
    ["BadMessageId", "apns-id", randomUUID()],
    ["MethodNotAllowed", ":method", "POST"],
    ["MissingTopic", "apns-topic", topic],
    ["BadCollapseId", "apns-collapse-id", "c"],
    ["BadPriority", "apns-priority", "10"],
    ["InvalidPushType", "apns-push-type", "alert"],
    ["BadPath", ":path", `/3/device/${token}`],
    ["Unregistered", "", undefined],
    ["MissingProviderToken", "authorization", bearer],
    ["PayloadEmpty", "", undefined],
  ];
  for (const [reason, name, right] of mended) {
    const { ":method": method, ...rest } = broken;
    const answer = await provider.send(headers({ ...rest, ":method": method }), "");
    expect(answer.reason).toBe(reason);
    if (name !== "") broken[name] = right;
    if (reason === "Unregistered") await simulator.setAnswer(token, null);
  }
});

test("accepts sizes at their limits: a collapse id of 64 bytes, 4,096 bytes of payload, 5,120 for VoIP", async () => {
  expect(await provider.send(headers({ "apns-collapse-id": "c".repeat(64) }), bytes(4096))).toMatchObject({
    status: 200,
  });
  const voip = { "apns-push-type": "voip", "apns-topic": `${topic}.voip` };
  expect(await provider.send(headers(voip), bytes(5120))).toMatchObject({ status: 200 });
  expect(await provider.send(headers(voip), bytes(5121))).toMatchObject({ reason: "PayloadTooLarge" });
  expect(await provider.send(headers(), bytes(200_000))).toMatchObject({ reason: "PayloadTooLarge" });
});

test.each([
  ["location", ".location-query"],
  ["complication", ".complication"],
  ["fileprovider", ".pushkit.fileprovider"],
  ["liveactivity", ".push-type.liveactivity"],
  ["pushtotalk", ".voip-ptt"],
  ["widgets", ".push-type.widgets"],
  ["controls", ".push-type.controls"],
  ["mdm", ""],
])("%s goes to the topic with %j", async (pushType, suffix) => {
  const sent = headers({ "apns-push-type": pushType, "apns-topic": topic + suffix });
  expect(await provider.send(sent, payload)).toMatchObject({ status: 200 });
});

describe("device tokens", () => {
  test("410 with its timestamp, in milliseconds, for this token only", async () => {
    const token = newToken();
    await simulator.setAnswer(token, { status: 410, reason: "ExpiredToken", timestamp: 1_700_000_000_123 });
    expect(await provider.send(headers({ token }), payload)).toMatchObject({
      status: 410,
      reason: "ExpiredToken",
      timestamp: 1_700_000_000_123,
    });
    expect(await provider.send(headers(), payload)).toMatchObject({ status: 200 });
    await simulator.setAnswer(token, null);
    expect(await provider.send(headers({ token }), payload)).toMatchObject({ status: 200 });
  });

  test("of another app: DeviceTokenNotForTopic; so is the token of alerts under a suffix of its own app", async () => {
    const token = newToken();
    await simulator.setDevice(token, { topic });
    const foreign = headers({ token, "apns-topic": "com.example.other" });
    expect(await provider.send(foreign, payload)).toMatchObject({
      status: 400,
      reason: "DeviceTokenNotForTopic",
    });
    const voip = { "apns-push-type": "voip", "apns-topic": `${topic}.voip` };
    expect(await provider.send(headers({ token, ...voip }), payload)).toMatchObject({
      status: 400,
      reason: "DeviceTokenNotForTopic",
    });
    await simulator.setDevice(token, { topic: `${topic}.voip` });
    expect(await provider.send(headers({ token, ...voip }), payload)).toMatchObject({ status: 200 });
    expect(await provider.send(headers({ token }), payload)).toMatchObject({
      reason: "DeviceTokenNotForTopic",
    });
  });

  test("of the other environment: BadDeviceToken, for one token or for all", async () => {
    const sandbox = await connectProvider(simulator.sandboxEndpoint, simulator.caFile);
    const token = newToken();
    await simulator.setDevice(token, { environment: "sandbox" });
    const results = [
      await provider.send(headers({ token }), payload),
      await sandbox.send(headers({ token }), payload),
    ];
    await simulator.setBehaviour({ environment: "production" });
    results.push(await sandbox.send(headers(), payload), await provider.send(headers(), payload));
    sandbox.close();
    expect(results.map(({ status, reason }) => [status, reason])).toEqual([
      [400, "BadDeviceToken"],
      [200, undefined],
      [400, "BadDeviceToken"],
      [200, undefined],
    ]);
  });
});

describe("provider tokens", () => {
  test("a connection belongs to one team and one key", async () => {
    expect(await provider.send(headers(), payload)).toMatchObject({ status: 200 });
    const foreign = headers({ authorization: `bearer ${signProviderToken(otherTeam)}` });
    expect(await provider.send(foreign, payload)).toMatchObject({
      status: 403,
      reason: "InvalidProviderToken",
    });
    const fresh = await connectProvider(simulator.endpoint, simulator.caFile);
    expect(await fresh.send(foreign, payload)).toMatchObject({ status: 200 });
    fresh.close();
  });

  test("one may be updated after twenty minutes, not before; several known ones stay valid", async () => {
    const mine = await startApnsSimulator();
    const connection = await connectProvider(mine.endpoint, mine.caFile);
    const nowSeconds = Math.floor(Date.now() / 1000);
    const at = (issuedAt: number): OutgoingHttpHeaders =>
      headers({ authorization: `bearer ${signProviderToken({ ...mine, issuedAt })}` });
    const [old, early, due] = [at(nowSeconds - 1500), at(nowSeconds - 301), at(nowSeconds - 300)];
    const results: unknown[] = [];
    for (const sent of [old, early, due, old, early]) {
      const { status, reason } = await connection.send(sent, payload);
      results.push([status, reason]);
    }
    expect(results).toEqual([
      [200, undefined],
      [429, "TooManyProviderTokenUpdates"],
      [200, undefined],
      [200, undefined],
      [429, "TooManyProviderTokenUpdates"],
    ]);
    expect((await mine.stats()).providerTokens).toBe(2);
    await mine.setBehaviour({ minTokenUpdateSeconds: 0 });
    expect(await connection.send(at(nowSeconds), payload)).toMatchObject({ status: 200 });
    connection.close();
    await mine.stop();
  });

  test("another key of the same team needs another connection", async () => {
    const second = makeKey();
    const teamId = "TEAM000004";
    const mine = await startApnsSimulator({
      moreKeys: [
        { keyId: "KEY0000001", teamId, publicKey: second.publicKey },
        { keyId: "KEY0000002", teamId, publicKey: stranger.publicKey },
      ],
    });
    const connection = await connectProvider(mine.endpoint, mine.caFile);
    const by = (keyId: string, privateKey: string): OutgoingHttpHeaders =>
      headers({ authorization: `bearer ${signProviderToken({ keyId, teamId, privateKey })}` });
    expect(await connection.send(by("KEY0000001", second.privateKey), payload)).toMatchObject({
      status: 200,
    });
    expect(await connection.send(by("KEY0000002", stranger.privateKey), payload)).toMatchObject({
      status: 403,
      reason: "UnrelatedKeyIdInToken",
    });
    connection.close();
    await mine.stop();
  });
});

/** A JSON object of exactly so many bytes. */
function bytes(count: number): string {
  const empty = JSON.stringify({ filler: "" });
  return JSON.stringify({ filler: "x".repeat(count - empty.length) });
}

// Tests /v1/webhooks on a real Redis: what is kept, refused, tested and noted.
// Guarantees covered: each sentence of the contract on the resource; the secret is shown once and stored sealed.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { encodeEventCursor } from "@petrel/shared/protocol/events/event-cursor";
import { clusterKeys } from "@petrel/shared/redis/keys";
import { createAtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { headersOf, openApp } from "../testing/open-app.js";
import { webhookDeps, type WebhookDepsOptions } from "../testing/webhook-deps.js";
import { startWebhookReceiver, type WebhookReceiver } from "../testing/webhook-receiver.js";
import { WebhookSecrets } from "../webhooks/webhook-secrets.js";

const admin = headersOf("operator");
const sender = headersOf("sender");
const url = "https://shop.example/hook";

let store: OpenStore;
let app: HttpApp;
let receiver: WebhookReceiver;
const apps: HttpApp[] = [];
beforeAll(async () => {
  store = await openStore();
  app = await open({ allowPrivate: true });
});
beforeEach(async () => {
  await store.clear();
  receiver = await startWebhookReceiver();
});
afterEach(() => receiver.close());
afterAll(async () => {
  await Promise.all(apps.map((one) => one.close()));
  await store.close();
});

async function open(options: WebhookDepsOptions): Promise<HttpApp> {
  const built = await openApp(store, {}, options);
  apps.push(built);
  return built;
}

type Method = "GET" | "POST" | "PATCH" | "DELETE";

async function ask(method: Method, path: string, payload?: object, on = app) {
  const body = payload === undefined ? {} : { payload };
  const answer = await on.inject({ method, url: path, headers: admin, ...body });
  return { status: answer.statusCode, body: answer.body === "" ? undefined : answer.json<Answer>() };
}

interface Answer {
  readonly id: string;
  readonly secret: string;
  readonly items: readonly { readonly id: string; readonly at: string }[];
  readonly nextCursor: string | null;
  readonly error: { readonly code: string; readonly message: string };
}

async function create(fields: object = {}): Promise<{ readonly id: string; readonly secret: string }> {
  const { status, body } = await ask("POST", "/v1/webhooks", { url, ...fields });
  expect(status).toBe(201);
  return body ?? { id: "", secret: "" };
}

test("is created with a secret that is shown once and stored sealed", async () => {
  const created = await create();
  expect(created).toEqual({
    id: expect.stringMatching(/^wh_/),
    secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/),
  });
  const shown = await ask("GET", `/v1/webhooks/${created.id}`);
  expect(shown.status).toBe(200);
  expect(shown.body).toEqual({
    id: created.id,
    url,
    types: null,
    description: null,
    paused: false,
    pausedReason: null,
    createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
  });
  const stored = JSON.stringify(await store.redis.hgetall(clusterKeys.webhooks));
  expect(stored).not.toContain(created.secret.slice(6, 30));
});

test("is listed in order of creation, in pages", async () => {
  const ids: string[] = [];
  for (let i = 0; i < 3; i++) ids.push((await create({ description: `number ${i}` })).id);
  const first = await ask("GET", "/v1/webhooks?limit=2");
  const second = await ask("GET", `/v1/webhooks?limit=2&cursor=${first.body?.nextCursor}`);
  expect([...(first.body?.items ?? []), ...(second.body?.items ?? [])].map(({ id }) => id).sort()).toEqual(
    ids.sort(),
  );
  expect(second.body?.nextCursor).toBeNull();
});

test("a list continues after a webhook that was removed meanwhile", async () => {
  const left = new Set<string>();
  for (let i = 0; i < 3; i++) left.add((await create()).id);
  let next = "";
  for (let i = 0; i < 3; i++) {
    const page = await ask("GET", `/v1/webhooks?limit=1${next}`);
    const id = String(page.body?.items?.[0]?.id);
    await ask("DELETE", `/v1/webhooks/${id}`);
    left.delete(id);
    next = `&cursor=${page.body?.nextCursor}`;
  }
  expect([...left]).toEqual([]);
});

test("keeps what a change leaves out", async () => {
  const { id } = await create({ types: ["message.failed", "message.pushed"], description: "shop" });
  expect((await ask("PATCH", `/v1/webhooks/${id}`, { paused: true })).body).toMatchObject({
    url,
    types: ["message.pushed", "message.failed"],
    description: "shop",
    paused: true,
    pausedReason: null,
  });
  const changed = await ask("PATCH", `/v1/webhooks/${id}`, { url: `${url}2`, types: null });
  expect(changed.body).toMatchObject({ url: `${url}2`, types: null, description: "shop", paused: true });
  expect((await ask("PATCH", `/v1/webhooks/${id}`, {})).body).toEqual(changed.body);
  expect((await ask("PATCH", `/v1/webhooks/${id}`, { paused: false })).body).toMatchObject({ paused: false });
});

test("begins a new era when resumed or moved, and otherwise not", async () => {
  const { id } = await create();
  const { store: webhooks } = webhookDeps(store).webhooks;
  const eraAfter = async (change: object) => {
    await ask("PATCH", `/v1/webhooks/${id}`, change);
    return (await webhooks.find(id))?.era;
  };
  expect(await eraAfter({ paused: true })).toBe(0);
  expect(await eraAfter({ url })).toBe(0);
  expect(await eraAfter({ paused: false })).toBe(1);
  expect(await eraAfter({ paused: false })).toBe(1);
  expect(await eraAfter({ url: `${url}2` })).toBe(2);
});

test("is gone when removed, with everything kept of it", async () => {
  const { id } = await create();
  await store.redis.set(store.keys.webhook(id), "{}");
  await store.redis.xadd(clusterKeys.webhookAttempts(id), "*", "a", "{}");
  expect((await ask("DELETE", `/v1/webhooks/${id}`)).status).toBe(204);
  expect(await store.redis.keys(`*${id}*`)).toEqual([]);
  for (const [method, path, body] of [
    ["DELETE", "", undefined],
    ["GET", "", undefined],
    ["PATCH", "", { paused: true }],
    ["POST", "/rotate", undefined],
    ["POST", "/test", undefined],
    ["POST", "/replay", { after: "2026-01-01T00:00:00Z" }],
    ["GET", "/attempts", undefined],
  ] as const) {
    const answer = await ask(method, `/v1/webhooks/${id}${path}`, body);
    expect([answer.status, answer.body?.error.code]).toEqual([404, "PETREL_NOT_FOUND"]);
  }
});

describe("is refused with 400", () => {
  test.each([
    {},
    { url: "" },
    { url: "shop.example" },
    { url: "ftp://shop.example/" },
    { url: "https://user:pass@shop.example/" },
    { url: "https://shop.example/#x" },
    { url: 7 },
    { url, types: [] },
    { url, types: ["message.read"] },
    { url, types: ["message.failed", "message.failed"] },
    { url, types: "message.failed" },
    { url, description: 7 },
    { url, secret: "whsec_x" },
    { url, paused: true },
  ])("%j", async (body) => {
    const answer = await ask("POST", "/v1/webhooks", body);
    expect([answer.status, answer.body?.error.code]).toEqual([400, "PETREL_INVALID_REQUEST"]);
    expect(await store.redis.exists(clusterKeys.webhooks)).toBe(0);
  });

  test.each([
    "https://127.0.0.1/", "https://10.0.0.1/", "https://[::1]/", "https://169.254.169.254/", "https://0.0.0.0/",
    "https://[::ffff:10.0.0.1]/", "https://2130706433/", "https://0177.0.0.1/", "http://shop.example/",
  ])("%s, unless private addresses are allowed", async (privateUrl) => {
    const strict = apps[1] ?? (await open({}));
    const refused = await ask("POST", "/v1/webhooks", { url: privateUrl }, strict);
    expect([refused.status, refused.body?.error.code]).toEqual([400, "PETREL_INVALID_REQUEST"]);
    const { id } = await create({ url: privateUrl });
    const changed = await ask("PATCH", `/v1/webhooks/${id}`, { url: privateUrl }, strict);
    expect(changed.status).toBe(400);
  }); // prettier-ignore

  test("a type that is not in EVENTS", async () => {
    const few = await open({ writtenEvents: ["message.failed"] });
    expect((await ask("POST", "/v1/webhooks", { url, types: ["user.online"] }, few)).status).toBe(400);
    expect((await ask("POST", "/v1/webhooks", { url, types: ["message.failed"] }, few)).status).toBe(201);
  });

  test.each([{ paused: "yes" }, { id: "x" }, { createdAt: "x" }, { url: "nowhere" }, { types: [] }])(
    "a change: %j",
    async (change) => {
      const { id } = await create();
      expect((await ask("PATCH", `/v1/webhooks/${id}`, change)).status).toBe(400);
    },
  );

  test.each([{}, { after: "" }, { after: "yesterday" }, { after: "2026-13-01T00:00:00Z" }, { after: 5 }])(
    "a replay: %j",
    async (body) => {
      const { id } = await create();
      expect((await ask("POST", `/v1/webhooks/${id}/replay`, body)).status).toBe(400);
    },
  );
});

test("a replay starts from a time, or from a cursor for the same number of partitions", async () => {
  const { id } = await create();
  const position = { mark: 5, ms: 7, n: 1 };
  for (const after of ["2026-01-01T00:00:00+02:00", encodeEventCursor([position, position])])
    expect((await ask("POST", `/v1/webhooks/${id}/replay`, { after })).status).toBe(202);
  const foreign = encodeEventCursor([position]);
  expect((await ask("POST", `/v1/webhooks/${id}/replay`, { after: foreign })).status).toBe(400);
});

test("the previous secret signs beside the new one; a test is signed, sent and recorded, even when paused", async () => {
  const { id, secret: old } = await create({ url: receiver.url });
  await ask("PATCH", `/v1/webhooks/${id}`, { paused: true });
  const rotated = await ask("POST", `/v1/webhooks/${id}/rotate`);
  expect(rotated.status).toBe(200);
  expect(Object.keys(rotated.body ?? {})).toEqual(["secret"]);
  expect(rotated.body?.secret).not.toBe(old);
  const tested = await ask("POST", `/v1/webhooks/${id}/test`);
  expect(tested).toEqual({
    status: 200,
    body: { delivered: true, status: 204, durationMs: expect.any(Number) },
  });
  const [request] = receiver.requests;
  expect(JSON.parse(request?.body ?? "")).toMatchObject({ type: "test", data: { items: [] } });
  expect(String(request?.headers["webhook-signature"]).split(" ")).toHaveLength(2);
  const attempts = await ask("GET", `/v1/webhooks/${id}/attempts`);
  expect(attempts.body).toEqual({
    items: [
      {
        at: expect.stringMatching(/Z$/),
        webhookId: request?.headers["webhook-id"],
        status: 204,
        durationMs: expect.any(Number),
      },
    ],
    nextCursor: null,
  });
});

test("an undelivered test says why", async () => {
  const { id } = await create({ url: receiver.url });
  receiver.answerWith((_request, response) => void response.writeHead(302, { location: "/" }).end());
  expect((await ask("POST", `/v1/webhooks/${id}/test`)).body).toEqual({
    delivered: false,
    status: 302,
    durationMs: expect.any(Number),
    error: "HTTP 302: redirects are not followed",
  });
  const strict = await open({});
  expect((await ask("POST", `/v1/webhooks/${id}/test`, undefined, strict)).body).toMatchObject({
    delivered: false,
    error: expect.stringContaining("must not name a private or special address"),
  });
  expect(receiver.requests).toHaveLength(1);
});

test("audits what was done, without a secret", async () => {
  const { id } = await create();
  await ask("PATCH", `/v1/webhooks/${id}`, { paused: true, url: `${url}2` });
  await ask("POST", `/v1/webhooks/${id}/rotate`);
  await ask("POST", `/v1/webhooks/${id}/replay`, { after: "2026-01-01T00:00:00Z" });
  await ask("DELETE", `/v1/webhooks/${id}`);
  const entries = await store.redis.xrange(clusterKeys.audit, "-", "+");
  const text = JSON.stringify(entries);
  for (const action of ["create", "update", "rotate", "replay", "delete"]) {
    expect(text).toContain(`webhook.${action}`);
  }
  expect(text).not.toContain("whsec_");
  expect(text).toContain("key:operator");
});

test("requires the scope admin", async () => {
  const { id } = await create();
  for (const [method, path] of [
    ["GET", "/v1/webhooks"],
    ["POST", "/v1/webhooks"],
    ["GET", `/v1/webhooks/${id}`],
    ["PATCH", `/v1/webhooks/${id}`],
    ["DELETE", `/v1/webhooks/${id}`],
    ["POST", `/v1/webhooks/${id}/rotate`],
    ["POST", `/v1/webhooks/${id}/test`],
    ["POST", `/v1/webhooks/${id}/replay`],
    ["GET", `/v1/webhooks/${id}/attempts`],
  ] as const) {
    const body = method === "POST" || method === "PATCH" ? { payload: {} } : {};
    expect((await app.inject({ method, url: path, ...body })).statusCode).toBe(401);
    expect((await app.inject({ method, url: path, headers: sender, ...body })).statusCode).toBe(403);
  }
});

test("without KEY_ENCRYPTION_FILE none can be created", async () => {
  const without = await open({ cipher: undefined });
  const answer = await ask("POST", "/v1/webhooks", { url }, without);
  expect([answer.status, answer.body?.error.code]).toEqual([503, "PETREL_UNAVAILABLE"]);
  expect((await ask("GET", "/v1/webhooks", undefined, without)).status).toBe(200);
});

test("seals secrets of another encryption key with the first one", async () => {
  const [one, two] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const older = webhookDeps(store, { cipher: createAtRestCipher(one) }).webhooks;
  const record = {
    id: "wh_a",
    url,
    types: null,
    description: null,
    paused: false,
    pausedReason: null,
  } as const;
  const sealedSecret = older.secrets.seal("wh_a", `whsec_${Buffer.alloc(32, 5).toString("base64")}`);
  const former = [{ sealedSecret, untilMs: 99_999_999_999_999 }];
  await older.store.create({ ...record, createdAtMs: 1, sealedSecret, former, era: 0, replay: null });
  const {
    directory,
    secrets,
    store: webhooks,
  } = webhookDeps(store, {
    cipher: createAtRestCipher(two, one),
  }).webhooks;
  const counted = secrets.count((await webhooks.list()).records);
  expect(counted).toEqual({ first: 0, further: 2, unknown: 0 });
  await directory.look();
  const resealed = await webhooks.find("wh_a");
  if (resealed === undefined) throw new Error("gone");
  expect(secrets.count([resealed])).toEqual({ first: 2, further: 0, unknown: 0 });
  const opened = new WebhookSecrets(createAtRestCipher(two)).open(resealed, 0);
  expect(opened).toEqual([Buffer.alloc(32, 5), Buffer.alloc(32, 5)]);
});

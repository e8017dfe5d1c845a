// Tests what collect refuses, by its application on real Redis.
// Guarantees: each refusal has the contract's shape and status, and leaves Redis as it was.
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { type Answer, type Ask, type OpenCollect, openCollect } from "../testing/open-collect.js";

let collect: OpenCollect;
let before: Record<string, unknown>;

beforeAll(async () => {
  collect = await openCollect();
  // The producer's key is read once, and cached, before snapshots are compared.
  await collect.ask("GET", "/v1/users/nobody/presence");
});
afterAll(() => collect.close());
beforeEach(async () => {
  before = await collect.store.snapshot();
});

async function expectRefused(
  answer: Answer,
  status: number,
  code: string,
  rest: Record<string, unknown> = {},
): Promise<void> {
  expect(answer).toMatchObject({
    status,
    body: {
      error: {
        code,
        message: expect.any(String) as string,
        retryable: expect.any(Boolean) as boolean,
        ...rest,
      },
    },
  });
  expect(answer.headers["content-type"]).toMatch(/^application\/json/);
  expect(await collect.store.snapshot()).toEqual(before);
}

const send = (how: Ask) => collect.ask("POST", "/v1/messages", how);
const good = { to: { user: "ada" }, data: 1 };
const tooMany = Array.from({ length: 1_001 }, (_, i) => `u${i}`);

describe("a message that violates its schema: 400, naming the field", () => {
  const cases: [string, unknown, string][] = [
    ["unknown user-id characters", { ...good, to: { user: "ada lovelace" } }, "body/to/user"],
    ["a user id with a slash", { ...good, to: { user: "a/b" } }, "body/to/user"],
    ["a user id with a brace", { ...good, to: { user: "{p0}" } }, "body/to/user"],
    ["a user id with a newline at its end", { ...good, to: { user: "ada\n" } }, "body/to/user"],
    ["an empty user id", { ...good, to: { user: "" } }, "body/to/user"],
    ["a user id of 129 characters", { ...good, to: { user: "a".repeat(129) } }, "body/to/user"],
    ["a user id that is a number", { ...good, to: { user: 7 } }, "body/to/user"],
    ["no recipient", { ...good, to: {} }, "body/to"],
    ["two kinds of recipient", { ...good, to: { user: "a", users: ["b"] } }, "body/to"],
    ["a recipient and a topic", { ...good, to: { user: "a", topic: "b" } }, "body/to"],
    ["all: false", { ...good, to: { all: false } }, "body/to/all"],
    ["a topic and all", { ...good, to: { topic: "a", all: true } }, "body/to"],
    [
      "a member of `wechat` that WeChat does not have",
      { ...good, notification: { title: "t", body: "b", wechat: { templateId: "x" } } },
      "body/notification/wechat/templateId",
    ],
    ["unknown topic characters", { ...good, to: { topic: "room 7" } }, "body/to/topic"],
    ["the broadcast's topic by name", { ...good, to: { topic: "$all" } }, "body/to/topic"],
    ["a topic with a star", { ...good, to: { topic: "room.*" } }, "body/to/topic"],
    ["an empty topic", { ...good, to: { topic: "" } }, "body/to/topic"],
    ["a topic of 129 characters", { ...good, to: { topic: "t".repeat(129) } }, "body/to/topic"],
    [
      "a topic and the default fallback",
      { ...good, to: { topic: "a" }, fallback: "offline" },
      "body/fallback",
    ],
    ["a topic and no fallback", { ...good, to: { topic: "a" }, fallback: "never" }, "body/fallback"],
    [
      "a topic and a notification",
      { ...good, to: { topic: "a" }, notification: { title: "t", body: "b" } },
      "body/notification",
    ],
    ["a topic and a collapse key", { ...good, to: { topic: "a" }, collapseKey: "k" }, "body/collapseKey"],
    ["a topic and channels", { ...good, to: { topic: "a" }, channels: ["apns"] }, "body/channels"],
    ["all and a fallback", { ...good, to: { all: true }, fallback: "offline" }, "body/fallback"],
    [
      "all and a notification",
      { ...good, to: { all: true }, notification: { title: "t", body: "b" } },
      "body/notification",
    ],
    ["all and a collapse key", { ...good, to: { all: true }, collapseKey: "k" }, "body/collapseKey"],
    ["all and channels", { ...good, to: { all: true }, channels: ["apns"] }, "body/channels"],
    ["to missing", { data: 1 }, "body/to"],
    ["an unknown field in to", { ...good, to: { user: "a", device: "b" } }, "body/to/device"],
    ["an empty list", { ...good, to: { users: [] } }, "body/to/users"],
    ["a list of 1001", { ...good, to: { users: tooMany } }, "body/to/users"],
    ["a user named twice", { ...good, to: { users: ["a", "b", "a"] } }, "body/to/users"],
    ["a bad id in a list", { ...good, to: { users: ["a", "b c"] } }, "body/to/users/1"],
    ["an unknown field", { ...good, colour: "red" }, "body/colour"],
    ["data missing", { to: { user: "ada" } }, "body/data"],
    ["ttlSeconds 0", { ...good, ttlSeconds: 0 }, "body/ttlSeconds"],
    ["ttlSeconds beyond 30 days", { ...good, ttlSeconds: 2_592_001 }, "body/ttlSeconds"],
    ["ttlSeconds with a fraction", { ...good, ttlSeconds: 1.5 }, "body/ttlSeconds"],
    ["ttlSeconds as text", { ...good, ttlSeconds: "60" }, "body/ttlSeconds"],
    ["an unknown priority", { ...good, priority: "urgent" }, "body/priority"],
    ["an unknown fallback", { ...good, fallback: "sometimes" }, "body/fallback"],
    ["an empty idempotency key", { ...good, idempotencyKey: "" }, "body/idempotencyKey"],
    ["an idempotency key of 257", { ...good, idempotencyKey: "k".repeat(257) }, "body/idempotencyKey"],
    ["a notification without a body", { ...good, notification: { title: "t" } }, "body/notification/body"],
    [
      "an unknown field in a notification",
      { ...good, notification: { title: "t", body: "b", icon: "i" } },
      "body/notification/icon",
    ],
    [
      "a badge below 0",
      { ...good, notification: { title: "t", body: "b", badge: -1 } },
      "body/notification/badge",
    ],
    ...[
      "javascript:alert(1)",
      " javascript:1",
      "java\tscript:1",
      "\u0001javascript:1",
      "data:,a",
      "app://a",
    ].flatMap((navigate): [string, unknown, string][] => [
      [
        `${JSON.stringify(navigate)} to open`,
        { ...good, notification: { title: "t", body: "b", web: { navigate } } },
        "body/notification/web/navigate",
      ],
      [
        `an action with ${JSON.stringify(navigate)} to open`,
        {
          ...good,
          notification: { title: "t", body: "b", web: { actions: [{ action: "a", title: "t", navigate }] } },
        },
        "body/notification/web/actions/0/navigate",
      ],
    ]),
    ["an empty collapse key", { ...good, collapseKey: "" }, "body/collapseKey"],
    ["a collapse key of 65", { ...good, collapseKey: "k".repeat(65) }, "body/collapseKey"],
    ["a collapse key that is not ASCII", { ...good, collapseKey: "spiel-é" }, "body/collapseKey"],
    ["a collapse key with a newline", { ...good, collapseKey: "a\nb" }, "body/collapseKey"],
    ["a collapse key with a space at its end", { ...good, collapseKey: "a " }, "body/collapseKey"],
    [
      "an apns part that Apple would refuse",
      { ...good, notification: { title: "t", body: "b", apns: { pushType: "nonsense" } } },
      "body/notification/apns",
    ],
    ["deliverAt that is not a time", { ...good, deliverAt: "tomorrow" }, "body/deliverAt"],
    ["deliverAt without a zone", { ...good, deliverAt: "2030-01-01T00:00:00" }, "body/deliverAt"],
    [
      "deliverAt on a day that does not exist",
      { ...good, deliverAt: "2026-02-30T00:00:00Z" },
      "body/deliverAt",
    ],
    ["deliverAt as a number", { ...good, deliverAt: 1_900_000_000 }, "body/deliverAt"],
    ["deliverAt 30 days and an hour ahead", { ...good, deliverAt: inHours(30 * 24 + 1) }, "body/deliverAt"],
    [
      "deliverAt too far ahead for a topic",
      { to: { topic: "news" }, data: 1, deliverAt: inHours(30 * 24 + 1) },
      "body/deliverAt",
    ],
    ["an array", [good], "body"],
    ["null", null, "body"],
    ["a string", "hello", "body"],
  ];
  test.each(cases)("%s", async (_name, body, field) => {
    await expectRefused(await send({ body }), 400, "PETREL_INVALID_REQUEST", { details: { field } });
  });

  test("__proto__ as a field", async () => {
    const raw = '{"to":{"user":"ada"},"data":1,"__proto__":{"ttlSeconds":5}}';
    await expectRefused(await send({ raw }), 400, "PETREL_INVALID_REQUEST", {
      details: { field: "body/__proto__" },
    });
  });

  test("nothing at all", async () => {
    await expectRefused(await send({}), 400, "PETREL_INVALID_REQUEST");
    await expectRefused(await send({ raw: "" }), 400, "PETREL_INVALID_REQUEST");
  });

  test("an unknown query parameter", async () => {
    const answer = await collect.ask("POST", "/v1/messages?dry=true", { body: good });
    await expectRefused(answer, 400, "PETREL_INVALID_REQUEST", { details: { field: "querystring/dry" } });
  });
});

describe("a body that cannot be read", () => {
  test.each(["{", "{'a':1}", '{"a":1}x', "\ufeff{}", "nonsense", '{"to":{"user":"ada"},"data":NaN}'])(
    "malformed JSON: %j",
    async (raw) => {
      await expectRefused(await send({ raw }), 400, "PETREL_INVALID_JSON");
    },
  );

  test("bytes that are not UTF-8", async () => {
    const raw = Buffer.concat([
      Buffer.from('{"to":{"user":"ada"},"data":"'),
      Buffer.from([0xff]),
      Buffer.from('"}'),
    ]);
    await expectRefused(await send({ raw }), 400, "PETREL_INVALID_JSON");
  });

  test.each(["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data"])(
    "the content type %s: 415",
    async (type) => {
      const answer = await send({ body: good, headers: { "content-type": type } });
      await expectRefused(answer, 415, "PETREL_UNSUPPORTED_MEDIA_TYPE");
    },
  );

  test("an unknown encoding: 415", async () => {
    const answer = await send({ body: good, headers: { "content-encoding": "br" } });
    await expectRefused(answer, 415, "PETREL_UNSUPPORTED_MEDIA_TYPE");
  });

  test("invalid gzip", async () => {
    const answer = await send({ body: good, headers: { "content-encoding": "gzip" } });
    await expectRefused(answer, 400, "PETREL_INVALID_JSON");
  });

  test("a body beyond 8 MiB: 413", async () => {
    const answer = await send({ raw: " ".repeat(8 * 1024 * 1024 + 1) });
    await expectRefused(answer, 413, "PETREL_PAYLOAD_TOO_LARGE");
  });

  test("a gzip bomb: 413 as soon as the bound is passed", async () => {
    const raw = gzipSync(Buffer.alloc(sized(256, 32) * 1024 * 1024, " "), { level: 1 });
    expect(raw.length).toBeLessThan(8 * 1024 * 1024);
    const answer = await send({ raw, headers: { "content-encoding": "gzip" } });
    await expectRefused(answer, 413, "PETREL_PAYLOAD_TOO_LARGE");
  });

  test("a small body that unpacks to millions of brackets is not parsed", async () => {
    const raw = gzipSync(`{"to":{"user":"ada"},"data":${"[".repeat(4e6)}${"]".repeat(4e6)}}`);
    const parse = vi.spyOn(JSON, "parse");
    try {
      const answer = await send({ raw, headers: { "content-encoding": "gzip" } });
      await expectRefused(answer, 400, "PETREL_INVALID_REQUEST");
      // Parsing it takes seconds in which nobody else is answered.
      expect(Math.max(...parse.mock.calls.map(([text]) => text.length))).toBeLessThan(1_000_000);
    } finally {
      parse.mockRestore();
    }
  });

  test("a notification beyond 8 KiB: 413", async () => {
    const notification = { title: "t", body: "b".repeat(8_192) };
    await expectRefused(await send({ body: { ...good, notification } }), 413, "PETREL_PAYLOAD_TOO_LARGE");
  });

  test.each([{ topic: "news" }, { all: true }])("data beyond 64 KiB for %j: 413", async (to) => {
    const answer = await send({ body: { to, data: "x".repeat(65 * 1024) } });
    await expectRefused(answer, 413, "PETREL_PAYLOAD_TOO_LARGE", {
      details: { field: "body/data", maxBytes: 65_536 },
    });
  });
});

describe("a batch refused as a whole", () => {
  test.each([
    ["no entries", { messages: [] }],
    ["1001 entries", { messages: tooMany.map((user) => ({ to: { user }, data: 1 })) }],
    ["1001 recipients", { messages: [{ to: { users: tooMany }, data: 1 }] }],
    ["messages that are not a list", { messages: good }],
    ["an unknown field", { messages: [good], atomic: true }],
    ["a list", [good]],
  ])("%s", async (_name, body) => {
    await expectRefused(
      await collect.ask("POST", "/v1/messages/batch", { body }),
      400,
      "PETREL_INVALID_REQUEST",
    );
  });
});

describe("missing rights", () => {
  const routes: ["GET" | "POST" | "PUT" | "DELETE", string, string][] = [
    ["POST", "/v1/messages", "send"],
    ["POST", "/v1/messages/batch", "send"],
    ["GET", "/v1/messages/p0_aaaaaaaaaaaaaaaaaaaaaa", "read"],
    ["DELETE", "/v1/messages/p0_aaaaaaaaaaaaaaaaaaaaaa", "send"],
    ["GET", "/v1/users/ada/messages", "read"],
    ["GET", "/v1/users/ada/presence", "read"],
    ["POST", "/v1/users/ada/disconnect", "admin"],
    ["DELETE", "/v1/users/ada", "admin"],
    ["GET", "/v1/topics/news/presence", "read"],
    ["GET", "/v1/presence?users=ada", "read"],
    ["GET", "/v1/topics/news", "read"],
    ["GET", "/v1/topics/news/messages", "read"],
    ["PUT", "/v1/users/ada/topics/news", "send"],
    ["DELETE", "/v1/users/ada/topics/news", "send"],
    ["GET", "/v1/users/ada/topics", "read"],
  ];

  test.each(routes)("%s %s without a valid credential: 401", async (method, url) => {
    const bad = [undefined, "Bearer", "Bearer nobody.secret", "Bearer shop.wrong", "Basic YTpi"];
    for (const as of bad) {
      const answer = await collect.ask(method, url, { as, ...(method === "POST" ? { body: good } : {}) });
      await expectRefused(answer, 401, "PETREL_UNAUTHENTICATED");
      expect(answer.headers["www-authenticate"]).toMatch(/^Bearer/);
    }
  });

  test.each(routes)("%s %s needs its scope: 403", async (method, url, scope) => {
    const others = (["send", "read", "admin", "tokens"] as const).filter((one) => one !== scope);
    const as = await collect.producer(`lacks-${scope}-${method}-${url.length}`, others);
    before = await collect.store.snapshot();
    const answer = await collect.ask(method, url, { as, ...(method === "POST" ? { body: good } : {}) });
    await expectRefused(answer, 403, "PETREL_FORBIDDEN");
  });

  test("does not read a stranger's body", async () => {
    await expectRefused(await send({ raw: "{", as: undefined }), 401, "PETREL_UNAUTHENTICATED");
  });
});

function inHours(hours: number): string {
  return new Date(Date.now() + hours * 3_600_000).toISOString();
}

describe("topics in paths and queries: 400, naming the field", () => {
  test.each([
    ["GET", "/v1/topics/room%207", "params/topic"],
    ["GET", "/v1/topics/room.*", "params/topic"],
    ["GET", "/v1/topics/room.*/presence", "params/topic"],
    ["GET", "/v1/topics/news/presence?limit=0", "querystring/limit"],
    ["GET", "/v1/topics/news/presence?limit=1001", "querystring/limit"],
    ["GET", "/v1/topics/news/presence?cursor=%20", "querystring/cursor"],
    ["GET", "/v1/topics/news/presence?users=ada", "querystring/users"],
    ["GET", "/v1/presence", "querystring/users"],
    ["GET", "/v1/users/ada/messages?state=queued", "querystring/state"],
    ["GET", "/v1/users/ada/messages?state=scheduled&cursor=7", "querystring/cursor"],
    ["GET", "/v1/users/ada/messages?state=scheduled&after=7", "querystring/after"],
    ["GET", "/v1/users/ada/messages?cursor=1-0123456789abcdem_1", "querystring/cursor"],
    ["GET", "/v1/presence?users=", "querystring/users"],
    ["GET", "/v1/presence?users=,", "querystring/users"],
    ["GET", "/v1/presence?users=ada,", "querystring/users"],
    ["GET", "/v1/presence?users=ada,b%20c", "querystring/users"],
    ["GET", "/v1/presence?users=ada,bob,ada", "querystring/users"],
    ["GET", "/v1/presence?users=ada&users=bob", "querystring/users"],
    ["GET", "/v1/presence?users=ada&limit=1", "querystring/limit"],
    ["GET", `/v1/presence?users=${"u".repeat(129)}`, "querystring/users"],
    [
      "GET",
      `/v1/presence?users=${Array.from({ length: 201 }, (_, i) => `u${i}`).join(",")}`,
      "querystring/users",
    ],
    ["GET", "/v1/topics/%24other", "params/topic"],
    ["GET", `/v1/topics/${"t".repeat(129)}/messages`, "params/topic"],
    ["GET", "/v1/topics/news?limit=5", "querystring/limit"],
    ["GET", "/v1/topics/news/messages?after=-1", "querystring/after"],
    ["GET", "/v1/topics/news/messages?after=1.5", "querystring/after"],
    ["GET", "/v1/topics/news/messages?limit=1001", "querystring/limit"],
    ["GET", "/v1/topics/news/messages?cursor=1", "querystring/cursor"],
    ["PUT", "/v1/users/ada/topics/room%207", "params/topic"],
    ["PUT", "/v1/users/ada/topics/%24all", "params/topic"],
    ["PUT", "/v1/users/ada/topics/room.*", "params/topic"],
    ["PUT", "/v1/users/a%20b/topics/news", "params/id"],
    ["PUT", "/v1/users/ada/topics/news?since=1", "querystring/since"],
    ["DELETE", "/v1/users/ada/topics/%24all", "params/topic"],
    ["GET", "/v1/users/ada/topics?cursor=a%20b", "querystring/cursor"],
    ["GET", "/v1/users/ada/topics?limit=0", "querystring/limit"],
  ] as const)("%s %s", async (method, url, field) => {
    await expectRefused(await collect.ask(method, url), 400, "PETREL_INVALID_REQUEST", {
      details: { field },
    });
  });

  test.each([{ since: 1 }, [], "news"])("an unexpected body: %j", async (body) => {
    const field = Array.isArray(body) || typeof body === "string" ? "body" : "body/since";
    const answer = await collect.ask("PUT", "/v1/users/ada/topics/news", { body });
    await expectRefused(answer, 400, "PETREL_INVALID_REQUEST", { details: { field } });
  });
});

test("`all` without the scope admin beside send: 403, naming it", async () => {
  const as = await collect.producer("no-admin", ["send", "read"]);
  before = await collect.store.snapshot();
  await expectRefused(await send({ body: { to: { all: true }, data: 1 }, as }), 403, "PETREL_FORBIDDEN", {
    details: { scope: "admin" },
  });
  const onlyAdmin = await collect.producer("only-admin", ["admin"]);
  before = await collect.store.snapshot();
  const answer = await send({ body: { to: { all: true }, data: 1 }, as: onlyAdmin });
  await expectRefused(answer, 403, "PETREL_FORBIDDEN", { details: { scope: "send" } });
});

test("an unknown path: 404; a malformed one: 400", async () => {
  await expectRefused(await collect.ask("GET", "/v1/nothing"), 404, "PETREL_NOT_FOUND");
  await expectRefused(await collect.ask("GET", "/v1/users/%ff/presence"), 400, "PETREL_INVALID_REQUEST");
});

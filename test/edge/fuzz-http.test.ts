// Flow: random requests, near the contract and far from it, to the services' real ports.
// Guarantees: every answer has a status, and every error the contract's shape; nothing is Petrel's own fault (500),
// nothing crashes, no rejection goes unhandled; afterwards the cluster works as before.
import { request } from "node:http";
import { gzipSync } from "node:zlib";
import * as fc from "fast-check";
import { chooseSeed } from "@petrel/shared/testing/faults/seeded-random";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient } from "@petrel/shared/testing/peers/ws-client";
import { USER_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import { sized } from "../support/sizes.js";
import { errorCatalogue } from "@petrel/shared/protocol/error-codes";
import { afterAll, beforeAll, expect, test } from "vitest";

const REQUESTS = sized(10_000, 500);
const AT_ONCE = 20;

let cluster: TestCluster;
let userToken: string;
beforeAll(async () => {
  cluster = await startCluster({ together: true, nodes: 1 });
  userToken = await cluster.tokenFor("fuzz-user");
});
afterAll(() => cluster.stop());

interface FuzzRequest {
  readonly service: "collect" | "auth" | "dispatch" | "push-node";
  readonly method: string;
  readonly path: string;
  readonly credential: "producer" | "admin" | "user" | "none" | "broken";
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

const json = fc.json({ maxDepth: 4 });
const odd = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    "",
    -1,
    0,
    1.5,
    1e308,
    true,
    [],
    {},
    "x".repeat(200),
    "\u0000",
    "__proto__",
    "ünï",
    "𝄞",
  ),
  fc.jsonValue({ maxDepth: 3 }),
);
/** Usually a correct member; else anything, or missing. */
const member = (good: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof(
    { arbitrary: good, weight: 20 },
    { arbitrary: odd, weight: 1 },
    { arbitrary: fc.constant(undefined), weight: 1 },
  );
const user = fc.oneof(
  fc.stringMatching(new RegExp(USER_ID_PATTERN)),
  fc.constantFrom("fuzz-user", "toString", "__proto__", "constructor", "a".repeat(128)),
);
const message = fc.record({
  to: member(
    fc.oneof(
      fc.record({ user }),
      fc.record({ users: fc.uniqueArray(user, { minLength: 1, maxLength: 5 }) }),
      fc.record({ user }),
      fc.record({ topic: fc.oneof(user, fc.string()) }),
      fc.record({ all: fc.boolean() }),
    ),
  ),
  data: fc.jsonValue({ maxDepth: 5 }),
  ttlSeconds: member(fc.integer({ min: 1, max: 2_592_000 })),
  priority: member(fc.constantFrom("high", "normal", "low")),
  idempotencyKey: member(fc.constantFrom("k1", "k2", "k3")),
  fallback: member(fc.constantFrom("offline", "never")),
  notification: member(
    fc.record({
      title: fc.string(),
      body: fc.string(),
      badge: member(fc.nat()),
      apns: member(fc.constant(undefined)),
      wechat: member(fc.constant(undefined)),
    }),
  ),
  deliverAt: member(
    fc.oneof(fc.constantFrom("2020-01-01T00:00:00Z", "2020-01-01T01:00:00.5+01:00"), fc.string()),
  ),
  unknown: member(fc.constant(undefined)),
});
const device = fc.record({
  platform: member(fc.constantFrom("ios", "wechat")),
  token: member(fc.stringMatching(/^[0-9a-f]{64}$/)),
  topic: member(fc.constant("com.example.app")),
  environment: member(fc.constantFrom("production", "sandbox")),
});
const bodyOf: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  "/v1/messages": message,
  "/v1/messages/batch": fc.record({ messages: member(fc.array(message, { maxLength: 4 })) }),
  "/v1/tokens": fc.record({
    userId: member(user),
    topics: member(fc.array(fc.oneof(user, fc.string(), fc.jsonValue()), { maxLength: 3 })),
    ttlSeconds: member(fc.integer({ min: 1, max: 86_400 })),
    device: member(odd),
  }),
  "/v1/tokens/refresh": fc.record({ refreshToken: member(fc.string()) }),
  "/v1/introspect": fc.record({ token: member(fc.string()) }),
  "/v1/devices": device,
  "/v1/users/fuzz-user/devices": device,
  "/v1/keys": fc.record({ name: member(fc.string({ minLength: 1 })), scopes: member(fc.constant(["read"])) }),
};

const segment = fc.oneof(
  user.map(encodeURIComponent),
  fc.webSegment(),
  fc.constantFrom(
    "..",
    "%2e%2e",
    "%00",
    "%ff",
    "%",
    "%zz",
    "",
    ".",
    "a%2Fb",
    "x".repeat(600),
    "m0_0",
    "toString",
  ),
);
const query = fc.oneof(
  { arbitrary: fc.constant(""), weight: 5 },
  {
    arbitrary: fc
      .array(
        fc.tuple(
          fc.constantFrom("cursor", "limit", "after", "cause", "__proto__", "x"),
          fc.webQueryParameters(),
        ),
        { maxLength: 3 },
      )
      .map((pairs) => `?${pairs.map(([name, value]) => `${name}=${value}`).join("&")}`),
    weight: 2,
  },
);
const routes: readonly [FuzzRequest["service"], string, string][] = [
  ["collect", "POST", "/v1/messages"],
  ["collect", "POST", "/v1/messages"],
  ["collect", "POST", "/v1/messages/batch"],
  ["collect", "GET", "/v1/messages/:x"],
  ["collect", "DELETE", "/v1/messages/:x"],
  ["collect", "GET", "/v1/users/:x/messages"],
  ["collect", "GET", "/v1/users/:x/presence"],
  ["collect", "POST", "/v1/users/:x/disconnect"],
  ["collect", "GET", "/v1/users/:x"],
  ["collect", "GET", "/v1/topics/:x/presence"],
  ["collect", "GET", "/v1/presence"],
  ["collect", "GET", "/v1/topics/:x"],
  ["collect", "GET", "/v1/topics/:x/messages"],
  ["collect", "PUT", "/v1/users/fuzz-user/topics/:x"],
  ["collect", "DELETE", "/v1/users/fuzz-user/topics/:x"],
  ["collect", "GET", "/v1/users/:x/topics"],
  ["auth", "POST", "/v1/tokens"],
  ["auth", "POST", "/v1/tokens/refresh"],
  ["auth", "POST", "/v1/introspect"],
  ["auth", "PUT", "/v1/devices"],
  ["auth", "DELETE", "/v1/devices/:x"],
  ["auth", "PUT", "/v1/users/fuzz-user/devices"],
  ["auth", "GET", "/v1/users/:x/devices"],
  ["auth", "POST", "/v1/keys"],
  ["auth", "GET", "/v1/keys"],
  ["auth", "PATCH", "/v1/keys/:x"],
  ["auth", "GET", "/v1/audit"],
  ["dispatch", "GET", "/v1/dead-letters"],
  ["dispatch", "GET", "/v1/dead-letters/:x"],
  ["dispatch", "POST", "/v1/dead-letters/:x/replay"],
  ["dispatch", "GET", "/v1/invalidations"],
  ["dispatch", "GET", "/v1/nodes"],
  ["dispatch", "POST", "/v1/nodes/:x/drain"],
  ["dispatch", "GET", "/v1/channels"],
  ["dispatch", "POST", "/v1/channels/:x/pause"],
  ["dispatch", "GET", "/v1/diagnosis"],
  ["dispatch", "GET", "/v1/archive"],
  ["dispatch", "POST", "/v1/archive/redrive"],
  ["push-node", "GET", "/v1/connect"],
  ["push-node", "GET", "/:x"],
];

const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
const fuzzRequest: fc.Arbitrary<FuzzRequest> = fc
  .tuple(fc.constantFrom(...routes), fc.array(segment, { minLength: 1, maxLength: 2 }), query)
  .chain(([[service, method, route], segments, search]) => {
    const path = route.replace(":x", segments.join("/")) + search;
    const near = (bodyOf[route] ?? fc.jsonValue()).map((value) => Buffer.from(JSON.stringify(value) ?? ""));
    return fc.record({
      service: fc.constant(service),
      method: fc.oneof(
        { arbitrary: fc.constant(method), weight: 12 },
        { arbitrary: fc.constantFrom("PUT", "PATCH", "OPTIONS", "HEAD", "TRACE"), weight: 1 },
      ),
      path: fc.constant(path),
      credential: fc.oneof(
        {
          arbitrary: fc.constant<FuzzRequest["credential"]>(
            route.startsWith("/v1/devices") ? "user" : "admin",
          ),
          weight: 8,
        },
        {
          arbitrary: fc.constantFrom<FuzzRequest["credential"]>("producer", "user", "none", "broken"),
          weight: 1,
        },
      ),
      headers: fc.oneof(
        { arbitrary: fc.constant({ "content-type": "application/json" }), weight: 8 },
        { arbitrary: fc.constant({ "content-type": "application/json; charset=utf-8" }), weight: 1 },
        {
          arbitrary: fc.constantFrom<Readonly<Record<string, string>>>(
            {},
            { "content-type": "text/plain" },
            { "content-type": "application/x-www-form-urlencoded" },
            { "content-type": "application/json", "content-encoding": "gzip" },
            { "content-type": "application/json", "content-encoding": "br" },
            { "content-type": "/" },
            { "content-type": "application/json", "x-forwarded-for": "1.2.3.4, ::1, nonsense" },
            { "content-type": "application/json", expect: "100-continue" },
          ),
          weight: 2,
        },
      ),
      body: fc.oneof(
        { arbitrary: near, weight: 8 },
        { arbitrary: json.map((text) => Buffer.from(text)), weight: 1 },
        { arbitrary: bytes, weight: 1 },
        { arbitrary: near.map((buffer) => gzipSync(buffer)), weight: 1 },
        // Cut off, or with one byte changed.
        {
          arbitrary: fc.tuple(near, fc.nat(), fc.nat(255)).map(([buffer, at, value]) => {
            const changed = Buffer.from(buffer);
            if (changed.length > 0) changed[at % changed.length] = value;
            return value % 2 === 0 ? changed : changed.subarray(0, at % (changed.length + 1));
          }),
          weight: 3,
        },
        { arbitrary: fc.constant(undefined), weight: 1 },
      ),
    });
  });

function portOf(service: FuzzRequest["service"]): number {
  return cluster.newest(service === "dispatch" || service === "push-node" ? `${service}-1` : service).port;
}

function authorizationOf(credential: FuzzRequest["credential"]): Record<string, string> {
  switch (credential) {
    case "producer":
      return { authorization: `Bearer ${cluster.apiKey}` };
    case "admin":
      return { authorization: `Bearer ${cluster.adminKey}` };
    case "user":
      return { authorization: `Bearer ${userToken}` };
    case "broken":
      return { authorization: `Bearer ${cluster.adminKey.slice(0, -1)}` };
    case "none":
      return {};
  }
}

function send({ service, method, path, credential, headers, body }: FuzzRequest): Promise<Answer> {
  const isSent = body !== undefined && !["GET", "HEAD", "TRACE"].includes(method);
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: "127.0.0.1",
        port: portOf(service),
        method,
        path,
        headers: {
          ...headers,
          ...authorizationOf(credential),
          // Set explicitly: for a DELETE, Node would send the body without a length, as if it were the next request.
          ...(isSent ? { "content-length": String(body.length) } : {}),
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text: Buffer.concat(chunks).toString("utf8"),
          }),
        );
      },
    );
    sent.setTimeout(20_000, () => sent.destroy(new Error("no answer within 20 s")));
    sent.on("error", reject);
    sent.end(isSent ? body : undefined);
  });
}

const codes: ReadonlySet<string> = new Set(Object.keys(errorCatalogue));

/** @returns what is wrong with the answer, if anything */
function judge({ method }: FuzzRequest, { status, headers, text }: Answer): string | undefined {
  if (status === 500) return "a fault of Petrel's";
  if (status < 200 || (status >= 300 && status < 400)) return "an unexpected status";
  if (status < 400 || method === "HEAD") return undefined;
  // Node answers an unknown Expect, and bytes that are not HTTP, below the framework.
  if (status === 417) return undefined;
  const { error } = JSON.parse(text) as { readonly error?: Readonly<Record<string, unknown>> };
  if (typeof error?.["code"] !== "string" || !codes.has(error["code"])) return "no code of the catalogue";
  if (typeof error["message"] !== "string" || typeof error["retryable"] !== "boolean")
    return "not the error shape";
  if (status === 401 && headers["www-authenticate"] === undefined) return "401 without WWW-Authenticate";
  if ((status === 429 || status === 503) && Number(headers["retry-after"]) < 1) return "no Retry-After";
  return undefined;
}

test(`${REQUESTS} random requests: the right errors, no fault, and the cluster still works`, async () => {
  const seed = chooseSeed("fuzz-http");
  const cases = fc.sample(fuzzRequest, { numRuns: REQUESTS, seed });
  const statuses = new Map<number, number>();
  const wrong: string[] = [];
  const pending = cases.values();
  const work = async (): Promise<void> => {
    for (const one of pending) {
      const shown = `${one.method} ${one.service} ${one.path} ${one.credential} ${JSON.stringify(one.headers)} ${one.body?.toString("latin1") ?? ""}`;
      try {
        const answer = await send(one);
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        const problem = judge(one, answer);
        if (problem !== undefined) wrong.push(`${problem}: ${answer.status} ${answer.text} <- ${shown}`);
      } catch (error) {
        wrong.push(`${String(error)} <- ${shown}`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  process.stdout.write(
    `fuzz-http: ${[...statuses]
      .toSorted(([a], [b]) => a - b)
      .map(([status, count]) => `${status}: ${count}`)
      .join(", ")}\n`,
  );
  expect(wrong.slice(0, 10)).toEqual([]);
  // The requests reached their targets: most kinds of answer came.
  for (const status of [200, 202, 204, 400, 401, 403, 404, 415])
    expect(statuses.get(status) ?? 0, String(status)).toBeGreaterThan(0);

  for (const service of cluster.processes) {
    expect(service.isRunning(), service.name).toBe(true);
    expect(await service.log(), service.name).not.toMatch(/unhandled|uncaught/i);
  }
  const client = await connectClient({
    url: cluster.nodeUrls[0] ?? "",
    token: await cluster.tokenFor("after-the-storm"),
    ack: "each",
  });
  await cluster.post("/v1/messages", { to: { user: "after-the-storm" }, data: "still here" });
  expect((await client.untilMessages(1))[0]?.data).toBe("still here");
  client.close();
}, 240_000);

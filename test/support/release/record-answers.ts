// Tests only: a cluster's answers to one fixed visit, over HTTP and on sockets, in a form that can be compared between
// two clusters.
// Guarantees: the same visit each time; what naturally differs from run to run (ids, times, tokens) is reduced to its
// type, and everything else stays as it came.
import { setTimeout as sleep } from "node:timers/promises";
import type { TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import {
  openClient,
  type WsClient,
  type WsClientOptions,
  type Frame,
} from "@petrel/shared/testing/peers/ws-client";

type Service = "auth" | "collect" | "dispatch" | "push-node";
type Credential = "admin" | "api" | "user" | "wrong" | "none";
type Request = readonly [Service, string, string, Credential, unknown?];

/** How long a 503 is retried. */
const BUSY_MS = 60_000;
const notification = { title: "You have mail", body: "from Bob" };
const phone = {
  platform: "ios",
  token: "ab".repeat(32),
  topic: "com.example.app",
  environment: "production",
};
const inOneDay = (): string => new Date(Date.now() + 86_400_000).toISOString();

/** In this order. `:message` is the id of the first accepted message. */
const requests = (accessToken: string): readonly Request[] => [
  ["auth", "POST", "/v1/tokens", "admin", { userId: "ada", device: { id: "d1", platform: "web" } }],
  ["auth", "POST", "/v1/tokens", "admin", {}],
  ["auth", "POST", "/v1/tokens", "none", { userId: "ada" }],
  ["auth", "POST", "/v1/tokens", "wrong", { userId: "ada" }],
  ["auth", "POST", "/v1/tokens/refresh", "none", { refreshToken: "unknown" }],
  ["auth", "POST", "/v1/tickets", "user"],
  ["auth", "POST", "/v1/tickets", "none"],
  ["auth", "POST", "/v1/introspect", "api", { token: accessToken }],
  ["auth", "POST", "/v1/introspect", "api", { token: "no token" }],
  ["auth", "PUT", "/v1/devices", "user", phone],
  ["auth", "PUT", "/v1/devices", "user", { ...phone, token: "zz" }],
  ["auth", "PUT", "/v1/users/bob/devices", "api", { platform: "wechat", openid: "o1", appid: "wx1" }],
  ["auth", "GET", "/v1/devices", "user"],
  ["auth", "GET", "/v1/users/bob/devices?limit=0", "api"],
  ["auth", "DELETE", "/v1/devices/unknown", "user"],
  ["auth", "GET", "/.well-known/jwks.json", "none"],
  ["auth", "POST", "/v1/keys", "admin", { name: "shop", scopes: ["send"], signing: true }],
  ["auth", "POST", "/v1/keys", "api", { name: "shop", scopes: ["send"] }],
  ["auth", "GET", "/v1/keys", "admin"],
  ["auth", "DELETE", "/v1/keys/unknown", "admin"],
  ["auth", "GET", "/v1/audit", "admin"],
  ["auth", "GET", "/v1/signing-keys", "admin"],
  ["auth", "POST", "/v1/tokens/revoke", "admin", { userId: "carol" }],
  ["collect", "POST", "/v1/messages", "api", { to: { user: "bob" }, data: 1, idempotencyKey: "k1" }],
  ["collect", "POST", "/v1/messages", "api", { to: { user: "bob" }, data: 1, idempotencyKey: "k1" }],
  ["collect", "POST", "/v1/messages", "api", { to: { user: "bob" }, data: 2, idempotencyKey: "k1" }],
  ["collect", "POST", "/v1/messages", "api", { to: { users: ["bob", "carol"] }, data: {}, notification }],
  ["collect", "POST", "/v1/messages", "api", { to: { topic: "news" }, data: 1 }],
  ["collect", "POST", "/v1/messages", "admin", { to: { all: true }, data: 1 }],
  ["collect", "POST", "/v1/messages", "api", { to: { user: "bob" }, data: 1, deliverAt: inOneDay() }],
  ["collect", "POST", "/v1/messages", "api", { to: { user: "bob" }, data: 1, unknown: true }],
  ["collect", "POST", "/v1/messages", "api", { to: { user: "b b" }, data: 1 }],
  ["collect", "POST", "/v1/messages", "api", { to: { user: "bob" }, data: "x".repeat(70_000) }],
  ["collect", "POST", "/v1/messages", "none", { to: { user: "bob" }, data: 1 }],
  [
    "collect",
    "POST",
    "/v1/messages/batch",
    "api",
    {
      messages: [
        { to: { user: "bob" }, data: 1 },
        { to: { user: "bob" }, data: 1, ttlSeconds: 0 },
      ],
    },
  ],
  [
    "collect",
    "POST",
    "/v1/messages/batch",
    "api",
    {
      messages: [
        { to: { user: "bob" }, data: 1 },
        { to: { users: ["bob", "dan"] }, data: 2 },
      ],
    },
  ],
  ["collect", "GET", "/v1/messages/:message", "api"],
  ["collect", "GET", "/v1/messages/unknown", "api"],
  ["collect", "GET", "/v1/users/bob/messages?limit=2", "api"],
  ["collect", "DELETE", "/v1/messages/:message", "api"],
  ["collect", "GET", "/v1/users/bob/presence", "api"],
  ["collect", "GET", "/v1/topics/news/presence", "api"],
  ["collect", "POST", "/v1/users/bob/disconnect", "admin"],
  ["collect", "POST", "/v1/users/bob/disconnect", "api"],
  ["collect", "DELETE", "/v1/users/dan", "admin"],
  ["collect", "GET", "/v1/nowhere", "api"],
  ["dispatch", "GET", "/v1/dead-letters", "admin"],
  ["dispatch", "GET", "/v1/dead-letters?cause=unknown", "admin"],
  ["dispatch", "GET", "/v1/dead-letters/unknown", "admin"],
  ["dispatch", "GET", "/v1/invalidations", "admin"],
  ["dispatch", "GET", "/v1/invalidations", "api"],
  ["dispatch", "GET", "/v1/partitions", "admin"],
  ["push-node", "GET", "/v1/connect", "none"],
  ...(["auth", "collect", "dispatch", "push-node"] as const).flatMap((service): Request[] => [
    [service, "GET", "/health/live", "none"],
    [service, "GET", "/health/ready", "none"],
    [service, "GET", "/version", "none"],
  ]),
];

const comparedHeaders = [
  "content-type",
  "cache-control",
  "www-authenticate",
  "retry-after",
  "ratelimit-policy",
  "upgrade",
  "location",
] as const;

/** Values that differ in each run, or words that may be improved. */
const varying = new Set(
  (
    "id keyId messageId connection node epoch lineage owner dispatcher holder at acceptedAt " +
    "expiresAt registeredAt lastSeenAt connectedAt createdAt since accessToken refreshToken ticket " +
    "secret jti iat exp kid x y n sid activeFrom signsFrom retiredAt until leaseEndsAt afterMs " +
    "target actor token message version"
  ).split(" "),
);

export type Answers = Readonly<Record<string, unknown>>;

export async function recordAnswers(cluster: TestCluster): Promise<Answers> {
  const token = await cluster.tokenFor("ada");
  const urls: Readonly<Record<Service, string>> = {
    auth: cluster.auth.url,
    collect: cluster.collect.url,
    dispatch: cluster.dispatchers[0]?.url ?? "",
    "push-node": cluster.nodes[0]?.url ?? "",
  };
  const credentials: Readonly<Record<Credential, string | undefined>> = {
    admin: cluster.adminKey,
    api: cluster.apiKey,
    user: token,
    wrong: `${cluster.apiKey}x`,
    none: undefined,
  };
  const answers: Record<string, unknown> = {};
  let message = "";
  for (const [i, [service, method, path, credential, body]] of requests(token).entries()) {
    const authorization = credentials[credential];
    const ask = () =>
      fetch(urls[service] + path.replace(":message", message), {
        method,
        headers: {
          ...(authorization === undefined ? {} : { authorization: `Bearer ${authorization}` }),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    let response = await ask();
    // A 503 says itself that it may pass: on a busy machine a process has not yet heard from another.
    for (const end = performance.now() + BUSY_MS; response.status === 503 && performance.now() < end;) {
      await response.body?.cancel();
      await sleep(250);
      response = await ask();
    }
    const text = await response.text();
    const parsed = text === "" ? undefined : (JSON.parse(text) as unknown);
    if (message === "" && path === "/v1/messages" && response.status === 202) {
      message = (parsed as { readonly id: string }).id;
    }
    const headers = comparedHeaders.map((name): [string, string | null] => [
      name,
      response.headers.get(name),
    ]);
    answers[`${i} ${service} ${method} ${path} (${credential})`] = {
      status: response.status,
      headers: Object.fromEntries(headers),
      body: leaveTypes(parsed),
    };
  }
  return answers;
}

/** Without `$all`, which a release without topics does not have: an added frame would shift all others. */
function asked({ frames }: WsClient): readonly Frame[] {
  return frames.filter(({ type, topic }) => type !== "subscribed" || topic !== "$all");
}

/** Each socket's frames, in order, and its close. */
export async function recordFrames(cluster: TestCluster): Promise<Answers> {
  const [url = ""] = cluster.nodeUrls;
  const frames: Record<string, unknown> = {};
  const visit = async (
    name: string,
    options: Omit<WsClientOptions, "url">,
    during?: (client: WsClient) => Promise<unknown>,
  ): Promise<WsClient> => {
    const client = openClient({ url, ...options });
    await during?.(client);
    // Told by the server, or left.
    if (during === undefined) await client.untilClosed();
    else if (client.closed() === undefined) client.close();
    const closed = await client.untilClosed();
    frames[name] = {
      frames: leaveTypes(asked(client)),
      closed: leaveTypes(closed),
      protocol: client.socket.protocol,
    };
    return client;
  };
  const count = (client: WsClient, frame: number) =>
    waitFor(() => asked(client).length >= frame || client.closed() !== undefined, {
      what: `${frame} frames`,
      deadlineMs: 20_000,
    });
  const send = (data: unknown) => cluster.post("/v1/messages", { to: { user: "eve" }, data });
  const token = await cluster.tokenFor("eve");

  const first = await visit("messages, acks, ping, a fresh token, a topic", { token }, async (client) => {
    await client.frame("welcome");
    await send({ text: "ü", n: 1 });
    await send([2]);
    await client.untilMessages(2);
    client.ack(1);
    client.send({ type: "ping", unknown: 1 });
    await count(client, 4);
    client.send({ type: "token", token: await cluster.tokenFor("eve") });
    await count(client, 5);
    client.send({ type: "subscribe", topic: "news" });
    await count(client, 6);
  });
  const { epoch } = await first.frame("welcome");
  await visit("resumed", { token, query: `epoch=${String(epoch)}&since=1` }, (client) =>
    client.untilMessages(1),
  );
  await visit("anew", { token }, (client) => client.untilMessages(1));
  await visit("auth as the first frame", {}, async (client) => {
    await waitFor(() => client.socket.readyState === client.socket.OPEN, { what: "the socket" });
    client.send({ type: "auth", token });
    await client.untilMessages(1);
  });
  // Nothing waits for this one, so nothing comes in between.
  const quiet = await cluster.tokenFor("frank");
  const untilClosed = async (client: WsClient, frame: unknown): Promise<void> => {
    await client.frame("welcome");
    client.send(frame);
    await client.untilClosed();
  };
  await visit("an ack beyond what was sent", { token: quiet }, (client) =>
    untilClosed(client, { type: "ack", seq: 99 }),
  );
  await visit("an unknown type", { token: quiet }, (client) => untilClosed(client, { type: "hello" }));
  const another = await cluster.tokenFor("mallory");
  await visit("another user's token", { token: quiet }, (client) =>
    untilClosed(client, { type: "token", token: another }),
  );
  await visit("a binary frame", { token: quiet }, async (client) => {
    await client.frame("welcome");
    client.socket.send(Buffer.from([1]));
    await client.untilClosed();
  });
  await visit("a token that is none", { token: "a.b.c" });
  await visit("a ticket that is none", { query: "ticket=unknown" });
  await visit("disconnected", { token: quiet }, async (client) => {
    await client.frame("welcome");
    const answer = await fetch(`${cluster.collect.url}/v1/users/frank/disconnect`, {
      method: "POST",
      headers: { authorization: `Bearer ${cluster.adminKey}` },
    });
    await answer.body?.cancel();
    await client.untilClosed();
  });
  const revoked = await cluster.tokenFor("revoked");
  const answer = await fetch(`${cluster.auth.url}/v1/tokens/revoke`, {
    method: "POST",
    headers: { authorization: `Bearer ${cluster.adminKey}`, "content-type": "application/json" },
    body: JSON.stringify({ userId: "revoked" }),
  });
  await answer.body?.cancel();
  await visit("a revoked token", { token: revoked });
  await visit("the node stops", { token: quiet }, async (client) => {
    await client.frame("welcome");
    cluster.nodes[0]?.signal("SIGTERM");
    await client.untilClosed();
  });
  return frames;
}

/** Values that count down while a busy machine takes its time. */
const countingDown = new Set(["expiresIn", "inSeconds"]);

function leaveTypes(value: unknown, key = ""): unknown {
  if (typeof value === "number" && countingDown.has(key)) return `about ${Math.round(value / 300) * 300}`;
  if (typeof value !== "object" || value === null) return varying.has(key) ? `<${typeof value}>` : value;
  if (Array.isArray(value)) return value.map((one) => leaveTypes(one, key));
  return Object.fromEntries(Object.entries(value).map(([name, inside]) => [name, leaveTypes(inside, name)]));
}

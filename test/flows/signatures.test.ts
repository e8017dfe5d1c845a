// Flow: signed requests to real processes: auth, dispatch, and two collects that share their nonces.
// Guarantees: a changed or repeated request is 401, with the reason in the code, and stores nothing.
import { createHash } from "node:crypto";
import { request as httpRequest } from "node:http";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { signRequest } from "@petrel/shared/security/producers/request-signature";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import type { ServiceProcess } from "@petrel/shared/testing/cluster/service-process";
import { waitFor } from "@petrel/shared/testing/wait-for";

let cluster: TestCluster;
let first: ServiceProcess;
let second: ServiceProcess;

beforeAll(async () => {
  cluster = await startCluster({ together: true, nodes: 1, collects: 2 });
  const [one, two] = cluster.collects;
  if (one === undefined || two === undefined) throw new Error("two collects are needed");
  [first, second] = [one, two];
});
afterAll(() => cluster.stop());

interface Request {
  readonly method: string;
  readonly target: string;
  readonly body: string | Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly body: Readonly<Record<string, unknown>>;
}

let nonces = 0;

/** A request and its signature, as a business system would send them. */
function signed({
  key = cluster.apiKey,
  method = "POST",
  target = "/v1/messages",
  body = message("alice"),
  id = `nonce-${++nonces}`,
  offsetSeconds = 0,
  headers = {},
}: {
  key?: string;
  method?: string;
  target?: string;
  body?: string | Buffer;
  id?: string;
  offsetSeconds?: number;
  headers?: Readonly<Record<string, string>>;
} = {}): Request {
  const [keyId = "", secret = ""] = key.split(".");
  const timestamp = String(Math.floor(Date.now() / 1_000) + offsetSeconds);
  const bodySha256 = createHash("sha256").update(body).digest("hex");
  const signature = signRequest({ id, timestamp, method, target, bodySha256 }, secret);
  return {
    method,
    target,
    body,
    headers: {
      "petrel-key": keyId,
      "petrel-id": id,
      "petrel-timestamp": timestamp,
      "petrel-signature": `v1,${signature}`,
      ...(body.length === 0 ? {} : { "content-type": "application/json" }),
      ...headers,
    },
  };
}

function message(user: string): string {
  return JSON.stringify({ to: { user }, data: { text: "hello" } });
}

/** Not fetch, which would normalise the request. */
function send({ method, target, body, headers }: Request, to: ServiceProcess = first): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asking = httpRequest(
      {
        port: to.port,
        host: "127.0.0.1",
        method,
        path: target,
        headers: { ...headers, "content-length": String(Buffer.byteLength(body)) },
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("end", () => {
          const parsed = (text === "" ? {} : JSON.parse(text)) as Answer["body"];
          const error = parsed["error"] as { readonly code?: string } | undefined;
          resolve({ status: response.statusCode ?? 0, code: error?.code, body: parsed });
        });
      },
    );
    asking.on("error", reject);
    asking.end(body);
  });
}

function bearer(key: string, more: Partial<Request> = {}): Request {
  const request = signed({ key, ...more });
  return {
    ...request,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
  };
}

async function makeKey(more: Readonly<Record<string, unknown>>): Promise<{ id: string; key: string }> {
  const body = JSON.stringify({ name: "test", scopes: ["send", "read"], ...more });
  const answer = await send(signed({ key: cluster.adminKey, target: "/v1/keys", body }), cluster.auth);
  expect(answer.status).toBe(201);
  const { id, secret } = answer.body as { id: string; secret: string };
  return { id, key: `${id}.${secret}` };
}

async function inboxOf(user: string): Promise<readonly unknown[]> {
  const target = `/v1/users/${user}/messages`;
  const answer = await send(signed({ method: "GET", target, body: "" }));
  expect(answer.status).toBe(200);
  return answer.body["items"] as unknown[];
}

describe("a signed request", () => {
  test("is accepted at each service, with a body, a compressed one, or none", async () => {
    expect((await send(signed({ body: message("ann") }))).status).toBe(202);
    const packed = gzipSync(message("ann"));
    const gzip = { "content-encoding": "gzip" };
    expect((await send(signed({ body: packed, headers: gzip }), second)).status).toBe(202);
    expect(await inboxOf("ann")).toHaveLength(2);
    const query = "/v1/users/ann/messages?after=1&limit=10";
    const page = await send(signed({ method: "GET", target: query, body: "" }));
    expect(page.body["items"]).toHaveLength(1);

    const token = { target: "/v1/tokens", body: '{"userId":"ann"}' };
    expect((await send(signed(token), cluster.auth)).status).toBe(201);
    const [dispatch] = cluster.dispatchers;
    if (dispatch === undefined) throw new Error("a dispatcher is needed");
    const letters = { key: cluster.adminKey, method: "GET", target: "/v1/dead-letters?limit=1", body: "" };
    expect((await send(signed(letters), dispatch)).status).toBe(200);
    expect((await send(signed({ ...letters, key: cluster.apiKey }), dispatch)).code).toBe("PETREL_FORBIDDEN");
  });

  test("that is replayed is refused, by every process, and is stored once", async () => {
    const request = signed({ body: message("ben") });
    expect((await send(request)).status).toBe(202);
    for (const process of [first, second]) {
      expect(await send(request, process)).toMatchObject({ status: 401, code: "PETREL_SIGNATURE_REPLAYED" });
    }
    expect(await inboxOf("ben")).toHaveLength(1);
  });

  test("sent fifty times at once to two processes is accepted once", async () => {
    const request = signed({ body: message("cat") });
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => send(request, i % 2 === 0 ? first : second)),
    );
    const codes = answers.map(({ status, code }) => code ?? status);
    expect(codes.filter((code) => code === 202)).toHaveLength(1);
    expect(codes.filter((code) => code === "PETREL_SIGNATURE_REPLAYED")).toHaveLength(49);
    expect(await inboxOf("cat")).toHaveLength(1);
  });

  test.each<[string, (good: Request) => Request]>([
    ["its body", (good) => ({ ...good, body: message("mallory") })],
    ["a single byte of its body", (good) => ({ ...good, body: String(good.body).replace("hello", "hellp") })],
    ["no body", (good) => ({ ...good, body: "" })],
    ["its path", (good) => ({ ...good, target: "/v1/messages/batch" })],
    ["a query", (good) => ({ ...good, target: "/v1/messages?x=1" })],
    ["an empty query", (good) => ({ ...good, target: "/v1/messages?" })],
    ["its method", (good) => ({ ...good, method: "DELETE", target: "/v1/messages" })],
    ["its nonce", (good) => withHeader(good, "petrel-id", "another")],
    ["its time", (good) => withHeader(good, "petrel-timestamp", String(Math.floor(Date.now() / 1_000) - 7))],
    ["wrong base64", (good) => withHeader(good, "petrel-signature", "v1,%%%")],
    ["no signature", (good) => withHeader(good, "petrel-signature", "")],
    ["another version only", (good) => withHeader(good, "petrel-signature", `v2,${"A".repeat(43)}=`)],
  ])("with %s changed is refused, and spends no nonce", async (what, change) => {
    const good = signed({ body: message("dan") });
    const answer = await send(change(good));
    // An unknown route is unknown to everybody.
    if (what === "its method") expect(answer.status).toBe(404);
    else expect(answer).toMatchObject({ status: 401, code: "PETREL_SIGNATURE_INVALID" });
    expect((await send(good)).status).toBe(202);
  });

  test("to another existing path or by another method is refused", async () => {
    const read = signed({ method: "GET", target: "/v1/messages/p0_none", body: "" });
    expect((await send({ ...read, method: "DELETE" })).code).toBe("PETREL_SIGNATURE_INVALID");
    expect((await send({ ...read, target: "/v1/messages/p0_other" })).code).toBe("PETREL_SIGNATURE_INVALID");
    expect((await send({ ...read, method: "HEAD" })).status).toBe(401);
    expect((await send(read)).code).toBe("PETREL_NOT_FOUND");
  });

  test("of a compressed body that was decompressed on the way is refused", async () => {
    const good = signed({ body: gzipSync(message("eve")), headers: { "content-encoding": "gzip" } });
    const { "content-encoding": _gone, ...headers } = good.headers;
    expect((await send({ ...good, body: message("eve"), headers })).code).toBe("PETREL_SIGNATURE_INVALID");
    expect(await inboxOf("eve")).toEqual([]);
  });

  test.each([-301, -3_600, 302, 3_600])("%i s from the server's time is refused", async (offsetSeconds) => {
    expect(await send(signed({ offsetSeconds }))).toMatchObject({
      status: 401,
      code: "PETREL_SIGNATURE_EXPIRED",
    });
  });

  test.each([-290, 290])("%i s from it is accepted", async (offsetSeconds) => {
    expect((await send(signed({ offsetSeconds }))).status).toBe(202);
  });

  test("of an unknown key is refused, without further details", async () => {
    expect(await send(signed({ key: "pk_nobody.secret" }))).toMatchObject({
      status: 401,
      code: "PETREL_UNAUTHENTICATED",
    });
  });

  test("with a bearer credential beside it is 400", async () => {
    const headers = { authorization: `Bearer ${cluster.apiKey}` };
    expect(await send(signed({ headers }))).toMatchObject({ status: 400, code: "PETREL_INVALID_REQUEST" });
  });

  test("may carry several signatures, of which one matches", async () => {
    const good = signed();
    const others = `v2,abc v1,${"A".repeat(43)}= ${good.headers["petrel-signature"]}`;
    expect((await send(withHeader(good, "petrel-signature", others))).status).toBe(202);
  });
});

describe("a key", () => {
  test("that must sign is refused as a bearer", async () => {
    const { key } = await makeKey({ require: "signature" });
    expect((await send(signed({ key }))).status).toBe(202);
    expect(await send(bearer(key))).toMatchObject({ status: 401, code: "PETREL_SIGNATURE_REQUIRED" });
  });

  test("that may not sign is refused with a signature", async () => {
    const { key } = await makeKey({});
    expect((await send(bearer(key))).status).toBe(202);
    expect((await send(signed({ key }))).code).toBe("PETREL_SIGNATURE_INVALID");
  });

  test("keeps its old secret for the overlap of a rotation", async () => {
    const { id, key } = await makeKey({ signing: true });
    const rotate = { key: cluster.adminKey, target: `/v1/keys/${id}/rotate` };
    const answer = await send(signed({ ...rotate, body: '{"overlapSeconds":600}' }), cluster.auth);
    const renewed = `${id}.${String(answer.body["secret"])}`;
    for (const one of [key, renewed]) {
      await waitFor(async () => (await send(signed({ key: one }))).status === 202, { what: "both to pass" });
      await waitFor(async () => (await send(bearer(one), second)).status === 202, { what: "both to pass" });
    }
    const ended = await send(signed({ ...rotate, body: "" }), cluster.auth);
    const last = `${id}.${String(ended.body["secret"])}`;
    await waitFor(async () => (await send(signed({ key: last }))).status === 202, { what: "the new one" });
    await waitFor(async () => (await send(signed({ key }))).code === "PETREL_SIGNATURE_INVALID", {
      what: "the old one to end",
    });
    await waitFor(async () => (await send(bearer(renewed))).code === "PETREL_UNAUTHENTICATED", {
      what: "the one between to end",
    });
  });

  test("that was revoked is unknown, to each process within moments", async () => {
    const { id, key } = await makeKey({ signing: true });
    for (const process of [first, second]) expect((await send(signed({ key }), process)).status).toBe(202);
    const revoke = { key: cluster.adminKey, method: "DELETE", target: `/v1/keys/${id}`, body: "" };
    expect((await send(signed(revoke), cluster.auth)).status).toBe(204);
    for (const process of [first, second]) {
      await waitFor(async () => (await send(signed({ key }), process)).code === "PETREL_UNAUTHENTICATED", {
        what: "the key to be unknown",
      });
    }
  });
});

test("no log contains a secret or a signature", async () => {
  const { key } = await makeKey({ signing: true });
  const request = signed({ key });
  await send(request);
  await send(request);
  const secrets = [cluster.apiKey, cluster.adminKey, key].map((one) => one.slice(one.indexOf(".") + 1));
  for (const process of cluster.processes) {
    const log = await process.log();
    for (const secret of [...secrets, request.headers["petrel-signature"]?.slice(3) ?? ""]) {
      expect(log).not.toContain(secret);
    }
  }
});

function withHeader(request: Request, name: string, value: string): Request {
  return { ...request, headers: { ...request.headers, [name]: value } };
}

// Flow: HTTP that only raw sockets can speak, to the running cluster.
// Guarantees: an accepted message is never answered with an error for bytes that came after it; a revoked key is
// revoked on the connection that revoked it, too; a number that cannot be kept is refused, not changed.
import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster({ together: true, nodes: 1 });
});
afterAll(() => cluster.stop());

/** One connection; `ask` sends text and resolves with the status of the next answer. */
function rawHttp(port: number) {
  const socket = connect(port, "127.0.0.1");
  let received = "";
  let closed = false;
  socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
  socket.on("close", () => (closed = true));
  socket.on("error", () => undefined);
  return {
    received: () => received,
    isClosed: () => closed,
    write: (text: string) => socket.write(text),
    ask: async (text: string): Promise<number> => {
      const from = received.length;
      socket.write(text);
      await waitFor(() => /\r\n\r\n/.test(received.slice(from)), { what: "an answer" });
      await waitFor(
        () => {
          const answer = received.slice(from);
          const length = Number(/content-length: (\d+)/i.exec(answer)?.[1] ?? 0);
          return answer.length >= answer.indexOf("\r\n\r\n") + 4 + length;
        },
        { what: "its body" },
      );
      return Number(received.slice(from).split(" ")[1]);
    },
    end: () => socket.destroy(),
  };
}

function request(method: string, path: string, key: string, body?: unknown): string {
  const text = body === undefined ? "" : JSON.stringify(body);
  const typed =
    body === undefined ? "" : `Content-Type: application/json\r\nContent-Length: ${text.length}\r\n`;
  return `${method} ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}\r\n${typed}\r\n${text}`;
}

test("garbage after a request: the message is answered, or the connection ends", async () => {
  const raw = rawHttp(cluster.collect.port);
  const post = request("POST", "/v1/messages", cluster.apiKey, { to: { user: "pipelined" }, data: 1 });
  raw.write(`${post}garbage\r\n\r\n`);
  await waitFor(() => raw.isClosed(), { what: "the end" });
  expect(raw.received()).not.toContain("HTTP/1.1 400");
});

test("a key that revokes itself is refused with its next request on the same connection", async () => {
  const answer = await fetch(`${cluster.auth.url}/v1/keys`, {
    method: "POST",
    headers: { authorization: `Bearer ${cluster.adminKey}`, "content-type": "application/json" },
    body: JSON.stringify({ name: "short-lived", scopes: ["admin"] }),
  });
  const { id, secret } = (await answer.json()) as { id: string; secret: string };
  const key = secret.startsWith(`${id}.`) ? secret : `${id}.${secret}`;
  const raw = rawHttp(cluster.auth.port);
  expect(await raw.ask(request("GET", "/v1/keys", key))).toBe(200);
  expect(await raw.ask(request("DELETE", `/v1/keys/${id}`, key))).toBe(204);
  expect(await raw.ask(request("GET", "/v1/keys", key))).toBe(401);
  raw.end();
});

test("refuses a number beyond a double; does not repeat an unreadable target", async () => {
  const headers = { authorization: `Bearer ${cluster.apiKey}`, "content-type": "application/json" };
  for (const data of ["1e400", '{"deep":[1,-1e999]}', "9".repeat(310)]) {
    const answer = await fetch(`${cluster.collect.url}/v1/messages`, {
      method: "POST",
      headers,
      body: `{"to":{"user":"ada"},"data":${data}}`,
    });
    expect(answer.status, data).toBe(400);
  }
  const fine = await fetch(`${cluster.collect.url}/v1/messages`, {
    method: "POST",
    headers,
    body: '{"to":{"user":"ada"},"data":{"large":1e300,"text":"e1000"}}',
  });
  expect(fine.status).toBe(202);
  const raw = rawHttp(cluster.collect.port);
  expect(await raw.ask("GET /v1/users/%zz/presence?token=SECRET HTTP/1.1\r\nHost: x\r\n\r\n")).toBe(400);
  expect(raw.received()).not.toContain("SECRET");
  raw.end();
});

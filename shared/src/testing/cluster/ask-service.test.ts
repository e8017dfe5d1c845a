// Tests ask-service.
// Guarantees: every status is an answer; a connection is kept; one that ends as it is used again costs a question only
// if asking twice might do something twice.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { freePort } from "../free-port.js";
import { askService } from "./ask-service.js";

const asked: string[] = [];
const used = new Map<Socket, number>();
/** Ends a connection at its second question, as one whose time is over. */
let isImpatient = false;
const server = createServer((request, response) => {
  const { method, url, socket, headers } = request;
  const times = (used.get(socket) ?? 0) + 1;
  used.set(socket, times);
  asked.push(`${method} ${url}`);
  if (isImpatient && times > 1) return void socket.destroy();
  let body = "";
  request.on("data", (chunk: Buffer) => (body += chunk.toString()));
  request.on("end", () => {
    response.writeHead(url === "/refused" ? 429 : 200, { "retry-after": "7" });
    response.end(JSON.stringify({ body, type: headers["content-type"], text: "ü" }));
  });
});
let url: string;
beforeAll(async () => {
  await once(server.listen(0, "127.0.0.1"), "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => {
  isImpatient = false;
  asked.length = 0;
  for (const socket of used.keys()) socket.destroy();
  used.clear();
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

test("what was sent arrives, and any status is an answer", async () => {
  const headers = { "content-type": "text/plain" };
  const taken = await askService(url, { method: "POST", headers, body: "ä" });
  expect([taken.ok, taken.status]).toEqual([true, 200]);
  expect(await taken.json()).toEqual({ body: "ä", type: "text/plain", text: "ü" });
  const refused = await askService(`${url}/refused`);
  expect([refused.ok, refused.status, refused.headers.get("Retry-After")]).toEqual([false, 429, "7"]);
  expect(await refused.text()).toBe('{"body":"","text":"ü"}');
  expect(refused.headers.get("x-none")).toBeNull();
  expect(used.size).toBe(1);
});

test("nobody there: rejects", async () => {
  await expect(askService(`http://127.0.0.1:${await freePort()}`)).rejects.toThrow("ECONNREFUSED");
  await expect(askService(url, { signal: AbortSignal.abort() })).rejects.toThrow("aborted");
});

test("a kept connection that ends: GET is asked again, POST is only if it may be", async () => {
  await askService(url);
  isImpatient = true;
  expect((await askService(`${url}/again`)).status).toBe(200);
  expect(asked).toEqual(["GET /", "GET /again", "GET /again"]);
  await expect(askService(`${url}/once`, { method: "POST" })).rejects.toThrow("socket hang up");
  expect(asked.slice(3)).toEqual(["POST /once"]);
  await askService(url);
  const repeated = await askService(`${url}/twice`, { method: "POST", isRepeatable: true });
  expect(repeated.status).toBe(200);
  expect(asked.slice(-2)).toEqual(["POST /twice", "POST /twice"]);
});

// Tests hang-up and ask-service.
// Guarantees: an idle connection ends, one with a request under way ends after its answer; the next request works.
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { waitFor } from "../wait-for.js";
import { askService } from "./ask-service.js";
import { hangUp } from "./hang-up.js";

const waiting: ServerResponse[] = [];
const sockets = new Set<Socket>();
const server = createServer(({ url }, response) => {
  if (url === "/slow") waiting.push(response);
  else response.end("fast");
});
let url: string;
beforeAll(async () => {
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

test.each([
  ["fetch", fetch],
  ["askService", askService],
])("%s: idle connections end, requests are answered, and the next one works", async (_name, ask) => {
  const slow = ask(`${url}/slow`);
  await waitFor(() => waiting.length === 1, { what: "the slow request" });
  await (await ask(url)).text();
  expect(sockets.size).toBe(2);
  hangUp();
  await waitFor(() => sockets.size === 1, { what: "the idle connection to end" });
  waiting.pop()?.end("slow");
  expect(await (await slow).text()).toBe("slow");
  await waitFor(() => sockets.size === 0, { what: "the other connection to end" });
  expect(await (await ask(url)).text()).toBe("fast");
  hangUp();
  await waitFor(() => sockets.size === 0, { what: "the last connection to end" });
});

test("askService: one connection serves one request after the other", async () => {
  let opened = 0;
  server.on("connection", () => opened++);
  for (let i = 0; i < 3; i++) expect(await (await askService(url)).text()).toBe("fast");
  expect(opened).toBe(1);
  hangUp();
});

test("askService: sends what it is given, and tells the answer's status", async () => {
  const heard: unknown[] = [];
  const other = createServer((request, response) => {
    void text(request).then((body) => {
      heard.push([request.method, request.headers.authorization, body]);
      response.writeHead(409).end("taken");
    });
  });
  await once(other.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void other.close());
  const there = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
  const answer = await askService(there, { method: "PUT", headers: { authorization: "me" }, body: "it" });
  expect([answer.ok, answer.status, await answer.text()]).toEqual([false, 409, "taken"]);
  expect(heard).toEqual([["PUT", "me", "it"]]);
  hangUp();
  other.close();
  await once(other, "close");
  await expect(askService(there)).rejects.toThrow("ECONNREFUSED");
});

// Tests hang-up.
// Guarantees: an idle connection ends, one with a request under way ends after its answer; `fetch` works on.
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { waitFor } from "../wait-for.js";
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

test("idle connections end, requests are answered, and the next one works", async () => {
  const slow = fetch(`${url}/slow`);
  await waitFor(() => waiting.length === 1, { what: "the slow request" });
  await (await fetch(url)).text();
  expect(sockets.size).toBe(2);
  hangUp();
  await waitFor(() => sockets.size === 1, { what: "the idle connection to end" });
  waiting[0]?.end("slow");
  expect(await (await slow).text()).toBe("slow");
  await waitFor(() => sockets.size === 0, { what: "the other connection to end" });
  expect(await (await fetch(url)).text()).toBe("fast");
});

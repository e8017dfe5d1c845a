// Tests /v1/channels and /v1/nodes on a real Redis: what may be left out of a request, and who has yet to take note.
// Guarantees covered: a pause is not reported as confirmed while a live dispatcher of any role has not taken note.
import { CommonTicks } from "@petrel/shared/kernel/common-tick";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { pauseChannel } from "@petrel/shared/redis/fallback/paused-channels-store";
import { readDispatchers, renewMembership } from "@petrel/shared/redis/partitions/dispatcher-members";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { headersOf, openApp } from "../testing/open-app.js";
import { PausedChannels } from "../fallback/paused-channels.js";

const logger = createLogger({ service: "test", level: "silent" });

let store: OpenStore;
let app: HttpApp;
beforeAll(async () => {
  store = await openStore();
  app = await openApp(store);
});
beforeEach(() => store.clear());
afterAll(async () => {
  await app.close();
  await store.close();
});

async function ask(method: "GET" | "POST", url: string, payload?: object) {
  const answer = await app.inject({
    method,
    url,
    headers: headersOf("operator"),
    ...(payload === undefined ? {} : { payload }),
  });
  return { status: answer.statusCode, body: answer.json<{ readonly unconfirmed: readonly string[] }>() };
}

test("needs no body without a reason, and refuses unknown fields", async () => {
  expect(await ask("POST", "/v1/channels/apns/pause")).toMatchObject({
    status: 200,
    body: { items: [{ channel: "apns", paused: { by: "operator", reason: "" } }, {}, {}, {}] },
  });
  expect((await ask("POST", "/v1/channels/apns/resume")).status).toBe(200);
  expect((await ask("POST", "/v1/channels/apns/resume", {})).status).toBe(200);
  expect((await ask("POST", "/v1/nodes/n.1/drain")).status).toBe(404);
  for (const action of ["pause", "resume"])
    expect((await ask("POST", `/v1/channels/apns/${action}`, { other: 1 })).status, action).toBe(400);
  expect((await ask("POST", "/v1/nodes/n.1/drain", { force: "yes" })).status).toBe(400);
});

test("waits for a dispatcher that only sends until it has confirmed or is gone", async () => {
  const pauses = new PausedChannels({
    ticks: new CommonTicks(),
    scripts: store.scripts,
    dispatcherId: "sender.1",
    isOwner: false,
    registry: createRegistry("test"),
    onResumed: () => undefined,
    logger,
  });
  pauses.start();
  await waitFor(() => !pauses.isPaused("apns"), { what: "its first look", deadlineMs: 20_000 });
  await renewMembership(store.scripts, "router.1", 60_000);
  expect(await readDispatchers(store.redis)).toEqual(["router.1", "sender.1"]);
  // What it says, once it looks again: until then it is listed, and `petrel channels pause` waits.
  const { body } = await ask("POST", "/v1/channels/apns/pause");
  expect(body.unconfirmed.includes("sender.1") || pauses.isPaused("apns")).toBe(true);
  await waitFor(async () => !(await ask("GET", "/v1/channels")).body.unconfirmed.includes("sender.1"), {
    what: "it to take note",
    deadlineMs: 20_000,
  });
  expect(pauses.isPaused("apns")).toBe(true);
  await pauses.stop();
  expect(await readDispatchers(store.redis)).toEqual(["router.1"]);
});

test("waits for a dead one no longer than its lease", async () => {
  await store.redis.zadd("petrel:senders", "1000", "dead.1");
  await pauseChannel(store.redis, "web", { atMs: 1, by: "o", reason: "" });
  expect((await ask("GET", "/v1/channels")).body.unconfirmed).toEqual([]);
});

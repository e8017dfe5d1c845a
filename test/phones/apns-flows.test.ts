// Flow: users who are not there, and their iPhones, across real processes with the simulator in Apple's place.
// Guarantees: an away or unresponsive user is rung, once. A user who acknowledges in time is not, nor is anybody
// because of a deploy or a reload. Dead tokens are cleaned up, but none for a mistake of ours.
import { randomBytes } from "node:crypto";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import {
  callCluster,
  metricOf,
  phonesOf,
  readState,
  registerPhone,
} from "../support/phones/cluster-with-phones.js";
import { sized } from "../support/sizes.js";

const notification = { title: "You have mail", body: "from Bob" };

let simulator: TestApnsSimulator;
let cluster: TestCluster;
beforeAll(async () => {
  simulator = await startApnsSimulator();
  cluster = await startCluster({
    together: true,
    dispatchers: 2,
    environment: {
      ...simulator.environment,
      ACK_TIMEOUT_MS: "1000",
      LEASE_MS: "1000",
      OFFLINE_SETTLE_MS: "100",
      // Who moves on a busy machine takes longer than the default.
      ROUTE_GRACE_MS: "20000",
      APNS_TIMEOUT_MS: "5000",
      APNS_BREAKER_OPEN_MS: "500",
      APNS_SUSPICION_MS: "2000",
      FALLBACK_CONCURRENCY: "256",
      FALLBACK_CLAIM_MS: "11000",
      FALLBACK_RETRY_BASE_MS: "50",
      FALLBACK_RETRY_CAP_MS: "200",
      // A busy machine takes its time to connect: the entry must wait for that long.
      FALLBACK_MAX_ATTEMPTS: "1000",
    },
  });
});
beforeEach(() => simulator.setBehaviour({ latencyMs: 0, answer: null, environment: null }));
afterAll(async () => {
  await cluster.stop();
  await simulator.stop();
});

const newToken = () => randomBytes(32).toString("hex");

async function send(user: string, more: object = {}): Promise<string> {
  const answer = await cluster.post("/v1/messages", { to: { user }, data: { n: 1 }, notification, ...more });
  return (answer as { id: string }).id;
}

/** With an iPhone. */
async function newUser(name: string): Promise<string> {
  const token = newToken();
  await registerPhone(cluster, name, token);
  return token;
}

const untilState = (id: string, state: string) =>
  waitFor(async () => (await readState(cluster, id)).state === state, {
    what: `the message to be ${state}`,
    deadlineMs: 25_000,
  });
/** One after the other: each look is a request, and the last is mostly there when the first is. */
async function untilAll(ids: readonly string[], state: string): Promise<void> {
  for (const id of ids) await untilState(id, state);
}
const rings = async (token: string) => (await simulator.notifications(token)).length;

test("an offline user: the phone shows it, once, and the message ends pushed", async () => {
  const token = await newUser("away");
  const id = await send("away");
  await untilState(id, "pushed");
  const [shown, ...more] = await simulator.notifications(token);
  expect(more).toEqual([]);
  expect(shown).toMatchObject({
    topic: "com.example.app",
    pushType: "alert",
    collapseId: id,
    payload: { aps: { alert: notification }, petrel: { id } },
  });
  const { timeline } = await readState(cluster, id);
  expect(timeline.map(({ event, outcome }) => outcome ?? event)).toEqual(["accepted", "taken", "pushed"]);
  expect(timeline[1]).toMatchObject({
    channel: "apns",
    details: { apnsId: shown?.apnsId, token: `…${token.slice(-6)}` },
  });
  expect(JSON.stringify(timeline)).not.toContain(token);
});

test("a live but deaf socket: rings after the acknowledgement timeout; a user who acknowledges in time is not rung", async () => {
  const [deafToken, hearingToken] = [await newUser("deaf"), await newUser("hearing")];
  const [url = ""] = cluster.nodeUrls;
  const deaf = await connectClient({ url, token: await cluster.tokenFor("deaf"), ack: "none" });
  const hearing = await connectClient({ url, token: await cluster.tokenFor("hearing"), ack: "each" });
  const heard = await send("hearing");
  await hearing.untilMessages(1);
  await untilState(heard, "delivered");
  const id = await send("deaf");
  await deaf.untilMessages(1);
  expect(await rings(deafToken)).toBe(0);
  await untilState(id, "pushed");
  expect(await rings(deafToken)).toBe(1);
  // It was sent before the other's, which has been rung by now.
  expect(await rings(hearingToken)).toBe(0);
  deaf.close();
  hearing.close();
});

test("does not push a message acknowledged while it waits in the queue", async () => {
  const token = await newUser("waits");
  await simulator.setAnswer(token, { status: 503, reason: "ServiceUnavailable" });
  const id = await send("waits");
  await waitFor(
    async () => (await readState(cluster, id)).timeline.some(({ outcome }) => outcome === "retry"),
    {
      what: "the first attempt",
      deadlineMs: 90_000,
    },
  );
  const client = await connectClient({
    url: cluster.nodeUrls[0] ?? "",
    token: await cluster.tokenFor("waits"),
    ack: "each",
  });
  await untilState(id, "delivered");
  await simulator.setAnswer(token, null);
  const dispatchers = cluster.dispatchers.map(({ url }) => url);
  await waitFor(
    async () => (await metricOf(dispatchers, "petrel_fallback_dropped_total", { reason: "delivered" })) > 0,
    { what: "its entry to be dropped", deadlineMs: 90_000 },
  );
  expect(await rings(token)).toBe(0);
  client.close();
});

test("a deploy of the push nodes and a reloading page ring no phone", async () => {
  const users = Array.from({ length: sized(50, 10) }, (_, i) => `moves${i}`);
  const tokens = await Promise.all(users.map((user) => newUser(user)));
  const connect = async (user: string, url: string) =>
    connectClient({ url, token: await cluster.tokenFor(user), ack: "each" });
  const [oldUrl = "", newUrl = ""] = cluster.nodeUrls;
  const clients = await Promise.all(users.map((user) => connect(user, oldUrl)));
  // A reload: the old socket goes away without a word, the new one comes a moment later, and a message comes in
  // between.
  for (const client of clients) client.socket.close(1001);
  const reloaded = await Promise.all(users.map((user) => send(user)));
  const again = await Promise.all(users.map((user) => connect(user, oldUrl)));
  await untilAll(reloaded, "delivered");
  // A deploy: the node asks them to move, and stops; messages go on.
  const node = cluster.newest("push-node-1");
  node.signal("SIGTERM");
  const during = await Promise.all(users.map((user) => send(user)));
  // Like a page, it comes back when its socket closes, not when the node's process is gone.
  await Promise.all(again.map((client) => client.untilClosed(20_000)));
  const later = await Promise.all(users.map((user) => send(user)));
  const moved = await Promise.all(users.map((user) => connect(user, newUrl)));
  await untilAll([...during, ...later], "delivered");
  await node.exited;
  await cluster.startAgain(node);
  // The yardstick: a user who stays away is rung.
  const measure = await newUser("stays-away");
  await untilState(await send("stays-away"), "pushed");
  expect(await rings(measure)).toBe(1);
  for (const token of tokens) expect(await rings(token)).toBe(0);
  for (const client of [...again, ...moved]) client.close();
});

test("410 after the registration: removed, audited, counted; before it: kept", async () => {
  const [goneToken, keptToken] = [await newUser("gone"), await newUser("kept")];
  await simulator.setAnswer(goneToken, {
    status: 410,
    reason: "Unregistered",
    timestamp: Date.now() + 60_000,
  });
  await simulator.setAnswer(keptToken, {
    status: 410,
    reason: "Unregistered",
    timestamp: Date.now() - 60_000,
  });
  const [gone, kept] = [await send("gone"), await send("kept")];
  const dispatchers = cluster.dispatchers.map(({ url }) => url);
  const counted = (outcome: string) =>
    metricOf(dispatchers, "petrel_apns_invalidations_total", { outcome, reason: "unregistered" });
  await waitFor(async () => (await counted("forgotten")) === 1 && (await counted("kept")) === 1, {
    what: "both to be judged",
    deadlineMs: 20_000,
  });
  expect(await phonesOf(cluster, "gone")).toEqual([]);
  expect(await phonesOf(cluster, "kept")).toHaveLength(1);
  const [dispatcher] = cluster.dispatchers;
  const audit = await callCluster(cluster, "GET", `${dispatcher?.url}/v1/invalidations`);
  expect(audit.status).toBe(200);
  const { items } = audit.body as { items: { user: string; reason: string }[] };
  expect(items.find(({ user }) => user === "gone")).toMatchObject({ reason: "unregistered" });
  expect(JSON.stringify(items)).not.toContain(goneToken);
  for (const id of [gone, kept]) expect((await readState(cluster, id)).state).toBe("queued");
});

test("thousands of 410s in one burst are cleaned up within seconds, and valid ones between them ring", async () => {
  const count = sized(5_000, 100);
  const answer = { status: 410, reason: "Unregistered", timestamp: Date.now() + 600_000 };
  await simulator.setBehaviour({ answer });
  const gone = Array.from({ length: count }, (_, i) => `left${i}`);
  const there = Array.from({ length: count / 10 }, (_, i) => `stays${i}`);
  const burst = async (users: readonly string[]) => {
    for (let i = 0; i < users.length; i += 500) {
      const messages = users.slice(i, i + 500).map((user) => ({ to: { user }, data: 1, notification }));
      await cluster.post("/v1/messages/batch", { messages });
    }
  };
  for (let i = 0; i < count; i += 100) {
    await Promise.all(gone.slice(i, i + 100).map((user) => newUser(user)));
  }
  const tokens = await Promise.all(there.map((user) => newUser(user)));
  await Promise.all(tokens.map((token) => simulator.setAnswer(token, { status: 200 })));
  const dispatchers = cluster.dispatchers.map(({ url }) => url);
  const counted = () => metricOf(dispatchers, "petrel_apns_invalidations_total", { outcome: "forgotten" });
  const before = await counted();
  const startedMs = performance.now();
  await burst([...gone, ...there].map((_user, i, all) => all[(i * 7) % all.length] ?? ""));
  await waitFor(async () => (await counted()) - before === count, {
    what: "all to be forgotten",
    deadlineMs: 60_000,
  });
  const tookMs = Math.round(performance.now() - startedMs);
  console.log(
    `${count} tokens answered 410, ${there.length} devices between them: forgotten within ${tookMs} ms`,
  );
  expect(await phonesOf(cluster, "left0")).toEqual([]);
  for (const token of tokens) {
    await waitFor(async () => (await rings(token)) === 1, {
      what: "those between them to be rung",
      deadlineMs: 90_000,
    });
  }
  expect(await metricOf(dispatchers, "petrel_apns_breaker_open")).toBe(0);
});

test("a wrong environment for every token: the breaker opens, no token is lost, and all ring when it is fixed", async () => {
  const users = Array.from({ length: 60 }, (_, i) => `wrong${i}`);
  const tokens = await Promise.all(users.map((user) => newUser(user)));
  const sendToAll = async (): Promise<string[]> => {
    const { body } = await callCluster(cluster, "POST", `${cluster.collect.url}/v1/messages/batch`, {
      messages: users.map((user) => ({ to: { user }, data: 1, notification })),
    });
    return (body as { results: { id: string }[] }).results.map(({ id }) => id);
  };
  // Only phones that were rung before count: others may be made up.
  await untilAll(await sendToAll(), "pushed");
  await simulator.setBehaviour({ environment: "sandbox" });
  const ids = await sendToAll();
  const dispatchers = cluster.dispatchers.map(({ url }) => url);
  const open = () =>
    metricOf(dispatchers, "petrel_apns_breaker_open", {
      topic: "com.example.app",
      environment: "production",
    });
  await waitFor(async () => (await open()) > 0, { what: "a breaker to open", deadlineMs: 20_000 });
  for (const user of users) expect(await phonesOf(cluster, user)).toHaveLength(1);
  await simulator.setBehaviour({ environment: null });
  await untilAll(ids, "pushed");
  await waitFor(async () => (await open()) === 0, { what: "the breakers to close", deadlineMs: 20_000 });
  for (const token of tokens) expect(await rings(token)).toBe(2);
  const quarantined = { outcome: "quarantined" };
  expect(await metricOf(dispatchers, "petrel_apns_invalidations_total", quarantined)).toBe(0);
});

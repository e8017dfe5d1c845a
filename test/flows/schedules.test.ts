// Flow: many messages are due in the same second, beside live traffic; and what one of them meets on its way to a client.
// Guarantees: none early, each delivered once, in order; live messages go on meanwhile, none is lost. Prints how late the
// former were, and how long the latter took with and without them.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sized } from "../support/sizes.js";

const DUE = sized(10_000, 500);
const DUE_USERS = sized(200, 50);
const LIVE_A_SECOND = sized(500, 60);
const LIVE_USERS = 20;
const BASELINE_MS = 2_000;
/** Far enough ahead for all of them to be stored before. */
const AHEAD_MS = sized(20_000, 6_000);

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster({ together: true });
});
afterAll(() => cluster.stop());

const connect = (prefix: string, count: number): Promise<WsClient[]> =>
  Promise.all(
    Array.from({ length: count }, async (_, i) =>
      connectClient({
        url: cluster.nodeUrls[i % 2] ?? "",
        token: await cluster.tokenFor(`${prefix}${i}`),
        ack: "turn",
      }),
    ),
  );

/** Sends at a steady rate until it is stopped. */
function sendLive(latenciesMs: number[], clients: readonly WsClient[]) {
  const sent = new Map<number, number>();
  let [next, open] = [0, 0];
  let failure: unknown;
  for (const { socket } of clients) {
    socket.on("message", (raw: Buffer) => {
      const frame = JSON.parse(raw.toString()) as { type: string; data?: { live?: number } };
      const sentAtMs = sent.get(frame.data?.live ?? -1);
      if (frame.type === "message" && sentAtMs !== undefined) latenciesMs.push(performance.now() - sentAtMs);
    });
  }
  const everyMs = 10;
  const startMs = performance.now();
  const timer = setInterval(() => {
    // What a late timer missed is made up for.
    const wanted = Math.floor(((performance.now() - startMs) * LIVE_A_SECOND) / 1_000);
    for (; next < wanted; next++) {
      const live = next;
      sent.set(live, performance.now());
      open++;
      cluster
        .post("/v1/messages", { to: { user: `live${live % LIVE_USERS}` }, data: { live } })
        .catch((error: unknown) => (failure ??= error))
        .finally(() => open--);
    }
  }, everyMs);
  return {
    stop: async (): Promise<number> => {
      clearInterval(timer);
      await waitFor(() => open === 0 && latenciesMs.length >= next, {
        what: "live messages",
        deadlineMs: 60_000,
      });
      expect(failure).toBeUndefined();
      return next;
    },
  };
}

const percentile = (values: readonly number[], part: number): string =>
  (values.toSorted((a, b) => a - b)[Math.floor(values.length * part)] ?? 0).toFixed(1);

test(`${DUE} due in one second beside ${LIVE_A_SECOND} live messages a second`, async () => {
  const [due, live] = await Promise.all([connect("due", DUE_USERS), connect("live", LIVE_USERS)]);

  const alone: number[] = [];
  const baseline = sendLive(alone, live);
  await new Promise((resolve) => setTimeout(resolve, BASELINE_MS));
  const aloneSent = await baseline.stop();
  expect(alone).toHaveLength(aloneSent);
  // Now: its listeners take the numbers of what is sent later for theirs.
  const aloneP99Ms = percentile(alone, 0.99);

  const deliverAtMs = Math.ceil((Date.now() + AHEAD_MS) / 1_000) * 1_000;
  const deliverAt = new Date(deliverAtMs).toISOString();
  for (let from = 0; from < DUE; from += 500) {
    const messages = Array.from({ length: 500 }, (_, i) => ({
      to: { user: `due${(from + i) % DUE_USERS}` },
      data: { n: from + i },
      deliverAt,
    }));
    await cluster.post("/v1/messages/batch", { messages });
  }
  await waitFor(() => Date.now() > deliverAtMs - 500, {
    what: "their time to come near",
    deadlineMs: 60_000,
  });
  const already = due.reduce((sum, { messages }) => sum + messages.length, 0);
  if (Date.now() < deliverAtMs) expect(already).toBe(0);

  const beside: number[] = [];
  const traffic = sendLive(beside, live);
  const perUser = DUE / DUE_USERS;
  for (const client of due) await client.untilMessages(perUser, 60_000);
  const besideSent = await traffic.stop();
  expect(beside).toHaveLength(besideSent);

  const latenessMs: number[] = [];
  for (const [i, client] of due.entries()) {
    expect(client.messages.map(({ seq }) => seq)).toEqual(Array.from({ length: perUser }, (_, n) => n + 1));
    // In the order of sending: all are due at the same time.
    expect(client.messages.map(({ data }) => (data as { n: number }).n)).toEqual(
      Array.from({ length: perUser }, (_, n) => n * DUE_USERS + i),
    );
    for (const { at } of client.messages) latenessMs.push(Date.parse(at) - deliverAtMs);
  }
  expect(Math.min(...latenessMs)).toBeGreaterThanOrEqual(0);
  process.stdout.write(
    `${DUE} due in one second: late p50 ${percentile(latenessMs, 0.5)} p99 ${percentile(latenessMs, 0.99)} ms; ` +
      `live p99 ${percentile(beside, 0.99)} ms beside them, ${aloneP99Ms} ms without\n`,
  );
  for (const client of [...due, ...live]) client.close();
});

test("one is traced from sending to acknowledgement; another is cancelled; a third is erased", async () => {
  const [client] = await connect("one", 1);
  if (client === undefined) throw new Error("no client");
  const ask = async (method: string, path: string, key = cluster.apiKey) => {
    const answer = await askService(cluster.collect.url + path, {
      method,
      headers: { authorization: `Bearer ${key}` },
    });
    const text = await answer.text();
    return {
      status: answer.status,
      body: text === "" ? undefined : (JSON.parse(text) as Record<string, unknown>),
    };
  };
  const deliverAtMs = Date.now() + 1_500;
  const send = async (user: string, afterMs: number): Promise<string> => {
    const deliverAt = new Date(deliverAtMs + afterMs).toISOString();
    return (
      (await cluster.post("/v1/messages", { to: { user }, data: afterMs, deliverAt })) as { id: string }
    ).id;
  };
  const kept = await send("one0", 0);
  const [taken, erased] = [await send("one0", 3_600_000), await send("gone", 3_600_000)];
  const topic = (
    (await cluster.post("/v1/messages", {
      to: { topic: "later" },
      data: "for all who listen",
      deliverAt: new Date(deliverAtMs).toISOString(),
    })) as { id: string }
  ).id;
  expect((await ask("GET", `/v1/messages/${taken}`)).body).toMatchObject({ state: "scheduled" });
  expect((await ask("DELETE", `/v1/messages/${taken}`)).status).toBe(204);
  expect((await ask("DELETE", "/v1/users/gone", cluster.adminKey)).status).toBe(204);
  expect((await ask("GET", `/v1/messages/${erased}`)).status).toBe(404);
  expect((await ask("GET", "/v1/users/gone/messages?state=scheduled")).body).toEqual({
    items: [],
    nextCursor: null,
  });

  const [message] = await client.untilMessages(1, 30_000);
  expect(message).toMatchObject({ id: kept, seq: 1, data: 0 });
  expect(Date.parse(message?.at ?? "")).toBeGreaterThanOrEqual(deliverAtMs);
  await waitFor(async () => (await ask("GET", `/v1/messages/${kept}`)).body?.["state"] === "delivered", {
    what: "its acknowledgement",
  });
  await waitFor(async () => (await ask("GET", `/v1/messages/${topic}`)).body?.["state"] === "published", {
    what: "the topic's",
  });
  expect((await ask("GET", `/v1/messages/${taken}`)).body).toMatchObject({ state: "cancelled" });
  expect(client.messages).toHaveLength(1);
  expect((await ask("GET", "/v1/users/gone/messages")).body).toMatchObject({ items: [] });
  expect((await ask("DELETE", `/v1/messages/${kept}`)).body).toMatchObject({
    error: { code: "PETREL_CONFLICT", details: { state: "delivered" } },
  });
  expect((await ask("DELETE", `/v1/messages/${topic}`)).body).toMatchObject({
    error: { code: "PETREL_CONFLICT", details: { state: "published" } },
  });
  client.close();
});

// Flow: users who are not there, and the business system's webhook that reaches them another way.
// Guarantees: a user who acknowledges in time is not bothered, any other is, once; a crash repeats the call with the
// same id; a failed call can be found, and sent again on request.
import { createHmac, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import {
  startWebhookReceiver,
  type WebhookReceiver,
} from "../../services/dispatch/src/testing/webhook-receiver.js";

interface MessageState {
  readonly state: string;
  readonly reason?: { readonly code: string };
  readonly timeline: readonly { readonly event: string; readonly outcome?: string }[];
}

const secret = randomBytes(32);
const notification = { title: "You have mail", body: "from Bob" };
let directory: string;
let receiver: WebhookReceiver;
let cluster: TestCluster;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-fallback-"));
  const secretFile = join(directory, "secret");
  await writeFile(secretFile, `whsec_${secret.toString("base64")}\n`, { mode: 0o600 });
  receiver = await startWebhookReceiver();
  cluster = await startCluster({
    together: (name) => !name.startsWith("dispatch"),
    dispatchers: 2,
    environment: {
      ACK_TIMEOUT_MS: "1000",
      LEASE_MS: "1000",
      OFFLINE_SETTLE_MS: "100",
      FALLBACK_WEBHOOK_URL: receiver.url,
      FALLBACK_WEBHOOK_SECRET_FILE: secretFile,
      FALLBACK_WEBHOOK_TIMEOUT_MS: "5000",
      FALLBACK_CLAIM_MS: "11000",
      FALLBACK_RETRY_BASE_MS: "50",
      FALLBACK_RETRY_CAP_MS: "200",
    },
  });
});
beforeEach(() => receiver.answerWith((_request, response) => void response.writeHead(204).end()));
afterAll(async () => {
  await cluster.stop();
  await receiver.close();
  await rm(directory, { recursive: true });
});

async function send(user: string): Promise<string> {
  const answer = await cluster.post("/v1/messages", { to: { user }, data: { n: 1 }, notification });
  return (answer as { id: string }).id;
}

async function call(method: string, url: string): Promise<{ status: number; body: unknown }> {
  const response = await fetch(url, { method, headers: { authorization: `Bearer ${cluster.adminKey}` } });
  const text = await response.text();
  return { status: response.status, body: text === "" ? undefined : (JSON.parse(text) as unknown) };
}

async function read(id: string): Promise<MessageState> {
  return (await call("GET", `${cluster.collect.url}/v1/messages/${id}`)).body as MessageState;
}

const untilState = (id: string, state: string) =>
  waitFor(async () => (await read(id)).state === state, {
    what: `the message to be ${state}`,
    deadlineMs: 25_000,
  });
const requestsFor = (id: string) => receiver.requests.filter(({ headers }) => headers["webhook-id"] === id);

test("an offline user: the webhook has it, signed, once; the message ends pushed", async () => {
  const id = await send("away");
  await untilState(id, "pushed");
  const [request, ...more] = requestsFor(id);
  expect(more).toEqual([]);
  expect(JSON.parse(request?.body ?? "")).toMatchObject({ id, user: "away", seq: 1, notification });
  const signed = `${id}.${String(request?.headers["webhook-timestamp"])}.${request?.body}`;
  expect(request?.headers["webhook-signature"]).toBe(
    `v1,${createHmac("sha256", secret).update(signed).digest("base64")}`,
  );
  const { timeline } = await read(id);
  expect(timeline.map(({ event, outcome }) => outcome ?? event)).toEqual(["accepted", "taken", "pushed"]);
});

test("a user who acknowledges is not bothered; the same message to an offline one measures the time", async () => {
  const client = await connectClient({
    url: cluster.nodeUrls[0] ?? "",
    token: await cluster.tokenFor("here"),
    ack: "each",
  });
  const here = await send("here");
  await client.untilMessages(1);
  await untilState(here, "delivered");
  await untilState(await send("not-here"), "pushed");
  expect(requestsFor(here)).toEqual([]);
  client.close();
});

test("asks a busy receiver again, with the same id", async () => {
  let times = 0;
  receiver.answerWith((_request, response) => {
    times++;
    response.writeHead(times < 3 ? 503 : 200).end();
  });
  const id = await send("busy");
  await untilState(id, "pushed");
  expect(requestsFor(id)).toHaveLength(3);
  expect((await read(id)).timeline.map(({ event, outcome }) => outcome ?? event)).toEqual([
    "accepted",
    "retry",
    "retry",
    "taken",
    "pushed",
  ]);
});

test("refused: failed, a dead letter, and pushed when replayed", async () => {
  receiver.answerWith((_request, response) => void response.writeHead(422).end());
  const id = await send("refused");
  await untilState(id, "failed");
  expect((await read(id)).reason?.code).toBe("rejected");

  const [dispatcher] = cluster.dispatchers;
  const letters = await call("GET", `${dispatcher?.url}/v1/dead-letters?cause=rejected`);
  const found = (letters.body as { items: { id: string; messageId: string }[] }).items.find(
    ({ messageId }) => messageId === id,
  );
  receiver.answerWith((_request, response) => void response.writeHead(200).end());
  expect(await call("POST", `${dispatcher?.url}/v1/dead-letters/${found?.id}/replay`)).toEqual({
    status: 202,
    body: { id },
  });
  await untilState(id, "pushed");
  expect((await call("GET", `${dispatcher?.url}/v1/dead-letters/${found?.id}`)).status).toBe(404);
});

test("dispatchers killed while they send: the message is sent again with the same id, and ends pushed", async () => {
  receiver.answerWith(() => undefined);
  const id = await send("unlucky");
  await waitFor(() => requestsFor(id).length === 1, { what: "the first request", deadlineMs: 20_000 });
  for (const dispatcher of cluster.dispatchers) dispatcher.signal("SIGKILL");
  await Promise.all(cluster.dispatchers.map(({ exited }) => exited));
  receiver.answerWith((_request, response) => void response.writeHead(200).end());
  await Promise.all(cluster.dispatchers.map((ended) => cluster.startAgain(ended)));
  await untilState(id, "pushed");
  const bodies = requestsFor(id).map(({ body }) => body);
  expect(bodies).toEqual([bodies[0], bodies[0]]);
});

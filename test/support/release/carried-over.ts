// Tests only: data that one release writes and another must read: every kind that outlives a process.
// Guarantees: the processes then running make each item completely, and those running later use it; a use throws unless
// it is answered as by the release that made the item.
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { signRequest } from "@petrel/shared/security/producers/request-signature";
import type { TestApnsSimulator } from "@petrel/shared/testing/cluster/start-apns-simulator";
import type { TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient, openClient } from "@petrel/shared/testing/peers/ws-client";
import { expect } from "vitest";
import { callCluster, readState, registerPhone } from "../phones/cluster-with-phones.js";

export interface Stage {
  readonly cluster: TestCluster;
  readonly simulator: TestApnsSimulator;
  /** Which release all processes are of when it begins; tells this stage's users from another's. */
  readonly name: "before" | "after";
}

export interface CarriedItem {
  readonly what: string;
  readonly use: () => Promise<void>;
}

const USER_PREFIX = "carried-";

export function isCarriedUser(user: string): boolean {
  return user.startsWith(USER_PREFIX);
}

const makers: Readonly<Record<string, (stage: Stage, user: string) => Promise<() => Promise<void>>>> = {
  "a session": makeSession,
  "a revocation": makeRevocation,
  "an open message": makeOpenMessage,
  "a delivered message and its idempotency key": makeDelivered,
  "a phone": makePhone,
  "a dead letter": makeDeadLetter,
  "an invalidated device": makeInvalidation,
  "a producer key": makeProducerKey,
  "a person to erase": makePerson,
};

/** Made side by side. */
export async function makeCarried(stage: Stage): Promise<CarriedItem[]> {
  return Promise.all(
    Object.entries(makers).map(async ([what, make], i) => ({
      what: `${what}, made ${stage.name}`,
      use: await make(stage, `${USER_PREFIX}${i}-${stage.name}`),
    })),
  );
}

export async function useCarried(items: readonly CarriedItem[]): Promise<void> {
  const failures: string[] = [];
  await Promise.all(
    items.map(({ what, use }) =>
      use().catch((error: unknown) => void failures.push(`${what}: ${String(error)}`)),
    ),
  );
  expect(failures).toEqual([]);
}

interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string;
}

const notification = { title: "You have mail", body: "carried over" };

async function call(
  { cluster }: Stage,
  method: string,
  url: string,
  body?: unknown,
): Promise<{ readonly status: number; readonly body: unknown }> {
  return callCluster(cluster, method, url, body);
}

async function send(stage: Stage, user: string, more: object = {}): Promise<string> {
  const body = { to: { user }, data: { carried: user }, ...more };
  return ((await stage.cluster.post("/v1/messages", body)) as { readonly id: string }).id;
}

async function untilState(stage: Stage, id: string, state: string): Promise<void> {
  await waitFor(async () => (await readState(stage.cluster, id)).state === state, {
    what: `${id} to be ${state}`,
    deadlineMs: 30_000,
  });
}

function dispatchUrl({ cluster }: Stage): string {
  return cluster.dispatchers[0]?.url ?? "";
}

async function signIn(stage: Stage, user: string): Promise<Tokens> {
  return (await call(stage, "POST", `${stage.cluster.auth.url}/v1/tokens`, { userId: user })).body as Tokens;
}

/** Connects as the user, reads this many messages, acknowledges them, and leaves. */
async function readAll(stage: Stage, token: string, count: number): Promise<readonly unknown[]> {
  const client = await connectClient({ url: stage.cluster.nodeUrls[0] ?? "", token, ack: "each" });
  const messages = await client.untilMessages(count);
  client.close();
  return messages.map(({ data }) => data);
}

async function makeSession(stage: Stage, user: string) {
  const { refreshToken } = await signIn(stage, user);
  const refresh = (token: string) =>
    call(stage, "POST", `${stage.cluster.auth.url}/v1/tokens/refresh`, { refreshToken: token });
  const { refreshToken: second } = (await refresh(refreshToken)).body as Tokens;
  return async () => {
    const { status, body } = await refresh(second);
    expect(status).toBe(200);
    const client = await connectClient({
      url: stage.cluster.nodeUrls[0] ?? "",
      token: (body as Tokens).accessToken,
    });
    client.close();
  };
}

async function makeRevocation(stage: Stage, user: string) {
  const { accessToken, refreshToken } = await signIn(stage, user);
  const { auth, nodeUrls } = stage.cluster;
  expect((await call(stage, "POST", `${auth.url}/v1/tokens/revoke`, { userId: user })).status).toBe(204);
  return async () => {
    const client = openClient({ url: nodeUrls[0] ?? "", token: accessToken });
    expect((await client.untilClosed()).code).toBe(4403);
    const { status } = await call(stage, "POST", `${auth.url}/v1/tokens/refresh`, { refreshToken });
    expect(status).toBe(401);
    // Later tokens of the same user are valid.
    await connectClient({ url: nodeUrls[0] ?? "", token: (await signIn(stage, user)).accessToken }).then(
      (later) => later.close(),
    );
  };
}

async function makeOpenMessage(stage: Stage, user: string) {
  const ids = [await send(stage, user), await send(stage, user)];
  return async () => {
    const states = await Promise.all(ids.map((id) => readState(stage.cluster, id)));
    expect(states.map(({ state }) => state)).toEqual(["queued", "queued"]);
    expect(await readAll(stage, (await signIn(stage, user)).accessToken, 2)).toHaveLength(2);
    for (const id of ids) await untilState(stage, id, "delivered");
  };
}

async function makeDelivered(stage: Stage, user: string) {
  const idempotencyKey = randomUUID();
  const id = await send(stage, user, { idempotencyKey });
  await readAll(stage, (await signIn(stage, user)).accessToken, 1);
  await untilState(stage, id, "delivered");
  return async () => {
    expect((await readState(stage.cluster, id)).state).toBe("delivered");
    const again = { to: { user }, data: { carried: user }, idempotencyKey };
    expect(await stage.cluster.post("/v1/messages", again)).toEqual({ id, duplicate: true });
    const other = stage.cluster.post("/v1/messages", { ...again, data: "another" });
    await expect(other).rejects.toThrow("PETREL_IDEMPOTENCY_MISMATCH");
    // A client that has read it is shown what comes next, and nothing again.
    const next = await send(stage, user, { data: "next" });
    expect(await readAll(stage, (await signIn(stage, user)).accessToken, 1)).toEqual(["next"]);
    await untilState(stage, next, "delivered");
  };
}

async function makePhone(stage: Stage, user: string) {
  const token = randomBytes(32).toString("hex");
  await registerPhone(stage.cluster, user, token);
  return async () => {
    const { body } = await call(stage, "GET", `${stage.cluster.auth.url}/v1/users/${user}/devices`);
    expect(body).toMatchObject({ items: [{ platform: "ios", tokenEnd: token.slice(-6) }] });
    const id = await send(stage, user, { notification });
    await untilState(stage, id, "pushed");
    expect(await stage.simulator.notifications(token)).toMatchObject([{ payload: { petrel: { id } } }]);
  };
}

async function makeDeadLetter(stage: Stage, user: string) {
  const token = randomBytes(32).toString("hex");
  await registerPhone(stage.cluster, user, token);
  await stage.simulator.setAnswer(token, { status: 400, reason: "PayloadEmpty" });
  // One channel: the next one would be asked where this one refuses.
  const id = await send(stage, user, { notification, channels: ["apns"] });
  await untilState(stage, id, "failed");
  await stage.simulator.setAnswer(token, null);
  return async () => {
    const letters = `${dispatchUrl(stage)}/v1/dead-letters`;
    const { body } = await call(stage, "GET", `${letters}?cause=rejected&limit=1000`);
    const { items } = body as {
      readonly items: readonly { readonly id: string; readonly messageId: string }[];
    };
    const letter = items.find(({ messageId }) => messageId === id);
    expect((await call(stage, "POST", `${letters}/${letter?.id}/replay`)).status).toBe(202);
    await untilState(stage, id, "pushed");
  };
}

async function makeInvalidation(stage: Stage, user: string) {
  const token = randomBytes(32).toString("hex");
  await registerPhone(stage.cluster, user, token);
  const timestamp = Date.now() + 60_000;
  await stage.simulator.setAnswer(token, { status: 410, reason: "Unregistered", timestamp });
  await send(stage, user, { notification });
  const listed = async (): Promise<unknown[]> => {
    const { body } = await call(stage, "GET", `${dispatchUrl(stage)}/v1/invalidations?limit=1000`);
    const { items } = body as { readonly items: readonly { readonly user: string }[] };
    return items.filter((one) => one.user === user);
  };
  const before = await waitFor(
    async () => {
      const items = await listed();
      return items.length > 0 && items;
    },
    { what: `the device of ${user} to be forgotten`, deadlineMs: 30_000 },
  );
  return async () => {
    expect(await listed()).toEqual(before);
  };
}

async function makeProducerKey(stage: Stage, user: string) {
  const keys = `${stage.cluster.auth.url}/v1/keys`;
  const made = await call(stage, "POST", keys, { name: user, scopes: ["send"], signing: true });
  expect(made.status).toBe(201);
  const { id: keyId, secret } = made.body as { readonly id: string; readonly secret: string };
  const post = async (headers: Record<string, string>, body: string): Promise<number> => {
    const response = await askService(`${stage.cluster.collect.url}/v1/messages`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body,
    });
    return response.status;
  };
  return async () => {
    const body = JSON.stringify({ to: { user }, data: 1 });
    expect(await post({ authorization: `Bearer ${keyId}.${secret}` }, body)).toBe(202);
    const [id, timestamp] = [randomUUID(), String(Math.floor(Date.now() / 1_000))];
    const bodySha256 = createHash("sha256").update(body).digest("hex");
    const signed = { id, timestamp, method: "POST", target: "/v1/messages", bodySha256 };
    const signature = {
      "petrel-key": keyId,
      "petrel-id": id,
      "petrel-timestamp": timestamp,
      "petrel-signature": `v1,${signRequest(signed, secret)}`,
    };
    expect(await post(signature, body)).toBe(202);
    expect((await call(stage, "POST", `${keys}/${keyId}/rotate`, {})).status).toBe(200);
    const audit = `${stage.cluster.auth.url}/v1/audit?target=${keyId}&limit=1000`;
    const { items } = (await call(stage, "GET", audit)).body as {
      readonly items: readonly { readonly action: string }[];
    };
    expect(items.map(({ action }) => action)).toEqual(["key.rotate", "key.create"]);
  };
}

async function makePerson(stage: Stage, user: string) {
  const token = randomBytes(32).toString("hex");
  await registerPhone(stage.cluster, user, token);
  const id = await send(stage, user);
  const { collect, auth } = stage.cluster;
  return async () => {
    expect((await call(stage, "DELETE", `${collect.url}/v1/users/${user}`)).status).toBe(204);
    expect((await call(stage, "GET", `${collect.url}/v1/messages/${id}`)).status).toBe(404);
    const devices = await call(stage, "GET", `${auth.url}/v1/users/${user}/devices`);
    expect(devices.body).toMatchObject({ items: [] });
  };
}

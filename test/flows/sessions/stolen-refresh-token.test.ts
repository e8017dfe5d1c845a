// Flow: a refresh token is stolen, and used after its owner has refreshed, while both hold sockets on two nodes.
// Guarantees: both are out within a second, sockets too; the user's other sessions are not affected.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient, openClient } from "@petrel/shared/testing/peers/ws-client";

const LEEWAY_SECONDS = 1;

interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string;
}

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster({
    together: true,
    nodes: 2,
    // Heartbeats come every ten minutes, so a close was announced.
    environment: { REFRESH_LEEWAY_SECONDS: String(LEEWAY_SECONDS), ROUTE_LEASE_MS: "1800000" },
  });
});
afterAll(() => cluster?.stop());

async function post(path: string, body: object, credential?: string) {
  const response = await askService(cluster.auth.url + path, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(credential === undefined ? {} : { authorization: `Bearer ${credential}` }),
    },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as Tokens & { readonly error?: { readonly code: string } };
  return { status: response.status, ...answer };
}

const signIn = (): Promise<Tokens> => post("/v1/tokens", { userId: "alice" }, cluster.apiKey);
const refresh = ({ refreshToken }: Pick<Tokens, "refreshToken">) =>
  post("/v1/tokens/refresh", { refreshToken });
const urlOf = (node: number): string => cluster.nodeUrls[node] ?? "";

/** By Redis' clock, which decides. */
async function leewayIsOver(): Promise<void> {
  const from = Date.now();
  await waitFor(() => Date.now() - from > LEEWAY_SECONDS * 1_000 + 200, { what: "the leeway to be over" });
}

test("a stolen refresh token used after its owner refreshed signs both out, sockets too", async () => {
  const stolen = await signIn();
  const elsewhere = await signIn();
  const owner = await refresh(stolen);
  expect(owner.status).toBe(200);

  const ownersSocket = await connectClient({ url: urlOf(0), token: owner.accessToken });
  // The thief has an access token of the same session, too.
  const thiefsSocket = await connectClient({ url: urlOf(1), token: stolen.accessToken });
  const otherSocket = await connectClient({ url: urlOf(1), token: elsewhere.accessToken });

  await leewayIsOver();
  const thief = await refresh(stolen);
  expect([thief.status, thief.error?.code]).toEqual([401, "PETREL_REFRESH_REUSED"]);
  expect(thief.accessToken).toBeUndefined();
  const answeredAtMs = performance.now();

  for (const client of [ownersSocket, thiefsSocket]) {
    expect(await client.untilClosed()).toMatchObject({ code: 4403 });
    expect(client.frames.at(-1)).toMatchObject({
      type: "error",
      code: "PETREL_TOKEN_REVOKED",
      action: "stop",
    });
  }
  process.stdout.write(
    `stolen refresh token: both sockets closed ${(performance.now() - answeredAtMs).toFixed(1)} ms after the 401\n`,
  );

  const again = await refresh(owner);
  expect([again.status, again.error?.code]).toEqual([401, "PETREL_REFRESH_REUSED"]);
  for (const { accessToken } of [owner, stolen]) {
    const refused = openClient({ url: urlOf(0), token: accessToken });
    expect(await refused.untilClosed()).toMatchObject({ code: 4403 });
    const response = await askService(`${cluster.auth.url}/v1/devices`, {
      headers: { authorization: `Bearer ${accessToken}` },
    });
    expect(response.status).toBe(401);
  }

  expect((await refresh(elsewhere)).status).toBe(200);
  otherSocket.send({ type: "ping" });
  await otherSocket.frame("pong");
  otherSocket.close();
});

test("an owner whose answer was lost retries, and nobody is signed out", async () => {
  const first = await signIn();
  const [lost, repeated] = [await refresh(first), await refresh(first)];
  expect([lost.status, repeated.status]).toEqual([200, 200]);
  expect(repeated.refreshToken).toBe(lost.refreshToken);
  await leewayIsOver();
  const client = await connectClient({ url: urlOf(0), token: repeated.accessToken });
  const next = await refresh(repeated);
  expect(next.status).toBe(200);
  client.send({ type: "token", token: next.accessToken });
  await client.frame("token_accepted");
  client.close();
});

// Tests a token's topic rights: granted at sign-in, kept by the session.
// Guarantees: real Redis, two auth processes of one cluster; each invalid list is refused, and the place of the error
// is named.
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TicketsStore } from "@petrel/shared/redis/auth/tickets-store";
import type { VerifiedToken } from "@petrel/shared/security/tokens/verified-token";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { addKey, type Answer, ask, type TokenPair } from "../testing/auth-caller.js";
import { type OpenAuth, openAuth } from "../testing/open-auth.js";

let store: OpenStore;
let one: OpenAuth;
let other: OpenAuth;
beforeAll(async () => {
  store = await openStore();
  const common = { url: store.server.url, encryptionKey: randomBytes(32) };
  one = await openAuth(common);
  other = await openAuth(common);
  await addKey(one.producerKeys, "shop", ["tokens", "introspect"]);
});
afterAll(async () => {
  await Promise.all([one?.close(), other?.close()]);
  await store?.close();
});

const post = (url: string, payload: object, as: string | undefined = "shop", at = one): Promise<Answer> =>
  ask(at.app, as, { method: "POST", url, payload });
const signIn = (topics: unknown): Promise<Answer> => post("/v1/tokens", { userId: "alice", topics });
const claimOf = (token: string): unknown =>
  (JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { topics?: unknown }).topics;
const introspect = async (token: string): Promise<Record<string, unknown>> =>
  (await post("/v1/introspect", { token }, "shop", other)).body;

const given = ["news", "room.*", { topic: "room.7", can: ["presence", "subscribe"] }];
/** Rights in their own order. */
const written = ["news", "room.*", { topic: "room.7", can: ["subscribe", "presence"] }];

test("they are in the token's claim and in every later one of the session, and introspection shows them", async () => {
  const answer = await signIn(given);
  expect(answer.status).toBe(201);
  let pair: TokenPair = answer.body;
  for (const at of [other, one]) {
    expect(claimOf(pair.accessToken)).toEqual(written);
    expect(await introspect(pair.accessToken)).toMatchObject({ active: true, topics: written });
    const refreshed = await ask(at.app, undefined, {
      method: "POST",
      url: "/v1/tokens/refresh",
      payload: { refreshToken: pair.refreshToken },
    });
    expect(refreshed.status).toBe(200);
    pair = refreshed.body;
  }
  expect(claimOf(pair.accessToken)).toEqual(written);
});

test("a ticket represents a token with the same topics", async () => {
  const { accessToken }: TokenPair = (await signIn(given)).body;
  const { ticket } = (await ask(one.app, accessToken, { method: "POST", url: "/v1/tickets" })).body as {
    ticket: string;
  };
  const token = await new TicketsStore<VerifiedToken>(store.scripts).redeem(ticket);
  expect(token?.topics).toEqual([
    { topic: "news", can: ["subscribe"] },
    { topic: "room.*", can: ["subscribe"] },
    { topic: "room.7", can: ["subscribe", "presence"] },
  ]);
});

test("without them there is no claim, as in sessions of a release that had none", async () => {
  const { accessToken, refreshToken }: TokenPair = (await post("/v1/tokens", { userId: "alice" })).body;
  expect(claimOf(accessToken)).toBeUndefined();
  expect(await introspect(accessToken)).not.toHaveProperty("topics");
  const next = await ask(other.app, undefined, {
    method: "POST",
    url: "/v1/tokens/refresh",
    payload: { refreshToken },
  });
  expect(claimOf((next.body as TokenPair).accessToken)).toBeUndefined();
});

test("accepts an empty list", async () => {
  const { accessToken }: TokenPair = (await signIn([])).body;
  expect(claimOf(accessToken)).toEqual([]);
  expect(await introspect(accessToken)).toMatchObject({ active: true, topics: [] });
});

test("accepts a hundred patterns, and 2 KiB of them", async () => {
  expect((await signIn(Array.from({ length: 100 }, (_, i) => `t${i}`))).status).toBe(201);
  // Sixteen of 124 characters and their quotes and commas, and one that fills it up.
  const full = [...Array.from({ length: 16 }, (_, i) => `${i}`.padEnd(124, "x")), "y".repeat(12)];
  expect(JSON.stringify(full)).toHaveLength(2_048);
  expect((await signIn(full)).status).toBe(201);
  expect((await signIn([...full.slice(0, 16), "y".repeat(13)])).status).toBe(400);
});

describe("refused, naming the field", () => {
  test.each<[string, unknown, string]>([
    ["not a list", "news", "body/topics"],
    ["null", null, "body/topics"],
    ["101 patterns", Array.from({ length: 101 }, (_, i) => `t${i}`), "body/topics"],
    ["more than 2 KiB", Array.from({ length: 20 }, (_, i) => `${i}`.padEnd(120, "x")), "body/topics"],
    ["a star in the middle", ["news", "room.*.x"], "body/topics/1"],
    ["two stars", ["room.**"], "body/topics/0"],
    ["unknown characters", ["ro om"], "body/topics/0"],
    ["the broadcast", ["$all"], "body/topics/0"],
    ["an empty pattern", [""], "body/topics/0"],
    ["129 characters", ["x".repeat(129)], "body/topics/0"],
    ["a number", [1], "body/topics/0"],
    ["a list in the list", [["news"]], "body/topics/0"],
    ["a bad pattern in an object", [{ topic: "a*b", can: ["publish"] }], "body/topics/0/topic"],
    ["no topic", [{ can: ["publish"] }], "body/topics/0/topic"],
    ["no rights", [{ topic: "a" }], "body/topics/0/can"],
    ["an empty list of rights", [{ topic: "a", can: [] }], "body/topics/0/can"],
    ["rights as a string", [{ topic: "a", can: "publish" }], "body/topics/0/can"],
    ["an unknown right", [{ topic: "a", can: ["subscribe", "read"] }], "body/topics/0/can"],
    ["a right twice", [{ topic: "a", can: ["publish", "publish"] }], "body/topics/0/can"],
    ["an unknown field", [{ topic: "a", can: ["publish"], ttl: 1 }], "body/topics/0/ttl"],
  ])("%s", async (_what, topics, field) => {
    expect(await signIn(topics)).toMatchObject({
      status: 400,
      body: { error: { code: "PETREL_INVALID_REQUEST", retryable: false, details: { field } } },
    });
  });
});

// Flow: a business system with @petrel/server, against real services; collect is killed under it.
// Guarantees: every `send` that resolved is stored once; one that rejected is not stored, or says that it may be.
import { execFile } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Petrel, PetrelError } from "@petrel/server";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { openClient } from "@petrel/shared/testing/peers/ws-client";
import { readmeBlocks } from "../support/repository/readme-blocks.js";
import { sized } from "../support/sizes.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

let cluster: TestCluster;
let petrel: Petrel;

beforeAll(async () => {
  cluster = await startCluster({
    nodes: 1,
    together: (name) => name !== "collect",
    environment: { MESSAGES_PER_KEY_PER_SECOND: "0" },
  });
  petrel = open({ sign: true });
});
afterAll(async () => {
  await petrel?.close();
  await cluster?.stop();
});

function open(options: Partial<ConstructorParameters<typeof Petrel>[0]> = {}): Petrel {
  return new Petrel({
    collect: cluster.collect.url,
    auth: cluster.auth.url,
    key: cluster.apiKey,
    ...options,
  });
}

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = [];
  for await (const item of items) found.push(item);
  return found;
}

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Runs in a process of its own, with the addresses of this cluster. */
async function runPage(code: string): Promise<string> {
  const here = code
    .replace("https://collect.example.test", cluster.collect.url)
    .replace("https://auth.example.test", cluster.auth.url)
    .replace("KEY.SECRET", cluster.apiKey);
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", here], {
    cwd: root,
  });
  return stdout;
}

const refusal = async (promise: Promise<unknown>): Promise<unknown> =>
  promise.catch((error: unknown) => error);

test("the documentation's code runs as it is", async () => {
  const [code = ""] = readmeBlocks("js", "test/flows/server-client.test.ts", "docs/send/server-client.md");
  const [, id = ""] = /^stored (\S+)\n$/.exec(await runPage(code)) ?? [];
  expect(await petrel.messages.get(id)).toMatchObject({ to: { user: "alice" }, state: "queued" });
});

describe("the API, with signed requests", () => {
  test("messages: to a user, a list, a topic; and their states", async () => {
    const [one, list, published] = await Promise.all([
      petrel.send({ to: { user: "alice@example.test" }, data: { text: "hello" }, idempotencyKey: "k1" }),
      petrel.send({ to: { users: ["bob", "carol"] }, data: null }),
      petrel.topics.publish("news", { score: "2:1" }),
    ]);
    expect(one).toEqual({ id: expect.any(String) as string, duplicate: false });
    expect(list.results.map(({ user, duplicate }) => [user, duplicate])).toEqual([
      ["bob", false],
      ["carol", false],
    ]);
    expect(
      await petrel.send({
        to: { user: "alice@example.test" },
        data: { text: "hello" },
        idempotencyKey: "k1",
      }),
    ).toEqual({
      id: one.id,
      duplicate: true,
    });
    expect(await petrel.messages.get(one.id)).toMatchObject({ state: "queued", seq: 1 });
    expect(await petrel.messages.get(published.id)).toMatchObject({ state: "published", topic: "news" });
    expect((await all(petrel.users.messages("alice@example.test"))).map(({ data }) => data)).toEqual([
      { text: "hello" },
    ]);
    await petrel.messages.cancel(one.id);
    expect(await petrel.messages.get(one.id)).toMatchObject({ state: "cancelled" });
  });

  test("errors have the server's code and details", async () => {
    const mismatch = refusal(
      petrel
        .send({ to: { user: "bob" }, data: 1, idempotencyKey: "k2" })
        .then(() => petrel.send({ to: { user: "bob" }, data: 2, idempotencyKey: "k2" })),
    );
    expect(await mismatch).toMatchObject({
      code: "PETREL_IDEMPOTENCY_MISMATCH",
      status: 422,
      outcome: "refused",
    });
    expect(await refusal(petrel.send({ to: { user: "no spaces" }, data: 1 }))).toMatchObject({
      code: "PETREL_INVALID_REQUEST",
      details: { field: "body/to/user" },
    });
    expect(await refusal(petrel.send({ to: { all: true }, data: 1 }))).toMatchObject({
      code: "PETREL_FORBIDDEN",
      details: { scope: "admin" },
    });
    expect(await refusal(petrel.messages.get("p0_unknown"))).toMatchObject({
      code: "PETREL_NOT_FOUND",
      status: 404,
    });
    expect(await refusal(open({ key: "pk.wrong" }).users.presence("bob"))).toMatchObject({
      code: "PETREL_UNAUTHENTICATED",
      retryable: false,
    });
  });

  test("schedules: scheduled messages are listed and cancelled", async () => {
    const deliverAt = new Date(Date.now() + 3_600_000);
    const { id } = await petrel.send({ to: { user: "erin" }, data: "later", deliverAt });
    const [waiting] = await all(petrel.users.scheduled("erin"));
    expect(waiting).toMatchObject({ id, deliverAt: deliverAt.toISOString(), data: "later" });
    await petrel.messages.cancel(id);
    expect(await all(petrel.users.scheduled("erin"))).toEqual([]);
    expect(await refusal(petrel.messages.cancel("p0_unknown"))).toMatchObject({ code: "PETREL_NOT_FOUND" });
  });

  test("topics: head, history in order, kept subscriptions", async () => {
    for (const n of [1, 2, 3]) await petrel.topics.publish("match.7", n);
    expect(await petrel.topics.get("match.7")).toMatchObject({ offset: 3, oldest: 1 });
    expect((await all(petrel.topics.history("match.7", { after: 1 }))).map(({ data }) => data)).toEqual([
      2, 3,
    ]);
    await petrel.topics.keep("dora", "match.7");
    expect((await all(petrel.topics.kept("dora"))).map(({ topic }) => topic)).toEqual(["match.7"]);
    await petrel.topics.drop("dora", "match.7");
    expect(await all(petrel.topics.kept("dora"))).toEqual([]);
    expect(await all(petrel.topics.presence("match.7"))).toEqual([]);
  });

  test("tokens, tickets and presence: a user connects, is seen, and is disconnected", async () => {
    const tokens = await petrel.tokens.create({ userId: "frank", topics: ["room.*"], ttlSeconds: 600 });
    const { accessToken, refreshToken } = await petrel.tokens.refresh(tokens.refreshToken);
    expect(refreshToken).not.toBe(tokens.refreshToken);
    const { ticket } = await petrel.tokens.createTicket(accessToken);
    const client = openClient({ url: cluster.nodeUrls[0] ?? "", query: `ticket=${ticket}` });
    await client.frame("welcome");
    expect((await petrel.users.presence("frank")).online).toBe(true);
    const names = Array.from({ length: 250 }, (_, i) => `nobody+${i}`);
    const seen = await petrel.users.online([...names, "frank"]);
    expect([seen.length, seen[0], seen.at(-1)?.online]).toEqual([
      251,
      { user: "nobody+0", online: false, lastSeenAt: null },
      true,
    ]);
    await petrel.tokens.revoke({ userId: "frank" });
    expect((await client.untilClosed()).code).toBe(4403);
  });

  test("devices: registered, listed, deleted", async () => {
    await petrel.devices.register("gina", {
      platform: "ios",
      token: "ab".repeat(32),
      topic: "com.example.app",
      environment: "sandbox",
    });
    const [device] = await all(petrel.devices.list("gina"));
    expect(device).toMatchObject({ platform: "ios", tokenEnd: "ababab" });
    await petrel.devices.delete("gina", device?.id ?? "");
    expect(await all(petrel.devices.list("gina"))).toEqual([]);
  });

  test("calls that need the scope admin", async () => {
    const admin = open({ key: cluster.adminKey });
    expect((await admin.send({ to: { all: true }, data: "hello, all" })).duplicate).toBe(false);
    expect(await admin.users.disconnect("nobody")).toBe(0);
    await admin.users.erase("gina");
    expect((await admin.request("auth", "GET", "/v1/audit?limit=1"))["items"]).toHaveLength(1);
    await admin.close();
  });
});

test("events: in order, across a kill -9 of collect, and from a position", async () => {
  const cancelled: string[] = [];
  const cancelOne = async (): Promise<string> => {
    const { id } = await petrel.send({ to: { user: "eve" }, data: 1 });
    await petrel.messages.cancel(id);
    return id;
  };
  const ending = new AbortController();
  const events = petrel.events({
    after: "now",
    types: ["message.cancelled"],
    waitSeconds: 5,
    signal: ending.signal,
  });
  const reading = (async () => {
    for await (const event of events)
      if (event.type !== "gap" && event.user === "eve") cancelled.push(event.message ?? "");
  })();
  const untilHeard = (id: string): Promise<unknown> =>
    waitFor(() => cancelled.includes(id), { what: "the event", deadlineMs: 60_000 });
  // "now" is when its first request arrives.
  let first = await cancelOne();
  const expected = [first];
  while (cancelled.length === 0) {
    await pause(20);
    first = await cancelOne();
    expected.push(first);
  }
  const collect = cluster.newest("collect");
  collect.signal("SIGKILL");
  await collect.exited;
  await cluster.startAgain(collect);
  const second = await cancelOne();
  expected.push(second);
  await untilHeard(second);
  ending.abort();
  await reading;
  // Nothing between the first that was heard and the last is missing, and nothing twice.
  expect(cancelled).toEqual(expected.slice(-cancelled.length));

  const third = await cancelOne();
  const again = petrel.events({ after: events.position, types: ["message.cancelled"] });
  for await (const event of again) {
    expect(event).toMatchObject({ type: "message.cancelled", user: "eve", message: third });
    break;
  }
});

test("events: permanent errors are reported", async () => {
  const [events] = [petrel.events({ types: ["no.such" as "user.online"] })];
  expect(await refusal(all(events))).toMatchObject({ code: "PETREL_INVALID_REQUEST" });
});

test("kill -9 of collect, three times: resolved is stored once, refused is not, unknown says so", async () => {
  const SENDERS = 64;
  const KILLS = 3;
  /** Between two of them. */
  const STORED = sized(300, 100);
  const users = Array.from({ length: 20 }, (_, i) => `k${i}`);
  // One sees it through; the other gives up after an attempt, and has to say what it does not know.
  const patient = open();
  const impatient = open({ attempts: 1, lingerMs: 0 });
  const resolved = new Set<number>();
  const rejected = new Map<number, PetrelError>();
  let next = 0;
  let isOver = false;
  const sender = async (through: Petrel): Promise<void> => {
    while (!isOver) {
      const n = next++;
      try {
        await through.send({ to: { user: users[n % users.length] ?? "" }, data: n });
        resolved.add(n);
      } catch (error) {
        if (!(error instanceof PetrelError)) throw error;
        rejected.set(n, error);
        // Nothing listens: a loop would only count.
        await pause(20);
      }
    }
  };
  const senders = Array.from({ length: SENDERS }, (_, i) => sender(i % 2 === 0 ? patient : impatient));
  const count = async (more: number): Promise<void> => {
    const goal = resolved.size + more;
    await waitFor(() => resolved.size >= goal, { what: `${goal} messages stored`, deadlineMs: 60_000 });
  };
  for (let kill = 0; kill < KILLS; kill++) {
    await count(STORED);
    const collect = cluster.newest("collect");
    collect.signal("SIGKILL");
    await collect.exited;
    await cluster.startAgain(collect);
  }
  await count(STORED);
  isOver = true;
  await Promise.all(senders);
  await Promise.all([patient.close(), impatient.close()]);

  const times = new Map<number, number>();
  for (const user of users) {
    for await (const { data } of petrel.users.messages(user)) {
      times.set(Number(data), (times.get(Number(data)) ?? 0) + 1);
    }
  }
  expect([...resolved].filter((n) => times.get(n) !== 1)).toEqual([]);
  const wrong = [...rejected].filter(([n, { outcome }]) =>
    outcome === "refused" ? times.has(n) : outcome !== "unknown" || (times.get(n) ?? 0) > 1,
  );
  expect(wrong.map(([n, error]) => `${n} ${error.code} ${error.outcome}`)).toEqual([]);
  expect(times.size).toBeGreaterThanOrEqual(resolved.size);
  // The fault was real: some were under way when collect died, and none of the patient ones was lost.
  expect([...rejected.values()].some(({ outcome }) => outcome === "unknown")).toBe(true);
});

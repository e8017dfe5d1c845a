// Tests how messages on their way to the store are grouped into calls.
// Guarantees: order per user, bounded calls, a fair share for each user; a failed call fails its own messages only.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import type { AcceptResult } from "./accept-answers.js";
import type { AcceptOptions, MessageAccepter, MessageToAccept } from "./accept-batch.js";
import { ScriptRunner } from "../scripts/script-runner.js";

interface Call {
  readonly partition: string;
  readonly userIds: readonly string[];
  readonly dataBytes: number;
}

/** The arguments of an `accept` call that come before those of its messages. */
const OWN_ARGUMENTS = 13;

/** Runs everything as usual, and records the calls; can be told to lose a call's answer. */
class NotingRunner extends ScriptRunner {
  readonly calls: Call[] = [];
  failing: (call: Call) => boolean = () => false;

  override async run(...[name, keys, args]: Parameters<ScriptRunner["run"]>): Promise<string> {
    const userIds: string[] = [];
    let userId = "";
    for (const key of keys) {
      userId = /:user:(.*)$/.exec(key)?.[1] ?? userId;
      if (key.includes(":record:")) userIds.push(userId);
    }
    const texts = args.slice(OWN_ARGUMENTS).map(String);
    const dataBytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    const call = { partition: /\{(p\d+)\}/.exec(keys[0] ?? "")?.[1] ?? "", userIds, dataBytes };
    this.calls.push(call);
    const answer = await super.run(name, keys, args);
    if (this.failing(call)) throw new Error("Connection is closed.");
    return answer;
  }
}

let store: OpenStore;
let runner: NotingRunner;
beforeAll(async () => {
  store = await openStore();
  runner = new NotingRunner(store.redis);
});
beforeEach(async () => {
  await store.clear();
  runner.calls.length = 0;
  runner.failing = () => false;
});
afterAll(() => store.close());

const accepter = (options: Partial<AcceptOptions> = {}): MessageAccepter =>
  store.accepter({ scripts: runner, ...options });
const acceptAll = (to: MessageAccepter, messages: readonly MessageToAccept[]): Promise<AcceptResult[]> =>
  Promise.all(messages.map((one) => to.accept(one)));
const seqsOf = (results: readonly AcceptResult[]) =>
  results.map((result) => (result.outcome === "stored" ? result.seq : undefined));

const users = (count: number) => Array.from({ length: count }, (_, i) => `u${i}`);
const count = (to: number) => Array.from({ length: to }, (_, i) => i + 1);

test("messages of one turn go in one call per partition", async () => {
  await acceptAll(
    accepter(),
    users(50).map((userId, i) => message({ userId, partition: i % 2 })),
  );
  expect(runner.calls.map(({ partition, userIds }) => [partition, userIds.length])).toEqual([
    ["p0", 25],
    ["p1", 25],
  ]);
});

test("a call holds at most 200 messages", async () => {
  const results = await acceptAll(
    accepter(),
    users(450).map((userId) => message({ userId })),
  );
  expect(runner.calls.map(({ userIds }) => userIds.length)).toEqual([200, 200, 50]);
  expect(seqsOf(results)).toEqual(results.map(() => 1));
});

test.each([
  ["plain", "x"],
  ["of three bytes a character", "好"],
])("a call holds at most 256 KiB, text %s", async (_what, character) => {
  const data = JSON.stringify(character.repeat(20_000));
  await acceptAll(
    accepter(),
    users(30).map((userId) => message({ userId, data, notification: `{"title":"t"}` })),
  );
  expect(runner.calls.length).toBeGreaterThan(1);
  for (const { dataBytes } of runner.calls) expect(dataBytes).toBeLessThanOrEqual(256 * 1024);
  expect(runner.calls.flatMap(({ userIds }) => userIds)).toHaveLength(30);
});

test("sends a message of the maximum size, too", async () => {
  const data = JSON.stringify("x".repeat(64 * 1024 - 2));
  const results = await acceptAll(accepter(), [message({ data }), message({ data })]);
  expect(seqsOf(results)).toEqual([1, 2]);
});

test("a user who sends much has only a share of each call, and keeps the order", async () => {
  const results = await acceptAll(accepter(), [
    ...count(150).map(() => message({ userId: "much" })),
    ...users(10).map((userId) => message({ userId })),
  ]);
  const shares = runner.calls.map(({ userIds }) => userIds.filter((userId) => userId === "much").length);
  expect(shares).toEqual([64, 64, 22]);
  expect(runner.calls[0]?.userIds).toHaveLength(74);
  expect(seqsOf(results.slice(0, 150))).toEqual(count(150));
});

test("once one of a user's messages is postponed, all later ones are, even if they would fit", async () => {
  const large = JSON.stringify("x".repeat(60_000));
  const results = await acceptAll(accepter(), [
    ...users(4).map((userId) => message({ userId, data: large })),
    message({ userId: "order", data: large }),
    message({ userId: "order", data: "1" }),
    message({ userId: "order", data: "2" }),
  ]);
  expect(seqsOf(results.slice(4))).toEqual([1, 2, 3]);
});

test("keeps each user's order over many turns and calls in flight", async () => {
  const to = accepter({ maxInFlight: 4 });
  const sent: Promise<AcceptResult>[] = [];
  for (let i = 0; i < 1_000; i++) {
    sent.push(to.accept(message({ userId: `u${i % 3}`, partition: 0 })));
    if (i % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const results = seqsOf(await Promise.all(sent));
  for (const first of [0, 1, 2]) {
    const ofUser = results.filter((_, i) => i % 3 === first);
    expect(ofUser).toEqual(count(ofUser.length));
  }
  expect(runner.calls.length).toBeLessThan(300);
});

test("if one call fails, its messages fail, and the others are answered", async () => {
  runner.failing = ({ partition }) => partition === "p1";
  const to = accepter();
  const results = await Promise.allSettled([
    to.accept(message({ userId: "a", partition: 0 })),
    to.accept(message({ userId: "b", partition: 1 })),
    to.accept(message({ userId: "c", partition: 1 })),
    to.accept(message({ userId: "a", partition: 0 })),
  ]);
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected", "fulfilled"]);
});

test("finds what was stored despite a lost answer when it is sent again", async () => {
  runner.failing = () => true;
  const given = message({ attempt: "mine" });
  await expect(accepter().accept(given)).rejects.toThrow("Connection is closed.");
  runner.failing = () => false;
  expect(await accepter().accept(given)).toMatchObject({
    outcome: "exists",
    record: { seq: 1, attempt: "mine" },
  });
  expect(await store.redis.xlen(store.keys.ready)).toBe(1);
});

test("an invalid partition fails alone", async () => {
  const to = accepter();
  const [none, good] = await Promise.allSettled([
    to.accept(message({ partition: 7 })),
    to.accept(message({ partition: 0 })),
  ]);
  expect(none).toMatchObject({ status: "rejected" });
  expect(good).toMatchObject({ status: "fulfilled" });
});

test("reports how many wait", async () => {
  const to = accepter();
  const all = acceptAll(to, [message(), message()]);
  expect(to.waiting).toBe(2);
  await all;
  expect(to.waiting).toBe(0);
});

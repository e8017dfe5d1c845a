// Tests the topics that the server keeps for a user, by collect's application on real Redis.
// Guarantees: PUT and DELETE may be repeated; the nodes that hold the user are told in the same step.
import { keepTopic } from "@petrel/shared/redis/topics/kept-topics";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type OpenCollect, openCollect } from "../testing/open-collect.js";

let collect: OpenCollect;
let user = 0;
let id: string;

beforeAll(async () => {
  collect = await openCollect();
});
afterAll(() => collect?.close());
beforeEach(() => {
  id = `user.${user++}`;
});

const put = (topic: string) => collect.ask("PUT", `/v1/users/${id}/topics/${topic}`);
const drop = (topic: string) => collect.ask("DELETE", `/v1/users/${id}/topics/${topic}`);
async function list(
  query = "",
): Promise<{ items: { topic: string; since: string }[]; nextCursor: string | null }> {
  const { status, body } = await collect.ask("GET", `/v1/users/${id}/topics${query}`);
  expect(status).toBe(200);
  return body as never;
}
const names = async (query = ""): Promise<string[]> => (await list(query)).items.map(({ topic }) => topic);

test("keeps and drops, repeatedly: 204 without a body each time", async () => {
  const before = await collect.store.nowMs();
  for (const _again of [1, 2]) {
    const answer = await put("room.7");
    expect([answer.status, answer.body]).toEqual([204, undefined]);
  }
  const { items, nextCursor } = await list();
  expect(nextCursor).toBeNull();
  expect(items).toEqual([{ topic: "room.7", since: expect.stringMatching(/^\d{4}-.*Z$/) as string }]);
  const since = Date.parse(items[0]?.since ?? "");
  expect(since).toBeGreaterThanOrEqual(before);
  for (const _again of [1, 2]) expect((await drop("room.7")).status).toBe(204);
  expect(await list()).toEqual({ items: [], nextCursor: null });
});

test("a repeated PUT keeps the time of the first", async () => {
  await put("room.7");
  const [first] = (await list()).items;
  const from = await collect.store.nowMs();
  await expect.poll(() => collect.store.nowMs()).toBeGreaterThan(from + 1);
  await put("room.7");
  expect((await list()).items).toEqual([first]);
});

test("lists by name, in pages", async () => {
  for (const topic of ["c", "a", "b", "B", "~"]) await put(topic);
  expect(await names()).toEqual(["B", "a", "b", "c", "~"]);
  const first = await list("?limit=2");
  expect(first.nextCursor).toBe("a");
  expect(await list("?limit=3&cursor=a")).toMatchObject({
    items: [{ topic: "b" }, { topic: "c" }, { topic: "~" }],
    nextCursor: null,
  });
  await drop("a");
  expect(await names("?limit=1&cursor=a")).toEqual(["b"]);
  expect(await names("?cursor=~")).toEqual([]);
});

test("refuses a topic beyond a hundred with 409 and changes nothing", async () => {
  const keys = collect.keysOf(id);
  for (let i = 0; i < 100; i++) await keepTopic(collect.store.scripts, keys, id, `t.${i}`);
  expect(await put("one-more")).toMatchObject({
    status: 409,
    body: { error: { code: "PETREL_TOO_MANY_TOPICS", retryable: false, details: { limit: 100 } } },
  });
  // A topic that is kept already does not count again.
  expect((await put("t.5")).status).toBe(204);
  expect(await names("?limit=1000")).toHaveLength(100);
  await drop("t.5");
  expect((await put("one-more")).status).toBe(204);
});

test("one user's topics are not another's", async () => {
  await put("room.7");
  const { body } = await collect.ask("GET", `/v1/users/${id}.other/topics`);
  expect(body).toEqual({ items: [], nextCursor: null });
});

test("accepts no body, or an empty object", async () => {
  const answer = await collect.ask("PUT", `/v1/users/${id}/topics/room`, { body: {} });
  expect(answer.status).toBe(204);
});

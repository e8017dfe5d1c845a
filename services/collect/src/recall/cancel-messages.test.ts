// Tests DELETE /v1/messages/:id, by collect's application on real Redis.
// Guarantees: 204 means that the message is cancelled and stays so; every other answer says what became of it.
import { ackUsers } from "@petrel/shared/redis/inbox/ack-users";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MessageStateAnswer } from "../contract/describe-message.js";
import { type OpenCollect, openCollect } from "../testing/open-collect.js";

let collect: OpenCollect;
let users = 0;
beforeAll(async () => void (collect = await openCollect()));
afterAll(() => collect.close());

async function send(user: string, rest: Record<string, unknown> = {}): Promise<string> {
  const answer = await collect.ask("POST", "/v1/messages", { body: { to: { user }, data: 1, ...rest } });
  expect(answer.status).toBe(202);
  return (answer.body as { id: string }).id;
}
const read = async (id: string) =>
  (await collect.ask("GET", `/v1/messages/${id}`)).body as MessageStateAnswer;
const cancel = (id: string, as?: string) =>
  collect.ask("DELETE", `/v1/messages/${id}`, as === undefined ? {} : { as });
const newUser = (): string => `c${++users}`;

describe("a queued message", () => {
  test("is cancelled with 204 and no body, repeatedly; its state and timeline say so", async () => {
    const user = newUser();
    const [id, next] = [await send(user), await send(user)];
    for (const _again of [1, 2]) {
      const answer = await cancel(id);
      expect([answer.status, answer.body]).toEqual([204, undefined]);
    }
    const found = await read(id);
    expect(found).toMatchObject({ id, state: "cancelled", seq: 1, to: { user } });
    expect(found).not.toHaveProperty("reason");
    expect(found.timeline.map(({ event }) => event)).toEqual(["accepted", "cancelled"]);
    expect((await collect.inboxOf(user)).map((message) => message.id)).toEqual([next]);
    expect((await read(next)).state).toBe("queued");
  });

  test("with an idempotency key: a repeat is the same message and stays cancelled", async () => {
    const user = newUser();
    const id = await send(user, { idempotencyKey: "k" });
    await cancel(id);
    const again = await collect.ask("POST", "/v1/messages", {
      body: { to: { user }, data: 1, idempotencyKey: "k" },
    });
    expect(again.body).toEqual({ id, duplicate: true });
    expect((await read(id)).state).toBe("cancelled");
    expect(await collect.inboxOf(user)).toEqual([]);
  });

  test("one that also goes to the fallback is cancelled while nothing was sent", async () => {
    const id = await send(newUser(), { fallback: "always", notification: { title: "t", body: "b" } });
    expect((await cancel(id)).status).toBe(204);
  });
});

describe("refused with 409", () => {
  async function conflict(id: string, details: Record<string, unknown>): Promise<void> {
    expect(await cancel(id)).toMatchObject({
      status: 409,
      body: { error: { code: "PETREL_CONFLICT", retryable: false, details } },
    });
  }

  test("one that was delivered", async () => {
    const user = newUser();
    const id = await send(user);
    const { epoch = "" } = await read(id);
    await ackUsers(collect.store.scripts, collect.keysOf(user), [{ userId: user, epoch, seq: 1 }], 100);
    await conflict(id, { state: "delivered" });
    expect((await read(id)).state).toBe("delivered");
  });

  test.each(["pushed", "failed", "expired"])("one that is %s", async (state) => {
    const user = newUser();
    const id = await send(user);
    await collect.store.redis.append(collect.keysOf(user).record(id), `\t${state} 5`);
    await conflict(id, { state });
  });

  test("one that was published", async () => {
    const answer = await collect.ask("POST", "/v1/messages", { body: { to: { topic: "news" }, data: 1 } });
    await conflict((answer.body as { id: string }).id, { state: "published" });
  });

  test("one that a channel is being asked to take: pushing", async () => {
    const user = newUser();
    const id = await send(user);
    const key = collect.keysOf(user).sending(id);
    await collect.store.redis.set(key, "a", "PX", 60_000);
    await conflict(id, { state: "queued", pushing: true });
    await collect.store.redis.del(key);
    expect((await cancel(id)).status).toBe(204);
  });
});

test("needs the scope send", async () => {
  const id = await send(newUser());
  const reader = await collect.producer("reader", ["read"]);
  expect(await cancel(id, reader)).toMatchObject({
    status: 403,
    body: { error: { code: "PETREL_FORBIDDEN" } },
  });
  const sender = await collect.producer("sender", ["send"]);
  expect((await cancel(id, sender)).status).toBe(204);
});

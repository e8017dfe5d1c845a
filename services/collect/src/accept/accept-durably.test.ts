// Tests collect with ACCEPT_DURABILITY=replicas.
// Guarantees: on a real Redis with a real replica; a message that is not confirmed in time gets 503 with Retry-After,
// and repeating the request is the same message.
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { chooseConfirmation } from "@petrel/shared/redis/accept/confirm-writes";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, expect, test } from "vitest";
import { openCollect, type OpenCollect } from "../testing/open-collect.js";

const logger = createLogger({ service: "test", level: "silent" });
let collect: OpenCollect;
let replica: TestRedis;

afterEach(async () => {
  replica?.signal("SIGCONT");
  await replica?.stop();
  await collect?.close();
});

test("if a replica is away: 503 and Retry-After; when it is back, the same request is answered as stored before", async () => {
  let confirm: Awaited<ReturnType<typeof chooseConfirmation>>;
  collect = await openCollect({
    accept: { confirm: async (server) => confirm?.(server) },
    acceptDeadlineMs: 1_500,
  });
  const { redis, server } = collect.store;
  confirm = await chooseConfirmation(redis, { kind: "replicas", count: 1 }, 300, logger);
  replica = await startRedis({ extraArgs: ["--replicaof", "127.0.0.1", String(server.port)] });
  const send = (idempotencyKey: string, to: object = { user: "ada" }) =>
    collect.ask("POST", "/v1/messages", { body: { to, data: 1, idempotencyKey } });
  const news = { topic: "news" };
  const cancel = (id: string) => collect.ask("DELETE", `/v1/messages/${id}`);
  const keep = (method: "PUT" | "DELETE", topic: string) =>
    collect.ask(method, `/v1/users/ada/topics/${topic}`);
  /** A replica that is there may be slow on a busy machine: each of these may be asked again. */
  const until = (status: number, call: () => ReturnType<typeof send>) =>
    waitFor(
      async () => {
        const answer = await call();
        return answer.status === status && answer;
      },
      { what: `${status} once the replica has confirmed` },
    );
  await until(202, () => send("first"));

  await until(202, () => send("first", news));
  for (const topic of ["kept", "dropped"]) await until(204, () => keep("PUT", topic));
  const toCancel = ((await until(202, () => send("to cancel", { user: "bob" }))).body as { id: string }).id;

  replica.signal("SIGSTOP");
  for (const call of [
    () => send("second"),
    () => send("second"),
    () => send("second", news),
    () => send("second", { all: true }),
    () => keep("PUT", "new"),
    // Nothing has to change, but the answer must still be confirmed.
    () => keep("PUT", "kept"),
    () => keep("DELETE", "dropped"),
    () => cancel(toCancel),
    // It is cancelled, but the answer must still be confirmed.
    () => cancel(toCancel),
  ]) {
    const answer = await call();
    expect(answer).toMatchObject({
      status: 503,
      body: { error: { code: "PETREL_UNAVAILABLE", retryable: true } },
    });
    expect(Number(answer.headers["retry-after"])).toBeGreaterThanOrEqual(1);
  }
  // The duplicate's answer needs the replica's confirmation as much as the original's.
  expect((await send("first")).status).toBe(503);
  expect((await send("first", news)).status).toBe(503);

  replica.signal("SIGCONT");
  await until(202, () => send("second"));
  expect(await until(202, () => send("second"))).toMatchObject({ body: { duplicate: true } });
  expect(await collect.inboxOf("ada")).toHaveLength(2);
  expect(await until(202, () => send("second", news))).toMatchObject({ body: { duplicate: true } });
  await until(204, () => keep("PUT", "new"));
  await until(204, () => cancel(toCancel));
  const { body } = await collect.ask("GET", "/v1/users/ada/topics");
  expect(body).toMatchObject({ items: [{ topic: "kept" }, { topic: "new" }] });
});

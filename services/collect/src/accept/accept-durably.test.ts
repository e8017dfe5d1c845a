// Tests collect where a message must have reached a replica before it is answered for.
// Guarantees: on a real Redis with a real replica; what is not confirmed in time is 503 with Retry-After, and the same
// request again is the same message.
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

test("a replica that is away: 503 and Retry-After; when it is back, the same request is answered as stored before", async () => {
  let confirm: Awaited<ReturnType<typeof chooseConfirmation>>;
  collect = await openCollect({
    accept: { confirm: async (server) => confirm?.(server) },
    acceptDeadlineMs: 1_500,
  });
  const { redis, server } = collect.store;
  confirm = await chooseConfirmation(redis, { kind: "replicas", count: 1 }, 300, logger);
  replica = await startRedis({ extraArgs: ["--replicaof", "127.0.0.1", String(server.port)] });
  const send = (idempotencyKey: string) =>
    collect.ask("POST", "/v1/messages", { body: { to: { user: "ada" }, data: 1, idempotencyKey } });
  await waitFor(async () => (await send("first")).status === 202, {
    what: "the replica",
    deadlineMs: 20_000,
  });

  replica.signal("SIGSTOP");
  for (const _again of [1, 2]) {
    const answer = await send("second");
    expect(answer).toMatchObject({
      status: 503,
      body: { error: { code: "PETREL_UNAVAILABLE", retryable: true } },
    });
    expect(Number(answer.headers["retry-after"])).toBeGreaterThanOrEqual(1);
  }
  // The original's duplicate needs the replica as much.
  expect((await send("first")).status).toBe(503);

  replica.signal("SIGCONT");
  await waitFor(async () => (await send("second")).status === 202, { what: "the replica" });
  expect(await send("second")).toMatchObject({ body: { duplicate: true } });
  expect(await collect.inboxOf("ada")).toHaveLength(2);
});

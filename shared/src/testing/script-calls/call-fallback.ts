// Tests only: calls the scripts of the fallback, of WeChat's tokens and of recalls, by their typed callers.
import { decodeFallbackEntry } from "../../protocol/fallback/fallback-entry.js";
import type { AcceptResult } from "../../redis/accept/accept-answers.js";
import { DeadLettersStore } from "../../redis/fallback/dead-letters-store.js";
import { keepDeviceSends } from "../../redis/fallback/device-sends-store.js";
import {
  forgetWorkers,
  giveBackFallback,
  promoteRetries,
  readFallback,
} from "../../redis/fallback/fallback-queue.js";
import { settleFallback } from "../../redis/fallback/settle-fallback.js";
import { takeCollapseTurn } from "../../redis/fallback/take-collapse-turn.js";
import { partitionKeys } from "../../redis/keys.js";
import { connectRoute } from "../../redis/routes/connect-routes.js";
import { beginSend } from "../../redis/recall/begin-send.js";
import { cancelMessage } from "../../redis/recall/cancel-message.js";
import type { ScriptRunner } from "../../redis/scripts/script-runner.js";
import { AccessTokenStore } from "../../redis/wechat/access-token-store.js";
import { noteRefusal } from "../../redis/wechat/wechat-notes.js";

const limits = {
  leaseMs: 30_000,
  maxConnectionsPerUser: 1,
  whenFull: "evict",
  ackTimeoutMs: 10_000,
} as const;
const turnOptions = { holder: "h", leaseMs: 1_000, keepUntilMs: 99_999_999_999_999 } as const;

/** A message with a fallback that fails, is tried again, and is given up. */
export async function callFallback(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const source = { keys, priority: "low" } as const;
  const how = { attempts: 1, notes: [{ channel: "c", outcome: "failed" }], deadLettersCap: 1 } as const;
  const deadLetters = new DeadLettersStore(scripts, [partitionKeys(0), partitionKeys(1), partitionKeys(2)]);
  await readFallback(scripts, source, "w1", 1);
  const epoch = (await scripts.redis.hget(keys.user("u1"), "epoch")) ?? "";
  const text = `u1\t9\t${epoch}\t1\t2\tm9\tol\t{}`;
  await scripts.redis.xadd(keys.fallback("low"), "*", "m", text, "n", "0");
  await scripts.redis.set(keys.record("m9"), `9\t${epoch}\t1\t99999999999999\tu1\t-\tfirst`);
  await keepDeviceSends(scripts, keys, { id: "m9", seq: 9, epoch, expiresAtMs: 9e13 }, new Set(["d1"]));
  for (const settlement of [
    { outcome: "retry", delayMs: 0 },
    { outcome: "failed", cause: "rejected", reason: "no" },
    { outcome: "passed", channel: "web", failure: undefined },
    { outcome: "taken", channel: "c" },
  ] as const) {
    await promoteRetries(scripts, keys, 10);
    for (const letter of (await deadLetters.list("rejected", undefined, 1)).items) {
      await deadLetters.replay(letter);
    }
    for (const entry of await readFallback(scripts, source, "w1", 1)) {
      await giveBackFallback(scripts, entry, "w1", 1_000);
      await settleFallback(scripts, entry, settlement, how);
    }
  }
  await forgetWorkers(scripts, source, 0);
  await takeCollapseTurn(
    scripts,
    keys,
    { userId: "u1", collapseKey: "k", epoch: "e.1", seq: 1 },
    turnOptions,
  );
}

/** An access token that is fetched, kept, dropped and given up, and what WeChat refused. */
export async function callWechat(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const store = new AccessTokenStore(scripts, [keys]);
  const turn = await store.take("wx1", 5_000);
  const fence = turn.state === "fetch" ? turn.fence : "";
  await store.take("wx1", 5_000);
  await store.keep("wx1", fence, { id: "t1", text: "sealed", expiresInMs: 7_200_000 });
  await store.drop("wx1", "t1", "unreadable");
  const next = await store.take("wx1", 5_000);
  await store.leave("wx1", next.state === "fetch" ? next.fence : "", {
    forMs: 1_000,
    kind: "resting",
    reason: "busy",
  });
  await noteRefusal(scripts, keys, "u1", { id: "d_1", registeredAtMs: 1 }, "T1");
}

/** A message that is being sent, and one that is recalled while its user is connected. */
export async function callRecall(
  scripts: ScriptRunner,
  partition: number,
  accept: (userId: string, id: string) => Promise<AcceptResult>,
): Promise<void> {
  const keys = partitionKeys(partition);
  await scripts.redis.set(keys.record("m10"), `1\te.1\t1\t99999999999999\tu9\t-\tfirst`);
  const text = `u9\t1\te.1\t1\t99999999999999\tm10\tol\t{}`;
  await beginSend(scripts, keys, decodeFallbackEntry(text), { name: "s", keepMs: 1_000 });
  await accept("u9", "m11");
  const route = { userId: "u9", node: "n1", connection: "c9", platform: "web" };
  await connectRoute(scripts, keys, route, limits);
  await scripts.redis.set(keys.record("m11"), `1\te.1\t1\t99999999999999\tu9\t-\tfirst`);
  for (const id of ["m11", "m11", "m12"]) await cancelMessage(scripts, scripts, keys, id);
}

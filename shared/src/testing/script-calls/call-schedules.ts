// Tests only: calls the scripts of schedules, by their typed callers.
import { DeadLettersStore } from "../../redis/fallback/dead-letters-store.js";
import { partitionKeys } from "../../redis/keys.js";
import { releasePartition, takePartition } from "../../redis/partitions/partition-lease.js";
import { cancelSchedule } from "../../redis/schedules/cancel-schedule.js";
import { listSchedules } from "../../redis/schedules/list-schedules.js";
import {
  findDueSchedules,
  isOfTopic,
  promoteMessages,
  promotePublications,
} from "../../redis/schedules/promote-schedules.js";
import { MessageScheduler } from "../../redis/schedules/schedule-messages.js";
import type { ScriptRunner } from "../../redis/scripts/script-runner.js";
import { message } from "../redis/open-store.js";

/** Messages that wait for their time, are cancelled, promoted, fail, and are retried. */
export async function callSchedules(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const partitions = [partitionKeys(0), partitionKeys(1), partitionKeys(2)];
  const scheduler = new MessageScheduler({ scripts, partitions, maxInFlight: 1, cap: 10_000 });
  const deliverAtMs = Date.now() + 86_400_000;
  const record = { fingerprint: "f", attempt: "a" };
  const history = { size: 1, ageMs: 60_000, bytes: 1_000 };
  const news = {
    topic: "news",
    partition,
    id: "s2",
    ttlMs: 86_400_000,
    history,
    from: "",
    data: "1",
    record,
  };
  const mine = { ...message({ userId: "s1", id: "s1", partition }), deliverAtMs };
  await scheduler.schedule(mine);
  await scheduler.schedule({ ...news, deliverAtMs });
  await scheduler.schedule({ ...mine, id: "s3" });
  await listSchedules(scripts, keys, "s1", { after: undefined, limit: 1, maxBytes: 1 });
  await cancelSchedule(scripts, keys, "s1", "s3");
  const members = await scripts.redis.zrange(keys.scheduled, "0", "-1");
  for (const member of members) await scripts.redis.zadd(keys.scheduled, "XX", 1, member);
  const lease = await takePartition(scripts, keys, "d1", 30_000);
  const token = lease.outcome === "held" ? lease.token : "";
  const due = await findDueSchedules(scripts, keys, 10);
  const rules = {
    ackTimeoutMs: 1_000,
    inboxCap: 0,
    readyCap: 1_000,
    fallbackCap: 1_000,
    recordKeepMs: 1_000,
    receiveLimit: 1,
    deadLettersCap: 1,
  };
  await promoteMessages(
    scripts,
    keys,
    token,
    rules,
    due.members.filter((one) => !isOfTopic(one)),
  );
  await promotePublications(scripts, keys, token, rules, due.members.filter(isOfTopic));
  const deadLetters = new DeadLettersStore(scripts, partitions);
  for (const letter of (await deadLetters.list("inbox-full", undefined, 1)).items)
    await deadLetters.replay(letter);
  await releasePartition(scripts, keys, { holder: "d1", token });
}

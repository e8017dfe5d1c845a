// Tests only: calls the scripts of topics and presence, by their typed callers.
import { partitionKeys } from "../../redis/keys.js";
import { releasePartition, takePartition } from "../../redis/partitions/partition-lease.js";
import { readLastSeen } from "../../redis/presence/read-last-seen.js";
import { listPresence, readPresence } from "../../redis/presence/read-presence.js";
import { findGoneHolders, removeHolder } from "../../redis/presence/remove-holder.js";
import { renewHolder, reportPresence } from "../../redis/presence/report-presence.js";
import type { ScriptRunner } from "../../redis/scripts/script-runner.js";
import { dropTopic, keepTopic } from "../../redis/topics/kept-topics.js";
import { lookAtTopics } from "../../redis/topics/look-at-topics.js";
import { readTopic } from "../../redis/topics/read-topic.js";
import { TopicPublisher } from "../../redis/topics/topic-publisher.js";

export async function callTopics(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const partitions = [partitionKeys(0), partitionKeys(1), partitionKeys(2)];
  const publisher = new TopicPublisher({ scripts, partitions, maxInFlight: 1 });
  const news = {
    topic: "news",
    partition,
    id: "n1",
    ttlMs: 60_000,
    history: { size: 1, ageMs: 60_000, bytes: 1_000 },
    from: "",
    data: "1",
  };
  const record = { fingerprint: "f", attempt: "a" };
  await Promise.all([publisher.publish(news), publisher.publish({ ...news, id: "n2", record })]);
  await publisher.publish({ ...news, id: "n2", record });
  await readTopic(scripts, keys, "news", { after: 0, takesPart: true });
  await readTopic(scripts, keys, "unused", { takesPart: false });
  await lookAtTopics(scripts, keys, ["news", "unused"]);
  await keepTopic(scripts, keys, "u1", "news");
  await dropTopic(scripts, keys, "u1", "news");
}

/** A node that reports, starts over, and is gone. */
export async function callPresence(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const [former, holder] = [
    { node: "n1", number: 1 },
    { node: "n1", number: 2 },
  ];
  const topics = [{ topic: "news", users: [["u1", 1] as const, ["u2", undefined] as const] }];
  await renewHolder(scripts, keys, { holder: former, leaseMs: 0, begins: true });
  await reportPresence(scripts, keys, { holder: former, version: 1, former: undefined, topics });
  await renewHolder(scripts, keys, {
    holder,
    leaseMs: 0,
    begins: true,
    former: { holder: former, leaseMs: 0 },
  });
  await reportPresence(scripts, keys, { holder, version: 2, former, topics });
  await readPresence(scripts, keys, [{ topic: "news", wantsList: true }]);
  await listPresence(scripts, keys, "news", { after: "", limit: 1 });
  await findGoneHolders(scripts, keys, 1);
  const lease = await takePartition(scripts, keys, "d1", 30_000);
  const token = lease.outcome === "held" ? lease.token : "";
  for (const one of [former, holder]) await removeHolder(scripts, keys, token, one, { settleMs: 0 });
  await releasePartition(scripts, keys, { holder: "d1", token });
  await readLastSeen(scripts, keys, ["u1", "u2"]);
}

// Tests only: calls the scripts of events and webhooks, by their typed callers.
import { readPartitionEvents } from "../../redis/events/read-partition-events.js";
import { trimEvents } from "../../redis/events/trim-events.js";
import { findDueOnline, lookOnline } from "../../redis/events/watch-online.js";
import { partitionKeys } from "../../redis/keys.js";
import { releasePartition, takePartition } from "../../redis/partitions/partition-lease.js";
import type { ScriptRunner } from "../../redis/scripts/script-runner.js";
import { countEvents } from "../../redis/webhooks/count-events.js";
import {
  beginWebhookProgress,
  endWebhookProgress,
  stepWebhookProgress,
} from "../../redis/webhooks/webhook-progress.js";
import { WebhooksStore } from "../../redis/webhooks/webhooks-store.js";

/** Events that are read, and users whose presence is looked at. */
export async function callEvents(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  for (const start of ["oldest", "now", { fromMs: 0 }] as const) {
    await readPartitionEvents(scripts, keys, start, { limit: 1 });
  }
  const lease = await takePartition(scripts, keys, "d1", 30_000);
  const token = lease.outcome === "held" ? lease.token : "";
  const { userIds: due } = await findDueOnline(scripts.redis, keys, 10);
  await lookOnline(scripts, keys, token, { absenceInMs: 0, settleMs: 0 }, [...due, "u1"]);
  await trimEvents(scripts, keys, token, 0);
  await releasePartition(scripts, keys, { holder: "d1", token });
}

/** A webhook that is made, makes progress, and is removed. */
export async function callWebhooks(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const store = new WebhooksStore(scripts);
  const [id, url] = [`wh_${partition}`, "https://shop.example/"];
  const record = { id, url, types: null, description: null, paused: false, pausedReason: null } as const;
  const secrets = { sealedSecret: "s", former: [] } as const;
  await store.create({ ...record, ...secrets, createdAtMs: 1, era: 0, replay: null });
  await store.change(id, (one) => ({ ...one, paused: true }));
  const lease = await takePartition(scripts, keys, "d1", 30_000);
  const token = lease.outcome === "held" ? lease.token : "";
  const progress = { after: 1, failures: 0, era: 0, replayed: 0 };
  await beginWebhookProgress(scripts, keys, token, id, progress);
  await stepWebhookProgress(scripts, keys, token, id, progress);
  await endWebhookProgress(scripts, keys, token, id);
  await countEvents(scripts, keys, { mark: 0, ms: 0, n: 0 });
  await releasePartition(scripts, keys, { holder: "d1", token });
  await store.remove(id);
}

// push-node/topics/publish-for-client -> here -> topics/topic-publisher: writes a client's publication to the archive
// first, if that is the topic's history.
// Guarantees: a publication is in the archive, or in its spool, before Redis is asked. Its place is recorded before the
// answer, unless the archive has just become unavailable. Without an archive, no code of its driver is loaded.
import { randomBytes } from "node:crypto";
import { openArchive, type ArchiveSettings } from "@petrel/shared/archive/open-archive";
import type { NewRow } from "@petrel/shared/archive/message-archive";
import type { ArchiveWriter, Publication } from "@petrel/shared/archive/writing/archive-writer";
import { openArchiveWriter } from "@petrel/shared/archive/writing/open-archive-writer";
import type { Clock } from "@petrel/shared/kernel/clock";
import { NO_IDENTITY } from "@petrel/shared/protocol/messages/stored-message";
import { recipientOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { ArchiveSpool } from "@petrel/shared/redis/spool/archive-spool";
import type {
  PublishResult,
  TopicMessageToPublish,
  TopicPublisher,
} from "@petrel/shared/redis/topics/topic-publisher";
import type { Service } from "@petrel/shared/service/open-service";

type Publisher = Pick<TopicPublisher, "publish">;

export interface PublicationArchive {
  readonly keepMs: number;
  readonly first: (publisher: Publisher) => Publisher;
}

const DAY_MS = 24 * 60 * 60 * 1_000;

export async function openPublicationArchive(
  config: ArchiveSettings & { readonly archiveRequired: boolean; readonly archiveSpoolCap: number },
  service: Pick<Service, "metrics" | "logger" | "lifecycle" | "clock">,
  { scripts, partitions }: { readonly scripts: ScriptRunner; readonly partitions: readonly PartitionKeys[] },
): Promise<PublicationArchive | undefined> {
  const archive = await openArchive(config, service.logger);
  if (archive === undefined) return undefined;
  const { archiveRequired, archiveSpoolCap: cap } = config;
  const spool = archiveRequired
    ? undefined
    : new ArchiveSpool<NewRow>({ redis: scripts.redis, partitions, cap });
  const writer = openArchiveWriter(archive, spool, service);
  return {
    keepMs: config.archiveDays * DAY_MS,
    first: (publisher) => archivePublications(publisher, writer, service.clock),
  };
}

export function archivePublications(
  publisher: Publisher,
  writer: Pick<ArchiveWriter, "write" | "replace" | "refuse" | "published">,
  clock: Pick<Clock, "wallMs">,
): Publisher {
  return {
    publish: async (message, request) => {
      if (message.isArchived !== true) return publisher.publish(message, request);
      const row = rowOf(message, clock.wallMs());
      const written = await writer.write(row);
      // If no answer comes, the row stays open, and the owner of the partition finds out by the message's record.
      const result = await publisher.publish(message, request);
      const isOther = result.outcome === "exists" && result.record.fingerprint !== row.fingerprint;
      if (isOther) await writer.refuse(row, written);
      else {
        // The row of an earlier attempt with this key that was never published may hold other data.
        const hasKey = row.fingerprint !== NO_IDENTITY;
        if (hasKey && result.outcome === "published" && written !== "new") await writer.replace(row, written);
        await writer.published({ id: row.id, from: row.from, ...placeOf(result) }, written);
      }
      return result;
    },
  };
}

function placeOf(result: PublishResult): Pick<Publication, "offset" | "epoch" | "atMs"> {
  if (result.outcome === "published") {
    const { offset, epoch, atMs } = result;
    return { offset, epoch, atMs };
  }
  const { seq: offset, epoch, atMs } = result.record;
  return { offset, epoch, atMs };
}

function rowOf(message: TopicMessageToPublish, nowMs: number): NewRow {
  const { id, partition, topic, from, data, ttlMs, record } = message;
  return {
    id,
    partition,
    recipient: recipientOfTopic(topic),
    from,
    data,
    notification: "",
    fallback: "never",
    priority: "normal",
    collapseKey: undefined,
    ttlMs,
    deliverAtMs: undefined,
    fingerprint: record?.fingerprint ?? NO_IDENTITY,
    // An attempt of its own, so that a refusal never ends another attempt's row.
    attempt: randomBytes(9).toString("base64url"),
    acceptedAtMs: nowMs,
    expiresAtMs: nowMs + ttlMs,
  };
}

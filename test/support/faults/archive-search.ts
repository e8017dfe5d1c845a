// What the tests of the message archive and a Redis that loses data share: the archive itself, and whether the partitions'
// owners have looked for what is missing.
import { openArchive } from "@petrel/shared/archive/open-archive";
import type { MessageArchive } from "@petrel/shared/archive/message-archive";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import type { TestFerretDb } from "@petrel/shared/testing/archive/start-ferretdb";
import { waitFor } from "@petrel/shared/testing/wait-for";

/** The cluster's own, asked past the cluster. */
export async function openClustersArchive(server: TestFerretDb): Promise<MessageArchive> {
  const settings = { messageArchiveUrl: server.url(), archiveDays: 90, archiveTimeoutMs: 20_000 };
  const archive = await openArchive(settings, createLogger({ service: "test", level: "silent" }));
  if (archive === undefined) throw new Error("no archive");
  return archive;
}

/** By partition: the generation of Redis' data for which all was looked for; "" while that is under way. */
async function searchedGenerations(archive: MessageArchive): Promise<readonly string[]> {
  const { partitions } = await archive.status();
  return partitions.map(({ generation, isUnderWay }) => (isUnderWay ? "" : generation));
}

/** @returns the generations, by partition */
export async function untilArchiveInStep(
  archive: MessageArchive,
  partitionCount: number,
): Promise<readonly string[]> {
  return waitFor(
    async () => {
      const now = await searchedGenerations(archive);
      return now.length === partitionCount && !now.includes("") && now;
    },
    { what: "the archive to be in step", deadlineMs: 60_000 },
  );
}

/**
 * Until all was looked for once more, since Redis' data is another generation.
 * @param before as `untilArchiveInStep` returned it
 * @param partitions those whose data is
 */
export async function untilSearchedAgain(
  archive: MessageArchive,
  before: readonly string[],
  partitions: readonly number[] = [...before.keys()],
): Promise<void> {
  await waitFor(
    async () => {
      const now = await searchedGenerations(archive);
      return partitions.every(
        (partition) => (now[partition] ?? "") !== "" && now[partition] !== before[partition],
      );
    },
    { what: "the owners to have looked at everything", deadlineMs: 90_000 },
  );
}

// users/erase-user -> here -> shared/redis/erasure, shared/archive: erases a person in Redis and in the archive.
// Guarantees: a tombstone stands in the archive before anything is erased, and covers what is still on its way there.
// Once a call is answered, everything stored before it is gone from both. If either does not answer, the call fails,
// and calling again completes it.
import { ArchiveError, type MessageArchive, type NewRow } from "@petrel/shared/archive/message-archive";
import type { Clock } from "@petrel/shared/kernel/clock";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { ArchiveSpool } from "@petrel/shared/redis/spool/archive-spool";
import type { UserEraser } from "@petrel/shared/redis/erasure/erase-user";

export interface EraseWithArchiveDeps {
  readonly archive: Pick<MessageArchive, "noteErasure" | "erase">;
  readonly spool: Pick<ArchiveSpool<NewRow>, "erase">;
  readonly partitionCount: number;
  readonly clock: Pick<Clock, "wallMs">;
}

export function eraseWithArchive(
  eraser: Pick<UserEraser, "erase">,
  { archive, spool, partitionCount, clock }: EraseWithArchiveDeps,
): Pick<UserEraser, "erase"> {
  return {
    erase: async (userId) => {
      try {
        await archive.noteErasure(userId, clock.wallMs());
        const erased = await eraser.erase(userId);
        // Also erase what arrived during the walk.
        await archive.noteErasure(userId, clock.wallMs());
        // Their publications to topics may lie in any partition.
        for (let partition = 0; partition < partitionCount; partition++) await spool.erase(partition, userId);
        await archive.erase(userId);
        return erased;
      } catch (error) {
        if (!(error instanceof ArchiveError)) throw error;
        throw new PetrelError("PETREL_UNAVAILABLE", "The message archive does not answer: call again.", {
          cause: error,
        });
      }
    },
  };
}

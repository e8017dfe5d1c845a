// archiver -> here -> shared/archive: moves what Redis spooled while the archive was down.
// Guarantees: keeps the order of the spool. An entry is removed only once the archive has it. Nothing of a user who has
// been erased since is written.
import type { MessageArchive, NewRow } from "@petrel/shared/archive/message-archive";
import { erasedUntilOf, usersOf } from "./erased-rows.js";
import type { ArchiveSpool, SpooledEntry } from "@petrel/shared/redis/spool/archive-spool";

export interface DrainDeps {
  readonly archive: Pick<MessageArchive, "write" | "replace" | "refuse" | "erasedUntil">;
  readonly spool: Pick<ArchiveSpool<NewRow>, "read" | "remove">;
}

const ENTRIES = 500;

/** Moves one page. @returns whether there may be more */
export async function drainSpool(partition: number, { archive, spool }: DrainDeps): Promise<boolean> {
  const entries = await spool.read(partition, ENTRIES);
  if (entries.length === 0) return false;
  const erased = await archive.erasedUntil(usersOf(entries.map(({ row }) => row)));
  const kept = entries.filter(({ row }) => row.acceptedAtMs > (erasedUntilOf(erased, row) ?? -1));
  for (const run of runsOf(kept)) {
    const rows = run.map(({ row }) => row);
    const [{ kind } = { kind: "write" }] = run;
    if (kind === "replace") await archive.replace(rows);
    else if (kind === "refuse") await archive.refuse(rows);
    else {
      const failed = (await archive.write(rows)).find((result) => result instanceof Error);
      if (failed instanceof Error) throw failed;
    }
  }
  await spool.remove(
    partition,
    entries.map(({ entryId }) => entryId),
  );
  return entries.length === ENTRIES;
}

/** Groups adjacent entries of the same kind. */
function runsOf(entries: readonly SpooledEntry<NewRow>[]): SpooledEntry<NewRow>[][] {
  const runs: SpooledEntry<NewRow>[][] = [];
  for (const entry of entries) {
    const run = runs.at(-1);
    if (run?.[0]?.kind === entry.kind) run.push(entry);
    else runs.push([entry]);
  }
  return runs;
}

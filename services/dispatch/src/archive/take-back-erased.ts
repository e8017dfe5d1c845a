// archiver -> here -> shared/redis/recall: a message that was driven on while its user was being erased goes again.
// Guarantees: a message is noted in Redis before it is stored, and stands there until the tombstones were looked at once
// more after that: either the erasure found the message in Redis, or it is found here, by this owner or by the next one.
// No event names the user.
import type { ArchivedRow, MessageArchive } from "@petrel/shared/archive/message-archive";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { cancelMessage } from "@petrel/shared/redis/recall/cancel-message";
import { noEvents } from "@petrel/shared/redis/scripts/event-writing";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

export interface TakeBackDeps {
  readonly scripts: ScriptRunner;
  readonly archive: Pick<MessageArchive, "erasedUntil" | "remove">;
}

type Noted = Pick<ArchivedRow, "id" | "recipient" | "acceptedAtMs">;

export class ErasedTakeBack {
  readonly #deps: TakeBackDeps;

  constructor(deps: TakeBackDeps) {
    this.#deps = deps;
  }

  /** These are about to be driven on. */
  async note({ archiveDriven }: PartitionKeys, rows: readonly Noted[]): Promise<void> {
    if (rows.length === 0) return;
    const fields = rows.flatMap(({ id, recipient, acceptedAtMs }) => [id, `${acceptedAtMs}\t${recipient}`]);
    await this.#deps.scripts.redis.hset(archiveDriven, ...fields);
  }

  /** These were not driven on by us: what is there was stored by somebody else. */
  async forget({ archiveDriven }: PartitionKeys, rows: readonly Noted[]): Promise<void> {
    const ids = rows.map(({ id }) => id);
    if (ids.length > 0) await this.#deps.scripts.redis.hdel(archiveDriven, ...ids);
  }

  /** Compares all that are noted, also those of an owner that died. */
  async check(keys: PartitionKeys): Promise<void> {
    const { scripts, archive } = this.#deps;
    const noted = Object.entries(await scripts.redis.hgetall(keys.archiveDriven)).map(decodeNoted);
    if (noted.length === 0) return;
    const erased = await archive.erasedUntil([...new Set(noted.map(({ recipient }) => recipient))]);
    const call = { events: noEvents, run: scripts.run.bind(scripts) };
    const done: string[] = [];
    for (const { id, recipient, acceptedAtMs } of noted) {
      const erasedUntilMs = erased.get(recipient);
      if (erasedUntilMs !== undefined && acceptedAtMs <= erasedUntilMs) {
        const { outcome } = await cancelMessage(call, scripts, keys, id);
        // A fallback channel may have it at any moment: once that is known.
        if (outcome === "pushing") continue;
        await scripts.redis.unlink(keys.record(id), keys.attempts(id), keys.deviceSends(id));
        await archive.remove([id]);
      }
      done.push(id);
    }
    if (done.length > 0) await scripts.redis.hdel(keys.archiveDriven, ...done);
  }
}

function decodeNoted([id, text]: readonly [string, string]): Noted {
  const [acceptedAt = "", recipient = ""] = text.split("\t");
  return { id, recipient, acceptedAtMs: Number(acceptedAt) };
}

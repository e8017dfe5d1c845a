// archiver -> here -> shared/redis/recall: removes a message that was re-driven while its user was being erased.
// Guarantees: a message is noted in Redis before it is stored, and the note stays until the tombstones have been read
// once more after that. So either the erasure finds the message in Redis, or this owner or the next one finds it here.
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

  /** Call it before re-driving these. */
  async note({ archiveDriven }: PartitionKeys, rows: readonly Noted[]): Promise<void> {
    if (rows.length === 0) return;
    const fields = rows.flatMap(({ id, recipient, acceptedAtMs }) => [id, `${acceptedAtMs}\t${recipient}`]);
    await this.#deps.scripts.redis.hset(archiveDriven, ...fields);
  }

  /** Call it for messages that this process did not store: what exists was stored by somebody else. */
  async forget({ archiveDriven }: PartitionKeys, rows: readonly Noted[]): Promise<void> {
    const ids = rows.map(({ id }) => id);
    if (ids.length > 0) await this.#deps.scripts.redis.hdel(archiveDriven, ...ids);
  }

  /** Compares every noted message with the tombstones, including those of an owner that died. */
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
        // A fallback channel may be sending it right now; try again when that has ended.
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

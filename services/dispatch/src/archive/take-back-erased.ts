// archiver -> here -> shared/redis/recall: a message that was driven on while its user was being erased goes again.
// Guarantees: the tombstones are looked at once more after a message was stored, until they could be: either the erasure
// found the message in Redis, or it is found here. No event names the user. A death in between leaves it until it expires.
import type { ArchivedRow, MessageArchive } from "@petrel/shared/archive/message-archive";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { cancelMessage } from "@petrel/shared/redis/recall/cancel-message";
import { noEvents } from "@petrel/shared/redis/scripts/event-writing";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

export interface TakeBackDeps {
  readonly scripts: ScriptRunner;
  readonly archive: Pick<MessageArchive, "erasedUntil" | "remove">;
}

export class ErasedTakeBack {
  readonly #deps: TakeBackDeps;
  /** Driven on, and not yet compared with the tombstones. */
  readonly #pending = new Map<number, Map<string, ArchivedRow>>();

  constructor(deps: TakeBackDeps) {
    this.#deps = deps;
  }

  /** @param driven those just stored; what an earlier call could not compare is compared too */
  async check(keys: PartitionKeys, driven: readonly ArchivedRow[]): Promise<void> {
    const { scripts, archive } = this.#deps;
    const pending = this.#pending.get(keys.partition) ?? new Map<string, ArchivedRow>();
    for (const row of driven) pending.set(row.id, row);
    if (pending.size === 0) return;
    this.#pending.set(keys.partition, pending);
    const rows = [...pending.values()];
    const erased = await archive.erasedUntil([...new Set(rows.map(({ recipient }) => recipient))]);
    const call = { events: noEvents, run: scripts.run.bind(scripts) };
    for (const { id, recipient, acceptedAtMs } of rows) {
      const erasedUntilMs = erased.get(recipient);
      if (erasedUntilMs !== undefined && acceptedAtMs <= erasedUntilMs) {
        const { outcome } = await cancelMessage(call, scripts, keys, id);
        // A fallback channel may have it at any moment: once that is known.
        if (outcome === "pushing") continue;
        await scripts.redis.unlink(keys.record(id), keys.attempts(id), keys.deviceSends(id));
        await archive.remove([id]);
      }
      pending.delete(id);
    }
    if (pending.size === 0) this.#pending.delete(keys.partition);
  }
}

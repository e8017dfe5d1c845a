// user-routes -> here -> redis/erase-user: a person is erased, and it is noted that they were.
// Guarantees: nothing is erased unnoted; whatever there was when a call came is gone when it is answered, also where the
// same person is being erased at that time: then it waits, and they are erased once more, for all that have waited.
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import type { UserEraser } from "@petrel/shared/redis/erasure/erase-user";
import { erasedUserTarget } from "@petrel/shared/redis/erasure/erased-user-target";

export interface EraseUserDeps {
  readonly eraser: Pick<UserEraser, "erase">;
  readonly audit: AuditLog;
}

export class UserErasure {
  readonly #deps: EraseUserDeps;
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #next = new Map<string, Promise<void>>();

  constructor(deps: EraseUserDeps) {
    this.#deps = deps;
  }

  /**
   * @param keyId whose wish it is
   * @throws PetrelError PETREL_UNAVAILABLE where Redis does not answer: then it is to be called again, and finishes what
   * was begun
   */
  erase(userId: string, keyId: string): Promise<void> {
    const waiting = this.#next.get(userId);
    if (waiting !== undefined) return waiting;
    const underWay = this.#underWay.get(userId);
    if (underWay === undefined) return this.#begin(userId, keyId);
    const begin = (): Promise<void> => {
      this.#next.delete(userId);
      return this.#begin(userId, keyId);
    };
    const next = underWay.then(begin, begin);
    this.#next.set(userId, next);
    return next;
  }

  #begin(userId: string, keyId: string): Promise<void> {
    const erasing = this.#erase(userId, keyId).finally(() => this.#underWay.delete(userId));
    this.#underWay.set(userId, erasing);
    return erasing;
  }

  async #erase(userId: string, keyId: string): Promise<void> {
    const { eraser, audit } = this.#deps;
    const act = {
      actor: `key:${keyId}`,
      action: "user.erase",
      // Not the id: what is left of a person must not name them.
      target: erasedUserTarget(userId),
    } as const;
    // Before, too: what is left half-way shows as begun and not done.
    await audit.recordBefore({ ...act, details: { phase: "begun" } });
    const { messages, records, entries, notes } = await eraser.erase(userId);
    await audit.record({ ...act, details: { phase: "done", messages, records, entries, notes } });
  }
}

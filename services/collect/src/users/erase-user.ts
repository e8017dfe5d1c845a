// user-routes -> here -> redis/erase-user: erases a person, and audits it.
// Guarantees: nothing is erased without an audit entry. Once a call is answered, everything stored before it is gone. A
// call during an erasure of the same person waits, and one more erasure serves all that have waited.
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
   * @param keyId the producer key that asks
   * @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer; calling again completes it
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
      // A hash, not the id: nothing that remains may name the person.
      target: erasedUserTarget(userId),
    } as const;
    // Recorded before as well, so that an erasure that stops half-way shows as begun.
    await audit.recordBefore({ ...act, details: { phase: "begun" } });
    const { messages, records, entries, notes } = await eraser.erase(userId);
    await audit.record({ ...act, details: { phase: "done", messages, records, entries, notes } });
  }
}

// message-routes -> here -> shared/redis/recall/cancel-message: a producer cancels a message.
// Guarantees: answers once what was written or found is as durable as ACCEPT_DURABILITY requires; what the answer says
// about the message is true. May be repeated.
import { PetrelError } from "@petrel/shared/kernel/errors";
import { partitionOfMessageId } from "@petrel/shared/protocol/messages/ids";
import type { ConfirmOptions } from "@petrel/shared/redis/accept/confirm-by-server";
import { confirmedScripts } from "@petrel/shared/redis/accept/confirmed-scripts";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import { cancelMessage } from "@petrel/shared/redis/recall/cancel-message";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

export interface CancelMessagesOptions extends ConfirmOptions {
  /** Pure reads use a link of their own. */
  readonly reads: ScriptRunner;
}

export class CancelMessages {
  readonly #options: CancelMessagesOptions;

  /** @param options with the link whose writes are confirmed */
  constructor(options: CancelMessagesOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the message is cancelled, by this call or an earlier one.
   * @throws PetrelError PETREL_NOT_FOUND; PETREL_CONFLICT with its state; or PETREL_UNAVAILABLE: then it may or may not
   * be cancelled
   */
  async cancel(id: string): Promise<void> {
    const partition = partitionOfMessageId(id);
    const keys = partition === undefined ? undefined : this.#options.partitions[partition];
    if (partition === undefined || keys === undefined) throw noSuchMessage();
    const calls = confirmedScripts(this.#options, partition);
    const result = await awaitAnswer(cancelMessage(calls, this.#options.reads, keys, id));
    switch (result.outcome) {
      case "cancelled":
        return;
      case "unknown":
        throw noSuchMessage();
      case "pushing":
        throw conflict("A fallback channel is being asked to take the message.", {
          state: "queued",
          pushing: true,
        });
      case "refused":
        throw conflict(`The message is ${result.state}.`, { state: result.state });
    }
  }
}

export function noSuchMessage(): PetrelError {
  return new PetrelError("PETREL_NOT_FOUND", "There is no such message, or it ended long ago.");
}

function conflict(message: string, details: Readonly<Record<string, unknown>>): PetrelError {
  return new PetrelError("PETREL_CONFLICT", message, { details });
}

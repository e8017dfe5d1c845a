// kept-topic-routes -> here -> shared/redis/topics/kept-topics: which topics the server keeps for a user.
// Guarantees: answers once the state is as durable as ACCEPT_DURABILITY requires, even if nothing had to change. The
// step that writes it also tells the user's nodes. Both calls may be repeated.
import { PetrelError } from "@petrel/shared/kernel/errors";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import type { ConfirmOptions } from "@petrel/shared/redis/accept/confirm-by-server";
import { confirmedScripts, type RunScript } from "@petrel/shared/redis/accept/confirmed-scripts";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { dropTopic, keepTopic, MAX_KEPT_TOPICS } from "@petrel/shared/redis/topics/kept-topics";

export class KeptTopics {
  readonly #options: ConfirmOptions;

  /** @param options with the link whose writes are confirmed */
  constructor(options: ConfirmOptions) {
    this.#options = options;
  }

  /** @throws PetrelError PETREL_TOO_MANY_TOPICS, or PETREL_UNAVAILABLE: then it may or may not be kept */
  async keep(userId: string, topic: string): Promise<void> {
    const result = await this.#confirmed(userId, (run, keys) => keepTopic(run, keys, userId, topic));
    if (result !== "full") return;
    throw new PetrelError(
      "PETREL_TOO_MANY_TOPICS",
      `The server already keeps ${MAX_KEPT_TOPICS} topics for this user; this one was not added.`,
      { details: { limit: MAX_KEPT_TOPICS } },
    );
  }

  /** @throws PetrelError PETREL_UNAVAILABLE: then it may or may not be kept */
  async drop(userId: string, topic: string): Promise<void> {
    await this.#confirmed(userId, (run, keys) => dropTopic(run, keys, userId, topic));
  }

  async #confirmed<T>(
    userId: string,
    change: (run: RunScript, keys: PartitionKeys) => Promise<T>,
  ): Promise<T> {
    const { partitions } = this.#options;
    const partition = partitionOfUser(userId, partitions.length);
    const keys = partitions[partition];
    if (keys === undefined) throw new Error("there are no partitions");
    return awaitAnswer(change(confirmedScripts(this.#options, partition), keys));
  }
}

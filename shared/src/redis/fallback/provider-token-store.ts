// dispatch/channels/apns -> here: the token that authenticates us to Apple, one for each key, shared by all
// dispatchers.
// Guarantees: if several propose a token at once, all get the same one. None replaces another within the interval that
// Apple demands. A token expires before it is an hour old.
// It is stored unencrypted, for an hour at most, like the messages that it authenticates. The key that makes it is
// never stored here.
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { awaitAnswer } from "../connection/await-answer.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface StoredProviderToken {
  /** Ms since 1970 by the clock of the process that made it. */
  readonly mintedAtMs: number;
  readonly token: string;
}

/** The key that a token is made with. */
export interface ProviderKeyName {
  readonly teamId: string;
  readonly keyId: string;
  /** Of the public key. */
  readonly fingerprint: string;
}

const KEEP_MS = 60 * 60_000;

export class ProviderTokenStore {
  readonly #scripts: ScriptRunner;
  readonly #partitions: readonly PartitionKeys[];

  /** @param partitions all of them, by number */
  constructor(scripts: ScriptRunner, partitions: readonly PartitionKeys[]) {
    this.#scripts = scripts;
    this.#partitions = partitions;
  }

  /** @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer, like all methods here */
  async read(key: ProviderKeyName): Promise<StoredProviderToken | undefined> {
    const text = await awaitAnswer(this.#scripts.redis.get(this.#nameOf(key)));
    return text === null ? undefined : decode(text);
  }

  /**
   * Proposes a token.
   * @returns the one that applies from now on: this one, or the stored one if that is less than minIntervalMs older
   */
  async agree(
    key: ProviderKeyName,
    { mintedAtMs, token }: StoredProviderToken,
    minIntervalMs: number,
  ): Promise<StoredProviderToken> {
    return decode(
      await awaitAnswer(
        this.#scripts.run(
          "agree-provider-token.v1",
          [this.#nameOf(key)],
          [mintedAtMs, token, minIntervalMs, KEEP_MS],
        ),
      ),
    );
  }

  /** Spreads the tokens over the partitions, like users. */
  #nameOf({ teamId, keyId, fingerprint }: ProviderKeyName): string {
    const name = `${teamId}.${keyId}.${fingerprint}`;
    const { partition } = this.#partitions[partitionOfUser(name, this.#partitions.length)] as PartitionKeys;
    return providerTokenKey(partition, name);
  }
}

/** string: when it was made TAB the token */
function providerTokenKey(partition: number, name: string): string {
  return `petrel:{p${partition}}:provider-token:${name}`;
}

function decode(text: string): StoredProviderToken {
  const tab = text.indexOf("\t");
  return { mintedAtMs: Number(text.slice(0, tab)), token: text.slice(tab + 1) };
}

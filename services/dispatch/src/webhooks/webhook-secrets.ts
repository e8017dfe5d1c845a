// routes/webhook-routes, webhooks/post-signed -> here: a webhook's secrets, sealed for storage in Redis.
// Guarantees: a sealed secret opens only for its webhook, and only with the key of KEY_ENCRYPTION_FILE that sealed it.
// After a rotation the old one signs until its overlap is over.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { WebhookRecord } from "@petrel/shared/redis/webhooks/webhook-record";
import type { AtRestCipher, SealedBy } from "@petrel/shared/security/encrypt-at-rest";
import { parseWebhookSecret } from "./sender/sign-webhook.js";

export class WebhookSecrets {
  readonly #cipher: AtRestCipher | undefined;

  /** @param cipher undefined if KEY_ENCRYPTION_FILE is not set; then nothing can be sealed or opened */
  constructor(cipher: AtRestCipher | undefined) {
    this.#cipher = cipher;
  }

  /** @throws PetrelError PETREL_UNAVAILABLE if KEY_ENCRYPTION_FILE is not set */
  seal(id: string, secret: string): string {
    return this.#needCipher().encrypt(secret, contextOf(id));
  }

  /**
   * The current secret first, then those whose overlap is not over.
   * @param nowMs wall clock
   * @throws Error if the current one cannot be opened
   */
  open({ id, sealedSecret, former }: WebhookRecord, nowMs: number): Buffer[] {
    const sealed = [
      sealedSecret,
      ...former.filter(({ untilMs }) => untilMs > nowMs).map((one) => one.sealedSecret),
    ];
    return sealed.map((text) => {
      const secret = parseWebhookSecret(this.#needCipher().decrypt(text, contextOf(id)));
      if (secret === undefined) throw new Error("a webhook's secret has an unknown form");
      return secret;
    });
  }

  /** @returns the webhook with its secrets sealed by the first key; undefined if they already are */
  reseal(record: WebhookRecord): WebhookRecord | undefined {
    const cipher = this.#cipher;
    if (cipher === undefined) return undefined;
    let isChanged = false;
    const again = (sealed: string): string => {
      if (cipher.sealedBy(sealed) !== "further") return sealed;
      isChanged = true;
      return cipher.encrypt(cipher.decrypt(sealed, contextOf(record.id)), contextOf(record.id));
    };
    const sealedSecret = again(record.sealedSecret);
    const former = record.former.map((one) => ({ ...one, sealedSecret: again(one.sealedSecret) }));
    return isChanged ? { ...record, sealedSecret, former } : undefined;
  }

  /** How many secrets each kind of key has sealed, to tell which keys of KEY_ENCRYPTION_FILE can be removed. */
  count(records: readonly WebhookRecord[]): Record<SealedBy, number> {
    const counts = { first: 0, further: 0, unknown: 0 };
    for (const { sealedSecret, former } of records) {
      for (const sealed of [sealedSecret, ...former.map((one) => one.sealedSecret)])
        counts[this.#cipher?.sealedBy(sealed) ?? "unknown"]++;
    }
    return counts;
  }

  #needCipher(): AtRestCipher {
    if (this.#cipher !== undefined) return this.#cipher;
    throw new PetrelError(
      "PETREL_UNAVAILABLE",
      "This dispatcher cannot encrypt the secrets of webhooks: KEY_ENCRYPTION_FILE is not set.",
    );
  }
}

function contextOf(id: string): string {
  return `webhook:${id}`;
}

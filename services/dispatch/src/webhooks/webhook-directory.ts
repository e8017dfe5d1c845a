// webhooks/deliver-webhooks -> here: the existing webhooks, as this process knows them.
// Guarantees: at most one look behind Redis; reads everything only if something has changed. Secrets sealed by another
// encryption key are resealed with the first one.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { WebhookRecord } from "@petrel/shared/redis/webhooks/webhook-record";
import type { WebhooksStore } from "@petrel/shared/redis/webhooks/webhooks-store";
import type { WebhookSecrets } from "./webhook-secrets.js";

export class WebhookDirectory {
  readonly #store: WebhooksStore;
  readonly #secrets: WebhookSecrets;
  readonly #logger: Logger;
  #version = "";
  #records = new Map<string, WebhookRecord>();

  constructor(store: WebhooksStore, secrets: WebhookSecrets, logger: Logger) {
    this.#store = store;
    this.#secrets = secrets;
    this.#logger = logger;
  }

  get records(): readonly WebhookRecord[] {
    return [...this.#records.values()];
  }

  find(id: string): WebhookRecord | undefined {
    return this.#records.get(id);
  }

  /** The version of what is known here; it changes with each change, whoever read it. */
  get version(): string {
    return this.#version;
  }

  async look(): Promise<void> {
    if ((await this.#store.readVersion()) === this.#version) return;
    const { version, records } = await this.#store.list();
    this.#version = version;
    this.#records = new Map(records.map((record) => [record.id, record]));
    await this.reseal();
  }

  /** Call it also when the encryption keys have changed. The next look reads what it writes. Never rejects. */
  async reseal(): Promise<void> {
    for (const { id } of this.records) {
      try {
        const record = this.find(id);
        if (record === undefined || this.#secrets.reseal(record) === undefined) continue;
        await this.#store.change(id, (one) => this.#secrets.reseal(one));
        this.#logger.info({ webhook: id }, "a webhook's secret was sealed with the first encryption key");
      } catch (error) {
        this.#logger.error(
          { webhook: id, reason: describeError(error) },
          "a webhook's secret cannot be decrypted",
        );
      }
    }
  }
}

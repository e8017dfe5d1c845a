// encryption-keys -> here -> producer-keys-store: reseals with the first encryption key what another one has sealed.
// Guarantees: blocks nobody, and leaves alone what was replaced meanwhile. Counts what is still under another key, and
// what no key opens. Signing keys are resealed by signing-keyring itself.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { Gauge, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import type { ProducerKeysStore, SealedSecret } from "@petrel/shared/redis/producers/producer-keys-store";
import { type AtRestCipher, type SealedBy, sealedByWhich } from "@petrel/shared/security/encrypt-at-rest";
import { resealProducerSecret } from "@petrel/shared/security/producers/seal-producer-secret";
import type { SigningKeyring } from "./signing-keyring.js";

export interface ResealSecretsOptions {
  readonly producerKeys: ProducerKeysStore;
  readonly keyring: Pick<SigningKeyring, "records" | "refresh">;
  readonly cipher: AtRestCipher;
  readonly logger: Logger;
}

type Counts = Record<SealedBy, number>;

const LOOK_EVERY_MS = 600_000;
const PAGE = 100;

export class ResealSecrets {
  readonly #options: ResealSecretsOptions;
  #counts: Counts = none();
  #unknownSaid = 0;
  #timer: NodeJS.Timeout | undefined;
  #underWay: Promise<void> | undefined;
  #isDueAgain = false;

  constructor(options: ResealSecretsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => void this.run(), LOOK_EVERY_MS).unref();
    void this.run();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Never rejects. A call during a run makes it run once more. */
  run(): Promise<void> {
    if (this.#underWay !== undefined) this.#isDueAgain = true;
    this.#underWay ??= this.#runAll().finally(() => (this.#underWay = undefined));
    return this.#underWay;
  }

  register(registry: Registry): void {
    const counted = (): readonly (readonly [string, Counts])[] => [
      ["signing_key", this.#countSigningKeys()],
      ["producer_secret", this.#counts],
    ];
    registry.registerMetric(
      new Gauge({
        name: "petrel_sealed_secrets",
        help: "Secrets in Redis, by the encryption key that sealed them: the first, another of ours, or an unknown one",
        labelNames: ["kind", "by"],
        registers: [],
        collect() {
          for (const [kind, counts] of counted()) {
            for (const by of sealedByWhich) this.set({ kind, by }, counts[by]);
          }
        },
      }),
    );
  }

  async #runAll(): Promise<void> {
    do {
      this.#isDueAgain = false;
      await this.#runOnce();
    } while (this.#isDueAgain);
  }

  async #runOnce(): Promise<void> {
    const { keyring, logger } = this.#options;
    await keyring.refresh();
    try {
      const { counts, replaced } = await this.#walk();
      this.#counts = counts;
      if (replaced > 0)
        logger.info({ replaced, ...counts }, "producer secrets resealed with the first encryption key");
      if (counts.unknown > 0 && counts.unknown !== this.#unknownSaid) {
        logger.warn(
          { unknown: counts.unknown },
          "some producer secrets cannot be opened with any of the encryption keys",
        );
      }
      this.#unknownSaid = counts.unknown;
    } catch (error) {
      logger.warn({ reason: describeError(error) }, "resealing producer secrets failed: trying again later");
    }
  }

  async #walk(): Promise<{ readonly counts: Counts; readonly replaced: number }> {
    const { producerKeys, cipher } = this.#options;
    const counts = none();
    let replaced = 0;
    let after: string | undefined;
    do {
      const page = await producerKeys.list(after, PAGE);
      for (const { id, sealedSecret, former = [] } of page.items) {
        const seals = [sealedSecret, ...former.map((one) => one.sealedSecret)].filter(
          (seal) => seal !== undefined,
        );
        if (!seals.some((seal) => cipher.sealedBy(seal) === "further")) {
          for (const seal of seals) counts[cipher.sealedBy(seal)]++;
          continue;
        }
        replaced += await producerKeys.reseal(id, (secret) => this.#sealAgain(id, secret));
        const now = await producerKeys.find(id);
        for (const seal of [now?.sealedSecret, ...(now?.former ?? []).map((one) => one.sealedSecret)]) {
          if (seal !== undefined) counts[cipher.sealedBy(seal)]++;
        }
      }
      after = page.nextAfter;
    } while (after !== undefined);
    return { counts, replaced };
  }

  #sealAgain(keyId: string, { secretSha256, sealedSecret }: SealedSecret): string | undefined {
    const { cipher, logger } = this.#options;
    if (cipher.sealedBy(sealedSecret) !== "further") return undefined;
    try {
      return resealProducerSecret(cipher, { keyId, sealed: sealedSecret, secretSha256 });
    } catch (error) {
      logger.error(
        { keyId, reason: describeError(error) },
        "the secret of a producer key cannot be decrypted",
      );
      return undefined;
    }
  }

  #countSigningKeys(): Counts {
    const { keyring, cipher } = this.#options;
    const counts = none();
    for (const { state, sealedPrivateKey } of keyring.records) {
      if (state !== "withdrawn") counts[cipher.sealedBy(sealedPrivateKey)]++;
    }
    return counts;
  }
}

function none(): Counts {
  return { first: 0, further: 0, unknown: 0 };
}

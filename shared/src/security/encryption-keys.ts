// A service's start -> here -> encrypt-at-rest: the current keys of KEY_ENCRYPTION_FILE.
// Guarantees: the file is read again when it changes, at SIGHUP, and when a text is met that no known key has sealed.
// An unusable file is logged once, and the previous keys stay in use. A file without any of the previous keys counts as
// unusable: this process would lose everything sealed.
import { readFileSync } from "node:fs";
import { type Clock, systemClock } from "../kernel/clock.js";
import { ConfigError } from "../kernel/config.js";
import { describeError } from "../kernel/errors.js";
import type { Lifecycle } from "../kernel/lifecycle/lifecycle.js";
import type { Logger } from "../kernel/logging/logging.js";
import { Gauge, type Registry } from "../kernel/metrics/metrics.js";
import {
  type AtRestCipher,
  createAtRestCipher,
  nameOfEncryptionKey,
  parseEncryptionKeys,
  readEncryptionKeyFile,
} from "./encrypt-at-rest.js";

export interface FollowEncryptionKeysOptions {
  readonly logger: Pick<Logger, "info" | "warn">;
  /** How often the file is checked, ms. */
  readonly pollMs?: number;
  /** Called when the keys or their order change. */
  readonly onChange?: () => void;
}

const POLL_MS = 5_000;
/** The minimum time between two reads of the file because of an unknown key. */
const COOLDOWN_MS = 1_000;

export class EncryptionKeys {
  /** Seals and opens with the current keys. */
  readonly cipher: AtRestCipher;
  readonly #file: string;
  readonly #clock: Clock;
  #keys: readonly Buffer[];
  #current: AtRestCipher;
  #follow: FollowEncryptionKeysOptions | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lookedAtMs: number;
  /** Why the file was refused, so that it is logged once. */
  #refused = "";
  readonly #onHangUp = (): void => this.reload();

  /** @throws ConfigError if the file cannot be used */
  constructor(file: string, clock: Clock = systemClock) {
    this.#file = file;
    this.#clock = clock;
    this.#keys = readEncryptionKeyFile(file);
    this.#current = cipherOf(this.#keys);
    this.#lookedAtMs = clock.monotonicMs();
    this.cipher = {
      encrypt: (plaintext, context) => this.#current.encrypt(plaintext, context),
      decrypt: (sealed, context) => {
        // Another process may have applied the new file a moment before this one.
        if (this.#current.sealedBy(sealed) === "unknown") this.#lookAgain();
        return this.#current.decrypt(sealed, context);
      },
      sealedBy: (sealed) => this.#current.sealedBy(sealed),
    };
  }

  /** The first one seals. */
  get all(): readonly Buffer[] {
    return this.#keys;
  }

  get names(): readonly string[] {
    return this.#keys.map(nameOfEncryptionKey);
  }

  /** Applies changes of the file from now on. */
  follow(options: FollowEncryptionKeysOptions): void {
    this.#follow = options;
    this.#timer = setInterval(() => this.reload(), options.pollMs ?? POLL_MS).unref();
    process.on("SIGHUP", this.#onHangUp);
  }

  stop(): void {
    clearInterval(this.#timer);
    process.off("SIGHUP", this.#onHangUp);
  }

  register(registry: Registry): void {
    const namesNow = (): readonly string[] => this.names;
    registry.registerMetric(
      new Gauge({
        name: "petrel_encryption_key",
        help: "1 for each key of KEY_ENCRYPTION_FILE that this process has; the first one encrypts",
        labelNames: ["key", "place"],
        registers: [],
        collect() {
          this.reset();
          for (const [i, key] of namesNow().entries()) {
            this.set({ key, place: i === 0 ? "first" : "further" }, 1);
          }
        },
      }),
    );
  }

  /** Reads the file now; it is small and rarely changes. */
  reload(): void {
    this.#lookedAtMs = this.#clock.monotonicMs();
    try {
      const next = parseEncryptionKeys(readFileSync(this.#file, "utf8"));
      const isSame = next.length === this.#keys.length && next.every((key, i) => this.#keys[i]?.equals(key));
      if (isSame) {
        this.#refused = "";
        return;
      }
      if (!next.some((key) => this.#keys.some((known) => known.equals(key)))) {
        throw new ConfigError(
          "KEY_ENCRYPTION_FILE no longer has any key that is in use; restart to use it anyway",
        );
      }
      this.#keys = next;
      this.#current = cipherOf(next);
      this.#refused = "";
      this.#follow?.logger.info({ keys: this.names }, "encryption keys: reloaded; the first one encrypts");
      this.#follow?.onChange?.();
    } catch (error) {
      const reason = describeError(error);
      if (reason === this.#refused) return;
      this.#refused = reason;
      const { names } = this;
      this.#follow?.logger.warn(
        { reason, keys: names },
        "encryption keys: the file cannot be used; keeping the previous keys",
      );
    }
  }

  #lookAgain(): void {
    if (this.#clock.monotonicMs() - this.#lookedAtMs >= COOLDOWN_MS) this.reload();
  }
}

function cipherOf([first, ...further]: readonly Buffer[]): AtRestCipher {
  if (first === undefined) throw new Error("there is no encryption key");
  return createAtRestCipher(first, ...further);
}

/**
 * For a composition root: follows the file until the stop; metrics show its keys.
 * @param onChange called when the keys or their order change
 */
export function followEncryptionKeys(
  keys: EncryptionKeys,
  { logger, lifecycle, metrics }: EncryptionKeysOwner,
  onChange?: () => void,
): void {
  keys.follow({ logger, ...(onChange === undefined ? {} : { onChange }) });
  lifecycle.onStop("encryption keys", () => keys.stop());
  keys.register(metrics);
}

interface EncryptionKeysOwner {
  readonly logger: Pick<Logger, "info" | "warn">;
  readonly lifecycle: Pick<Lifecycle, "onStop">;
  readonly metrics: Registry;
}

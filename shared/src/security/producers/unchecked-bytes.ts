// read-signed-body -> here: how much is buffered of requests whose signature is not checked yet. Anyone who knows a
// key's id, which is not secret, can send some.
// Guarantees: never more than the maximum in total. When it is used up, the newcomer is not the one to go: an address
// that holds more than the newcomer's gives up its oldest body, and if there is none, a stalled body goes.
import { type Clock, systemClock } from "../../kernel/clock.js";
import { PetrelError } from "../../kernel/errors.js";

/** What one body holds. */
export class UncheckedShare {
  readonly address: string;
  readonly giveUp: (error: PetrelError) => void;
  bytes = 0;
  heardAtMs = 0;

  /** @param giveUp must give the share back */
  constructor(address: string, giveUp: (error: PetrelError) => void) {
    this.address = address;
    this.giveUp = giveUp;
  }
}

/** A body silent for this long has stalled. */
const STALLED_MS = 2_000;

export class UncheckedBytes {
  readonly #max: number;
  readonly #clock: Clock;
  /** In order of arrival. */
  readonly #shares = new Set<UncheckedShare>();
  readonly #byAddress = new Map<string, number>();
  #taken = 0;

  /** @param max in total, on top of the first 64 KiB of each body */
  constructor(max: number, clock: Clock = systemClock) {
    this.#max = max;
    this.#clock = clock;
  }

  get taken(): number {
    return this.#taken;
  }

  /**
   * @param bytes what it holds from now on, more than before
   * @returns whether there was room; if not, nothing is taken
   */
  grow(share: UncheckedShare, bytes: number): boolean {
    share.heardAtMs = this.#clock.monotonicMs();
    const more = bytes - share.bytes;
    while (this.#taken + more > this.#max) {
      const victim = this.#whoGivesUp(share, more);
      if (victim === undefined) return false;
      const before = this.#taken;
      const message = "Too many large signed requests are in progress: send this one again.";
      victim.giveUp(new PetrelError("PETREL_UNAVAILABLE", message));
      if (this.#taken >= before) return false;
    }
    this.#add(share, more);
    this.#shares.add(share);
    share.bytes = bytes;
    return true;
  }

  give(share: UncheckedShare): void {
    if (!this.#shares.delete(share)) return;
    this.#add(share, -share.bytes);
    share.bytes = 0;
  }

  #add({ address }: UncheckedShare, bytes: number): void {
    this.#taken += bytes;
    const now = (this.#byAddress.get(address) ?? 0) + bytes;
    if (now > 0) this.#byAddress.set(address, now);
    else this.#byAddress.delete(address);
  }

  #whoGivesUp(newcomer: UncheckedShare, more: number): UncheckedShare | undefined {
    const nowMs = this.#clock.monotonicMs();
    let largest: string | undefined;
    let most = (this.#byAddress.get(newcomer.address) ?? 0) + more;
    for (const [address, bytes] of this.#byAddress) {
      if (bytes <= most || address === newcomer.address) continue;
      largest = address;
      most = bytes;
    }
    let stalled: UncheckedShare | undefined;
    for (const share of this.#shares) {
      if (share === newcomer) continue;
      if (share.address === largest) return share;
      if (nowMs - share.heardAtMs >= STALLED_MS) stalled ??= share;
    }
    return stalled;
  }
}

// http/http-bounds, push-node/unauthenticated-connections -> here: a bounded number of slots that no one address can
// keep.
// Guarantees: never more than `max` in total and `maxPerAddress` for one. A newcomer always gets a slot: the address
// with the most gives up its oldest, so nobody can shut others out by holding slots.
import { AddressCounts } from "./address-counts.js";

export interface SlotsByAddressOptions<T> {
  readonly max: number;
  readonly maxPerAddress: number;
  /** Called when an item has lost its slot; it is already removed here. */
  readonly onPushedOut: (item: T) => void;
}

export class SlotsByAddress<T> {
  readonly #options: SlotsByAddressOptions<T>;
  readonly #counts = new AddressCounts();
  readonly #byAddress = new Map<string, Set<T>>();
  #size = 0;

  constructor(options: SlotsByAddressOptions<T>) {
    this.#options = options;
  }

  get size(): number {
    return this.#size;
  }

  /**
   * @param item not here yet
   * @param isShared many clients share this address, so it has no limit of its own
   */
  take(address: string, item: T, isShared = false): void {
    const { max, maxPerAddress } = this.#options;
    if (!isShared && this.#counts.of(address) >= maxPerAddress) this.#pushOut(address);
    if (this.#size >= max) this.#pushOut(this.#counts.largest() ?? address);
    const items = this.#byAddress.get(address);
    if (items === undefined) this.#byAddress.set(address, new Set([item]));
    else items.add(item);
    this.#counts.add(address);
    this.#size++;
  }

  /** @returns false if it had already lost its slot */
  free(address: string, item: T): boolean {
    const items = this.#byAddress.get(address);
    if (items === undefined || !items.delete(item)) return false;
    if (items.size === 0) this.#byAddress.delete(address);
    this.#counts.remove(address);
    this.#size--;
    return true;
  }

  *all(): Iterable<T> {
    for (const items of this.#byAddress.values()) yield* items;
  }

  #pushOut(address: string): void {
    const oldest = this.#byAddress.get(address)?.values().next();
    if (oldest === undefined || oldest.done === true) return;
    this.free(address, oldest.value);
    this.#options.onPushedOut(oldest.value);
  }
}

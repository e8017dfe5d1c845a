// accept-batch, push-node/collect-acks -> here -> turn-batcher: one batcher for each master of a cluster.
// Guarantees: items for a master that does not answer delay only their own. A partition's items keep their order, even
// if its slot moves to another master while they wait. A single server has one batcher for everything.
import { TurnBatcher, type TurnBatcherOptions } from "../../kernel/turn-batcher.js";
import { isCluster, slotOf } from "./cluster-nodes.js";
import type { Redis } from "./connect.js";
import type { PartitionKeys } from "../keys.js";

export interface MasterBatchersOptions<Item> extends Omit<TurnBatcherOptions<Item>, "flush"> {
  readonly redis: Redis;
  readonly partitionOf: (item: Item) => PartitionKeys;
  /**
   * Carries out one batch; must not reject.
   * @param master the batcher's master: an address, or "" for a single server
   */
  readonly flush: (items: Item[], master: string) => Promise<void>;
}

interface Home<Item> {
  readonly slot: number;
  master: string;
  batcher: TurnBatcher<Item>;
}

export class MasterBatchers<Item> {
  readonly #options: MasterBatchersOptions<Item>;
  readonly #batchers = new Map<string, TurnBatcher<Item>>();
  /** By partition: the batcher for its items. */
  readonly #homes: (Home<Item> | undefined)[] = [];

  constructor(options: MasterBatchersOptions<Item>) {
    this.#options = options;
  }

  /** The number of items that wait for a call. */
  get waiting(): number {
    let waiting = 0;
    for (const batcher of this.#batchers.values()) waiting += batcher.waiting;
    return waiting;
  }

  add(item: Item): void {
    this.#homeOf(this.#options.partitionOf(item)).batcher.add(item);
  }

  /** Sends what waits as soon as possible, without lingering. */
  flush(): void {
    for (const batcher of this.#batchers.values()) batcher.flush();
  }

  /** Resolves once nothing waits and nothing is in progress. */
  async drained(): Promise<void> {
    let busy: TurnBatcher<Item>[];
    do {
      busy = [...this.#batchers.values()].filter(({ isIdle }) => !isIdle);
      await Promise.all(busy.map((batcher) => batcher.drained()));
    } while (busy.length > 0);
  }

  #homeOf(keys: PartitionKeys): Home<Item> {
    const { redis, partitionOf } = this.#options;
    const known = this.#homes[keys.partition];
    if (!isCluster(redis)) return known ?? this.#settle(keys, 0, "");
    const slot = known?.slot ?? slotOf(keys.owner);
    // Without a known master nothing can be sent: the item joins the earlier ones, to wait or fail with them.
    const master = redis.slots[slot]?.[0] ?? known?.master ?? "";
    if (known === undefined) return this.#settle(keys, slot, master);
    if (known.master !== master) {
      const waiting = known.batcher.takeBack((item) => partitionOf(item).partition === keys.partition);
      known.master = master;
      known.batcher = this.#batcherOf(master);
      for (const item of waiting) known.batcher.add(item);
    }
    return known;
  }

  #settle({ partition }: PartitionKeys, slot: number, master: string): Home<Item> {
    const home = { slot, master, batcher: this.#batcherOf(master) };
    this.#homes[partition] = home;
    return home;
  }

  #batcherOf(master: string): TurnBatcher<Item> {
    const known = this.#batchers.get(master);
    if (known !== undefined) return known;
    this.#forgetFormerMasters();
    const batcher = new TurnBatcher<Item>({
      ...this.#options,
      flush: (items) => this.#options.flush(items, master),
    });
    this.#batchers.set(master, batcher);
    return batcher;
  }

  /** If each restart brings a new address, old ones would pile up. */
  #forgetFormerMasters(): void {
    const inUse = new Set(this.#homes.map((home) => home?.master));
    for (const [master, batcher] of this.#batchers) {
      if (batcher.isIdle && !inUse.has(master)) this.#batchers.delete(master);
    }
  }
}

// accept/accept-batch, topics/topic-publisher, schedules/schedule-messages -> here -> accept/confirm-by-server: sends
// what arrives in one turn of the event loop in as few script calls as its partitions allow.
// Guarantees: a partition's messages keep their order. Calls of several partitions share a write, but a master that
// does not answer delays only its own partitions. If more than memory is required, every answer waits for the
// confirmation that follows its call.
import { groupBy } from "../../kernel/group-by.js";
import { MasterBatchers } from "../connection/master-batchers.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptName } from "../scripts/script-catalogue.js";
import { confirmByServer, type Confirmations, type ConfirmOptions } from "./confirm-by-server.js";

/** The request that waits for a message. */
export interface PendingRequest {
  /** Its deadline has passed, and it was answered without the message. */
  readonly isOver: boolean;
}

export interface TurnBatchesOptions extends ConfirmOptions {
  readonly maxInFlight: number;
}

/** One script call, for messages of one partition. */
export interface BatchCall<Result> {
  readonly script: ScriptName;
  readonly keys: [string, ...string[]];
  readonly args: (string | number)[];
  /**
   * @param lines of the script's answer
   * @returns each message's result or error, in order
   * @throws the error for all of them
   */
  readonly read: (lines: readonly string[]) => readonly (Result | Error)[];
}

export interface BatchRules<Message, Result> {
  /** Splits messages into calls. */
  readonly split: <Item extends { readonly message: Message }>(
    items: readonly Item[],
  ) => readonly (readonly Item[])[];
  readonly call: (keys: PartitionKeys, batch: readonly { readonly message: Message }[]) => BatchCall<Result>;
}

interface Waiting<Message, Result> {
  readonly message: Message;
  readonly request: PendingRequest | undefined;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/** Messages per pipeline: a burst of a hundred thousand must not block everyone else's Redis calls. */
const MAX_PER_FLUSH = 1_000;

export class TurnBatches<Message extends { readonly partition: number }, Result> {
  readonly #options: TurnBatchesOptions;
  readonly #rules: BatchRules<Message, Result>;
  readonly #batchers: MasterBatchers<Waiting<Message, Result>>;

  constructor(options: TurnBatchesOptions, rules: BatchRules<Message, Result>) {
    this.#options = options;
    this.#rules = rules;
    this.#batchers = new MasterBatchers<Waiting<Message, Result>>({
      redis: options.scripts.redis,
      partitionOf: ({ message }) => this.#keysOf(message.partition),
      maxInFlight: options.maxInFlight,
      maxItems: MAX_PER_FLUSH,
      isOver: ({ request }) => request?.isOver === true,
      onDropped: ({ reject }) => reject(new Error("its request was answered before it could be sent")),
      flush: (waiting) => this.#flush(waiting),
    });
  }

  /** The number of messages that wait for a call. */
  get waiting(): number {
    return this.#batchers.waiting;
  }

  /**
   * @throws what ioredis throws if the answer is missing: the call may or may not have run
   * @throws Error if the caller gave up before the message could be sent
   * @param request the message's caller: once it is over, the message is no longer sent
   */
  add(message: Message, request?: PendingRequest): Promise<Result> {
    return new Promise((resolve, reject) => this.#batchers.add({ message, request, resolve, reject }));
  }

  /** Resolves once nothing waits and nothing is in progress. */
  drained(): Promise<void> {
    return this.#batchers.drained();
  }

  #keysOf(partition: number): PartitionKeys {
    const keys = this.#options.partitions[partition];
    if (keys === undefined) throw new Error(`no partition ${partition}`);
    return keys;
  }

  /** All calls leave in one write per server, directly followed by their confirmation. Resolves when all have ended. */
  async #flush(waiting: readonly Waiting<Message, Result>[]): Promise<void> {
    const byPartition = groupBy(waiting, ({ message }) => message.partition);
    let confirmations: Confirmations = new Map();
    await Promise.all(
      this.#options.scripts.together(() => {
        const calls = [...byPartition].flatMap(([partition, some]) =>
          this.#rules
            .split(some)
            .map((batch) => this.#call(partition, batch, () => confirmations.get(partition))),
        );
        confirmations = confirmByServer(this.#options, byPartition.keys());
        return calls;
      }),
    );
  }

  async #call(
    partition: number,
    batch: readonly Waiting<Message, Result>[],
    confirmed: () => Promise<void> | undefined,
  ): Promise<void> {
    const { scripts, confirm } = this.#options;
    try {
      const { script, keys, args, read } = this.#rules.call(this.#keysOf(partition), batch);
      // A repeated call would run after its confirmation, so it is sent only once.
      const answer =
        confirm === undefined ? scripts.run(script, keys, args) : scripts.runOnce(script, keys, args);
      const results = read((await answer).split("\n"));
      if (confirm !== undefined) await confirmed();
      for (const [i, { resolve, reject }] of batch.entries()) {
        const result = results[i];
        if (result === undefined) reject(new Error(`${script} answered too few lines`));
        else if (result instanceof Error) reject(result);
        else resolve(result);
      }
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}

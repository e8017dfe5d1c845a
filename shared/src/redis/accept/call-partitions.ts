// accept/accept-batch, topics/topic-publisher -> here -> accept/confirm-by-server: the script calls of one turn.
// Guarantees: they leave in one write to each server, and answers come in their order; what confirms them is right
// behind.
import { groupBy } from "../../kernel/group-by.js";
import { confirmByServer, type Confirmations, type ConfirmOptions } from "./confirm-by-server.js";

export interface PartitionCalls<Item> {
  readonly partitionOf: (item: Item) => number;
  /** Into what one call may take. */
  readonly split: (items: readonly Item[]) => readonly (readonly Item[])[];
  /** Must make its call before it first waits. @param confirmed its confirmation, for when it was answered */
  readonly call: (
    partition: number,
    batch: readonly Item[],
    confirmed: () => Promise<void> | undefined,
  ) => Promise<void>;
}

/** Resolves when every call has ended. */
export async function callPartitions<Item>(
  options: ConfirmOptions,
  items: readonly Item[],
  { partitionOf, split, call }: PartitionCalls<Item>,
): Promise<void> {
  const byPartition = groupBy(items, partitionOf);
  let confirmations: Confirmations = new Map();
  await Promise.all(
    options.scripts.together(() => {
      const calls = [...byPartition].flatMap(([partition, some]) =>
        split(some).map((batch) => call(partition, batch, () => confirmations.get(partition))),
      );
      confirmations = confirmByServer(options, byPartition.keys());
      return calls;
    }),
  );
}

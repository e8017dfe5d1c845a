// topics/topic-publisher, schedules/schedule-messages -> here: splits messages into script calls.
// Guarantees: keeps the order. A call has at most 200 entries or 256 KiB, unless a single entry is larger.
const MAX_ENTRIES = 200;
const MAX_BYTES = 256 * 1024;

export function splitBySize<Item>(items: readonly Item[], bytesOf: (item: Item) => number): Item[][] {
  const batches: Item[][] = [];
  let batch: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = bytesOf(item);
    if (batch.length >= MAX_ENTRIES || (batch.length > 0 && bytes + size > MAX_BYTES)) {
      batches.push(batch);
      [batch, bytes] = [[], 0];
    }
    batch.push(item);
    bytes += size;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

// batch-sender -> here: the body of a batch.
// Guarantees: compressed only if that makes it considerably smaller.
import { promisify } from "node:util";
import { constants, gzip } from "node:zlib";
import type { QueuedMessage } from "./queued-message.js";

export interface BatchBody {
  readonly body: string | Uint8Array<ArrayBuffer>;
  readonly isGzip: boolean;
}

const compress = promisify(gzip);
/** Above this ratio, unpacking costs more than the bytes that are saved. */
const WORTH_IT = 0.7;

export async function batchBody(
  batch: readonly Pick<QueuedMessage, "json" | "bytes">[],
  gzipAboveBytes: number,
): Promise<BatchBody> {
  const text = `{"messages":[${batch.map(({ json }) => json).join(",")}]}`;
  const bytes = batch.reduce((sum, one) => sum + one.bytes, 0);
  if (bytes <= gzipAboveBytes) return { body: text, isGzip: false };
  const packed = await compress(text, { level: constants.Z_BEST_SPEED });
  return packed.length > bytes * WORTH_IT
    ? { body: text, isGzip: false }
    : { body: new Uint8Array(packed), isGzip: true };
}

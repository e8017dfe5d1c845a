// chaos: more messages for one user than fit towards a device that reads nothing.
// Guarantees: sent one after another, like all of a user's messages; ends when it is told to, or when it is enough.
import type { RecordingProducer } from "@petrel/shared/testing/peers/recording-producer";

/** In two seconds, more than the sockets' buffers and the node's bound hold together: some 2 MB. */
const MESSAGES = 300;
const BYTES_EACH = 48 * 1024;

export async function floodUser(
  producer: RecordingProducer,
  user: string,
  signal: AbortSignal,
): Promise<void> {
  for (let i = 0; i < MESSAGES && !signal.aborted; i++) {
    await producer.post({ user, data: { filler: "x".repeat(BYTES_EACH) }, insists: true });
  }
}

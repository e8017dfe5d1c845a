// Bench: a load process: opens its share of the subscribers and enters what they are delivered.
// Guarantees: ends with its parent; answers every message of its parent, in order.
import { DeliveryLedger } from "./delivery-ledger.js";
import type { FromLoadProcess, ToLoadProcess } from "./load-messages.js";
import { monotonicUs } from "./monotonic-clock.js";
import { openRawSubscriber, type Entrance } from "./raw-subscriber.js";

const CONNECT_AT_A_TIME = 64;
const READ_BUFFER_BYTES = 256 * 1024;

const tell = (message: FromLoadProcess): void => void process.send?.(message);
let ledger = new DeliveryLedger([], { onSeen: () => undefined, onAll: () => undefined });

async function connectAll(entrances: readonly Entrance[]): Promise<void> {
  const opened = new DeliveryLedger(
    entrances.map(({ topics }) => topics[0] ?? ""),
    { onSeen: (n) => tell({ kind: "seen", n }), onAll: () => tell({ kind: "all" }) },
  );
  ledger = opened;
  const buffer = Buffer.alloc(READ_BUFFER_BYTES);
  let next = 0;
  const connectNext = async (): Promise<void> => {
    for (let i = next++; i < entrances.length; i = next++) {
      const { subscribed } = openRawSubscriber(entrances[i]!, buffer, {
        onMessage: (n, sentAtUs, offset) => opened.deliver(i, n, monotonicUs() - sentAtUs, offset),
        onEnded: (why) => opened.connectionEnded(why),
      });
      await subscribed;
    }
  };
  await Promise.all(Array.from({ length: CONNECT_AT_A_TIME }, connectNext));
}

process.on("message", (message: ToLoadProcess) => {
  if (message.kind === "connect") {
    connectAll(message.entrances).then(
      () => tell({ kind: "connected" }),
      (error: unknown) => tell({ kind: "failed", why: String(error) }),
    );
  } else if (message.kind === "round") {
    ledger.begin(message.round);
    tell({ kind: "listening" });
  } else tell({ kind: "report", report: ledger.report() });
});
process.once("disconnect", () => process.exit(0));

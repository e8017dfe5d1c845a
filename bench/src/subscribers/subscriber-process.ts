// Bench: a load process: opens its share of the subscribers and enters what they are delivered.
// Guarantees: ends with its parent; answers every message of its parent, in order.
import { DeliveryLedger } from "./delivery-ledger.js";
import type { FromLoadProcess, ToLoadProcess } from "./load-messages.js";
import { monotonicUs } from "./monotonic-clock.js";
import { openRawSubscriber, type Entrance, type RawSubscriber } from "./raw-subscriber.js";

const LEAVE_AT_A_TIME = 64;
const READ_BUFFER_BYTES = 256 * 1024;

const tell = (message: FromLoadProcess): void => void process.send?.(message);
let ledger = new DeliveryLedger([], { onSeen: () => undefined, onAll: () => undefined });

let subscribers: RawSubscriber[] = [];

async function connectAll(entrances: readonly Entrance[], atATime: number): Promise<void> {
  const opened = new DeliveryLedger(
    entrances.map(({ topics }) => topics[0] ?? ""),
    { onSeen: (n) => tell({ kind: "seen", n }), onAll: () => tell({ kind: "all" }) },
  );
  ledger = opened;
  const buffer = Buffer.alloc(READ_BUFFER_BYTES);
  subscribers = [];
  let next = 0;
  const connectNext = async (): Promise<void> => {
    for (let i = next++; i < entrances.length; i = next++) {
      const subscriber = openRawSubscriber(entrances[i]!, buffer, {
        onMessage: (n, sentAtUs, offset) => opened.deliver(i, n, monotonicUs() - sentAtUs, offset),
        onEnded: (why) => opened.connectionEnded(why),
      });
      subscribers.push(subscriber);
      await subscriber.subscribed;
    }
  };
  await Promise.all(Array.from({ length: atATime }, connectNext));
}

async function leaveAll(): Promise<void> {
  const all = subscribers;
  let next = 0;
  const leaveNext = async (): Promise<void> => {
    for (let i = next++; i < all.length; i = next++) await all[i]?.leave();
  };
  await Promise.all(Array.from({ length: LEAVE_AT_A_TIME }, leaveNext));
}

process.on("message", (message: ToLoadProcess) => {
  if (message.kind === "connect") {
    connectAll(message.entrances, message.atATime).then(
      () => tell({ kind: "connected" }),
      (error: unknown) => tell({ kind: "failed", why: String(error) }),
    );
  } else if (message.kind === "round") {
    ledger.begin(message.round);
    tell({ kind: "listening" });
  } else if (message.kind === "leave") void leaveAll().then(() => tell({ kind: "left" }));
  else tell({ kind: "report", report: ledger.report() });
});
process.once("disconnect", () => process.exit(0));
